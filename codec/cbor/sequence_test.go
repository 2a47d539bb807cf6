package cbor_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A fault in a record of known length affects only that record.
func TestSequences(t *testing.T) {
	const (
		a = "\xa1\x61a\x01"
		b = "\xbf\x61b\x9f\x02\xff\xff"
	)
	deep := "\xa1\x61a" + strings.Repeat("\x81", 200) + "\x01"
	endless := "\xa1\x61a" + strings.Repeat("\x9f", 200) + strings.Repeat("\xff", 200)
	for bad, want := range map[string]string{
		"\xa2\x61a\x01\x61a\x02":                 "!duplicate_key",
		"\xbf\x61a\x01\x61a\x02\xff":             "!duplicate_key",
		"\xa1\x61v\xa2\x01\x01\x01\x81\xa0":      "!duplicate_key",
		"\xa2\x61a\x82\x01\x61\xff\x61b\x02":     "!malformed", // UTF-8
		"\xa1\x61a\x9f\x7f\x61\xff\x61z\xff\xff": "!malformed",
		"\xa1\x61\xff\x01":                       "!malformed",
		"\xa2\xa0\x01\x61a\x01":                  "!malformed", // a dictionary as a key
		"\xa1\x61a\xc0\x63abc":                   "!malformed", // a tag's content
		"\xa1\x61a\xd8\x1c\x82\x01\x02":          "!malformed", // a tag that is refused
		"\xa1\x61a\xd9\x01\x02\x82\x01\x01":      "!duplicate_key",
		deep:                                     "!too_deep",
		endless:                                  "!too_deep",
		"\xa1\x61a\xc2\x59\x07\xd0" + strings.Repeat("\xff", 2000): "!limit",
		"\x83\x01\x02\xa1\x61x\x03":                                "!not_a_dictionary",
		"\x9f\xa0\xa0\xff":                                         "!not_a_dictionary",
	} {
		codectest.CheckSequence(t, cbor.Codec{}, a+bad+b+bad+bad+a, a, want, b, want, want, a)
	}
	for bad, want := range map[string]string{
		"\xa1\x61a\x1c":          "!!malformed", // reserved
		"\xa1\x61a\xff":          "!!malformed", // a break
		"\xbf\x61a\xff":          "!!malformed", // a key without a value
		"\xa1\x61a\x7f\x41x\xff": "!!malformed", // a chunk of another kind
		"\xa1\x61a\x7f\x7f\xff":  "!!malformed",
		"\xa1\x61a\xf8\x1f":      "!!malformed",
		"\x01":                   "!!not_a_dictionary",
		"hello":                  "!!not_a_dictionary",
		"\xa2\x61a\x01\x61a\x1c": "!!duplicate_key", // the first of two faults is reported
	} {
		codectest.CheckSequence(t, cbor.Codec{}, a+bad+a, a, want)
	}
	codectest.CheckSequence(t, cbor.Codec{}, a+"\xa2\x61a\x01\x61b", a, "!truncated")
	codectest.CheckSequence(t, cbor.Codec{}, a+"\xa2\x61a\x01\x61a\x42x", a, "!duplicate_key")

	// A record that is too long is skipped while it arrives.
	codectest.CheckSkipping(t, cbor.Codec{}, "\xa1\x61a\x5a\x00\x01\x00\x00xy", 65534, a)
}

// A record that we refuse ends where fxamacker/cbor says.
func TestPassingAgainstSkip(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), keys)
	passed := 0
	for range testrand.Many(20_000) {
		b, err := cbor.Codec{}.Append(nil, g.Dict())
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + g.IntN(2) {
			i := g.IntN(len(b))
			switch g.IntN(3) {
			case 0:
				b[i] ^= 1 << g.IntN(8)
			case 1:
				b = slices.Insert(b, i, byte(g.Uint32()))
			default:
				b = slices.Insert(b, i, 0x9f, 0xff)
			}
		}
		b = append(b, "\xa1\x64good\x01"...)
		s := cbor.Codec{}.NewScanner(codec.Limits{})
		s.Resume()
		_, end, err := s.Next(b)
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) || bad.Code == fault.NotADictionary || bad.Code == fault.TooLarge {
			continue
		}
		if _, _, err := s.Next(b[end:]); !bad.Final && errors.Is(err, codec.ErrIncomplete) {
			continue // it may continue
		}
		d := fxcbor.NewDecoder(bytes.NewReader(b))
		skipped := d.Skip()
		switch {
		case bad.Final && skipped == nil && strconv.IntSize == 64: // on 32 bits, it takes lengths modulo 1<<32
			t.Fatalf("%x: nothing is certain after %v, but the record ends at %d", b, err, d.NumBytesRead())
		case !bad.Final && (skipped != nil || d.NumBytesRead() != end):
			t.Fatalf("%x: after %v the next record begins at %d, not at %d (%v)", b, err, end, d.NumBytesRead(), skipped)
		case !bad.Final:
			passed++
		}
	}
	if passed < testrand.Many(100) {
		t.Errorf("%d records were passed over: the test is lopsided", passed)
	}
}
