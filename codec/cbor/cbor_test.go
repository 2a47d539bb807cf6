package cbor_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
)

// keys are the types that may be hashable.
var keys = []dict.Kind{
	dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindComplex, dict.KindDecimal, dict.KindString,
	dict.KindBytes, dict.KindUUID, dict.KindDateTime, dict.KindDate, dict.KindTime, dict.KindTimeDelta,
	dict.KindTuple, dict.KindFrozenSet, dict.KindTagged,
}

func TestCodec(t *testing.T) {
	codectest.Run(t, codectest.Config{Codec: cbor.Codec{}, Kinds: dict.Kinds(), Keys: keys})
}

// A time in tag 0 that no datetime can represent keeps its tag, and can be stored again.
// Content that is not a time is an error with its place.
func TestTimesBeyondDatetimes(t *testing.T) {
	record := func(text string) []byte {
		head := []byte{0x60 | byte(len(text))}
		if len(text) > 23 {
			head = []byte{0x78, byte(len(text))}
		}
		return append(append([]byte{0xA1, 0x61, 'a', 0xC0}, head...), text...)
	}
	for _, text := range []string{
		"2016-12-31T23:59:60Z", "2016-12-31t23:59:60.5z", "2017-01-01T00:59:60+01:00", "1990-12-31T15:59:60-08:00",
		"2024-02-29T23:59:60Z", "9999-12-31T23:59:60Z", "2024-01-02T03:04:05.0123456789Z", "2024-01-02T03:04:05.0000000001-01:00",
		"0000-01-01T00:00:00Z", "0000-02-29T00:00:00.5+01:00", "2016-12-31T23:59:60.00000000000000000000000000000000000000000001Z",
	} {
		b := record(text)
		d, err := cbor.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v, _ := d.Get("a"); !dict.Equal(v, dict.Tagged(dict.CBORTag, dict.Int(0), dict.String(text))) {
			t.Errorf("%s is %v", text, v)
		}
		if back, err := (cbor.Codec{}).Append(nil, d); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s is written as %q, %v", text, back, err)
		}
		if _, end, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(b); err != nil || end != len(b) {
			t.Errorf("%s: the scanner says %d, %v", text, end, err)
		}
	}
	for _, text := range []string{
		"2016-12-30T23:59:60Z", "2016-12-31T23:59:61Z", "2016-12-31T23:59:60+01:00", "2016-12-31T12:00:60Z", "2023-02-29T23:59:60Z",
		"2016-13-31T23:59:60Z", "2016-12-31T23:60:60Z", "2016-12-31T24:59:60Z", "0000-02-30T00:00:00Z", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:05.0123456789",
	} {
		_, err := cbor.Codec{}.Decode(record(text), codec.Limits{})
		if want := "cbor: want a date and time of RFC 3339"; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "(at byte 3, in /a)") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	// A tag never hides a datetime.
	for _, text := range []string{"2024-01-02T03:04:05Z", "2024-01-02T03:04:05.1234567890Z", "hello"} {
		if _, err := (cbor.Codec{}).Append(nil, dict.Of("a", dict.Tagged(dict.CBORTag, dict.Int(0), dict.String(text)))); err == nil {
			t.Errorf("%s is written behind tag 0 as it is", text)
		}
	}
}
