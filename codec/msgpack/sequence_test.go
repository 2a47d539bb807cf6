package msgpack_test

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A fault in a record of known length affects only that record.
func TestSequences(t *testing.T) {
	const (
		a = "\x81\xa1a\x01"
		b = "\xde\x00\x01\xa1b\x92\x02\xc7\x02\x05xy"
	)
	deep := "\x81\xa1a" + strings.Repeat("\x91", 200) + "\x01"
	for bad, want := range map[string]string{
		"\x82\xa1a\x01\xa1a\x02":                 "!duplicate_key",
		"\x81\xa1v\x82\x01\x01\x01\x91\x80":      "!duplicate_key",
		"\x81\xa1v\xa1\xff":                      "!malformed", // UTF-8
		"\x82\xa1v\x92\xa1\xff\xd9\x01\xff\x01a": "!malformed",
		"\x81\xa1\xff\x01":                       "!malformed",
		"\x82\x80\x01\xa1a\x01":                  "!malformed", // a dictionary as a key
		deep:                                     "!too_deep",
		"\x93\x01\x02\x81\xa1x\x03":              "!not_a_dictionary",
		"\xdc\x00\x01\x80":                       "!not_a_dictionary",
		"\x82\xa1v\xa1\xff\xa1w\xc7\x03\xffabc":  "!malformed",
		"\x82\xa1v\xa1\xff\xa1w\xd8" + strings.Repeat("\x81", 17): "!malformed",
	} {
		codectest.CheckSequence(t, msgpack.Codec{}, a+bad+b+bad+bad+a, a, want, b, want, want, a)
	}
	for bad, want := range map[string]string{
		"\x81\xa1a\xc1":             "!!malformed",
		"\x81\xc1\x01":              "!!malformed",
		"\xc1":                      "!!malformed",
		"\x01":                      "!!not_a_dictionary",
		"hello":                     "!!not_a_dictionary",
		"\x82\xa1a\x01\xa1a\xc1":    "!!duplicate_key", // the first of two faults is reported
		"\x82\xa1a\x01\xa1\xff\xc1": "!!malformed",
	} {
		codectest.CheckSequence(t, msgpack.Codec{}, a+bad+a, a, want)
	}
	codectest.CheckSequence(t, msgpack.Codec{}, a+"\x82\xa1a\x01\xa1b", a, "!truncated")

	// A record that is too long is skipped while it arrives.
	codectest.CheckSkipping(t, msgpack.Codec{}, "\x81\xa1a\xc6\x00\x01\x00\x00xy", 65534, a)
}

// unpack prints where each value of a sequence ends, as read by Python's msgpack.
const unpack = `
import msgpack, sys
for line in sys.stdin:
    u = msgpack.Unpacker(raw=True, use_list=False, strict_map_key=False, object_pairs_hook=tuple, ext_hook=lambda c, b: None)
    u.feed(bytes.fromhex(line))
    try: u.skip(); print(u.tell())
    except Exception: print(-1)
`

// A record that we refuse ends where Python's msgpack says.
func TestPassingAgainstPython(t *testing.T) {
	g := generator(t)
	var hexes strings.Builder
	var wants []string
	passed := 0
	for range testrand.Many(20_000) {
		b, err := msgpack.Codec{}.Append(nil, g.Dict())
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + g.IntN(2) {
			i := g.IntN(len(b))
			if g.IntN(2) == 0 {
				b[i] ^= 1 << g.IntN(8)
			} else {
				b = slices.Insert(b, i, byte(g.Uint32()))
			}
		}
		b = append(b, "\x81\xa4good\x01"...)
		s := msgpack.Codec{}.NewScanner(codec.Limits{})
		s.Resume()
		_, end, err := s.Next(b)
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) || bad.Code == fault.NotADictionary || bad.Code == fault.TooLarge {
			continue
		}
		if bad.Final {
			end = -1
		} else if _, _, err := s.Next(b[end:]); errors.Is(err, codec.ErrIncomplete) {
			continue // it may continue
		} else {
			passed++
		}
		fmt.Fprintf(&hexes, "%x\n", b)
		wants = append(wants, fmt.Sprintf("%d of %x", end, b))
	}
	cmd := exec.Command("/usr/bin/python3", "-c", unpack)
	cmd.Stdin = strings.NewReader(hexes.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	for i, want := range wants {
		if n, _, _ := strings.Cut(want, " "); lines[i] != n {
			t.Fatalf("Python says %s, we %s", lines[i], want)
		}
	}
	if passed < testrand.Many(100) {
		t.Errorf("%d records were passed over: the test is lopsided", passed)
	}
}
