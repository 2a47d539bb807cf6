package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
)

// shaped are the codecs that remember the shapes of records, with what makes a record the
// only value of another one, in which no shape is looked for.
var shaped = []struct {
	codec.Codec
	before, after string
}{
	{json.Codec{}, `{"in":`, `}`},
	{json.Codec{DuplicateKeys: json.KeepLast}, `{"in":`, `}`},
	{cbor.Codec{}, "\xa1\x62in", ""},
	{msgpack.Codec{}, "\x81\xa2in", ""},
}

// shapes are dictionaries of which records are made: flat and nested ones, with keys of all
// sizes that are compared in different ways, and that a changed byte makes equal.
var shapes = []*dict.Dict{
	dict.Of("aa", "x", "ab", 1, "bb", true),
	dict.Of("name", "Alice", "age", 30, "city", "Paris"),
	dict.Of("seven77", nil, "eight888", -5, "nine99999", 1.5, "sixteen161616161", "é", "seventeen17171717", 300),
	dict.Of("a", dict.Of("a", 1, "b", []any{1, "x", dict.Of("a", 1, "b", 2)}), "b", 2),
	dict.Of("a", 1, "b", []any{}, "c", dict.Of()),
	dict.Of("a\x00\x00", "\x00", "b\x00", "\x00\x00", "c\x00\x00\x00", 0),
	dict.Of("empty", "", "long", string(bytes.Repeat([]byte("xé"), 20)), "longer", string(bytes.Repeat([]byte("y"), 300))),
}

// often is how often a record is found until its shape is remembered, and more.
const often = 8

// After many records of a shape, a scanner and Decode say of a record with a changed byte what
// they say without a shape.
func TestShapes(t *testing.T) {
	for _, c := range shaped {
		for _, d := range shapes {
			record := encoded(t, c, d)
			var stream []byte
			for range often {
				stream = append(stream, record...)
			}
			for _, changed := range changes(record) {
				want := scanned(c.NewScanner(codec.Limits{}), changed)
				s := c.NewScanner(codec.Limits{})
				for from := 0; from < len(stream); {
					start, end, err := s.Next(stream[from:])
					if err != nil || end-start != len(record) {
						t.Fatalf("%s: %q again: %d, %d, %v", c.Name(), record, start, end, err)
					}
					from += end
				}
				if got := scanned(s, changed); got != want {
					t.Fatalf("%s: %q after %q: %s, want %s", c.Name(), changed, record, got, want)
				}
			}
			forget()
			for range often {
				if got, err := c.Decode(record, codec.Limits{}); err != nil || !got.Equal(d) {
					t.Fatalf("%s: %q: %v, %v", c.Name(), record, got, err)
				}
			}
			for _, changed := range changes(record) {
				got, err := c.Decode(changed, codec.Limits{})
				outer, wantErr := c.Decode([]byte(c.before+string(changed)+c.after), codec.Limits{})
				if wantErr != nil {
					if err == nil && bytes.Count(changed, []byte(`{"`)) == bytes.Count(record, []byte(`{"`)) {
						t.Fatalf("%s: %q after %q: %v, want %v", c.Name(), changed, record, got, wantErr)
					}
					continue
				}
				v, _ := outer.Get("in")
				if want, ok := v.Dict(); ok && (err != nil || got.String() != want.String()) {
					t.Fatalf("%s: %q after %q: %v, %v, want %v", c.Name(), changed, record, got, err, want)
				}
			}
		}
	}
}

// forget makes Decode forget what it has seen.
func forget() {
	runtime.GC()
	runtime.GC()
}

// A record of a shape may come in two pieces.
func TestShapeInPieces(t *testing.T) {
	for _, c := range shaped {
		for _, d := range shapes {
			record := encoded(t, c, d)
			s := c.NewScanner(codec.Limits{})
			find := func() {
				t.Helper()
				if start, end, err := s.Next(record); err != nil || start > 0 || end != len(record) {
					t.Fatalf("%s: %q: %d, %d, %v", c.Name(), record, start, end, err)
				}
			}
			for range often {
				find()
			}
			for cut := 1; cut < len(record); cut++ {
				if start, end, err := s.Next(record[:cut]); !errors.Is(err, codec.ErrIncomplete) || start > 0 || end > 0 {
					t.Fatalf("%s: %d bytes of %q: %d, %d, %v", c.Name(), cut, record, start, end, err)
				}
				find()
				find()
			}
		}
	}
}

// scanned returns what a scanner says of a record, and of its end if it is not good.
func scanned(s codec.Scanner, record []byte) string {
	start, end, err := s.Next(record)
	said := fmt.Sprint(start, end, err)
	if err == nil {
		return said
	}
	start, end, err = s.End(record[start:])
	return said + fmt.Sprint(start, end, err)
}

// changes returns records that differ from one in little.
func changes(record []byte) (all [][]byte) {
	for i := range record {
		all = append(all, record[:i], append(bytes.Clone(record[:i]), record[i+1:]...))
		for _, c := range []byte{record[i] ^ 1, record[i] + 1, record[i] ^ 0x80, 0, ' ', '"', '\\', 'a', '0', 0x7F, 0xC3, 0xFF} {
			changed := bytes.Clone(record)
			changed[i] = c
			all = append(all, changed, append(append(bytes.Clone(record[:i]), c), record[i:]...))
		}
		for _, n := range []int{2, 7, 9} { // repeats bytes
			if i >= n {
				all = append(all, append(bytes.Clone(record[:i]), record[i-n:]...))
			}
		}
	}
	return all
}

// A shape does not lift a limit, even if Decode has remembered it under another one.
func TestShapeLimits(t *testing.T) {
	for _, c := range shaped {
		for _, d := range shapes {
			record := encoded(t, c, d)
			for _, lim := range []codec.Limits{{Items: 2*d.Len() - 1}, {RecordBytes: len(record) - 1}, {Digits: 1}, {Digits: 2}, {Depth: 1}} {
				_, _, want := c.NewScanner(lim).Next(record)
				if want == codec.ErrIncomplete {
					t.Fatalf("%s: %q is incomplete", c.Name(), record)
				}
				forget()
				for range often {
					if _, err := c.Decode(record, codec.Limits{}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := c.Decode(record, lim); (err == nil) != (want == nil) {
					t.Errorf("%s: %q within %+v: %v, want %v", c.Name(), record, lim, err, want)
				}
			}
		}
	}
}

// A scanner's shape does not lift the limits of what may differ between records of it.
func TestShapeScannerLimits(t *testing.T) {
	for _, c := range shaped {
		for _, test := range []struct {
			lim       codec.Limits
			good, bad any
		}{
			{codec.Limits{Digits: 2}, 99, 100},
			{codec.Limits{Digits: 8}, 99_999_999, 100_000_000},
			{codec.Limits{RecordBytes: 30}, "short", "as long as a record may be, or longer"},
			{codec.Limits{Items: 8}, 1, []any{1, 2, 3, 4, 5}},
			{codec.Limits{Depth: 1}, 1, []any{1}},
		} {
			s := c.NewScanner(test.lim)
			good, bad := encoded(t, c, dict.Of("key", test.good, "k", 1)), encoded(t, c, dict.Of("key", test.bad, "k", 1))
			for range often {
				if _, _, err := s.Next(good); err != nil {
					t.Fatalf("%s: %q within %+v: %v", c.Name(), good, test.lim, err)
				}
			}
			if _, _, err := s.Next(bad); err == nil || errors.Is(err, codec.ErrIncomplete) {
				t.Errorf("%s: %q within %+v: %v", c.Name(), bad, test.lim, err)
			}
		}
	}
}

// A record in which a key may come twice gives no shape to decoders that refuse it.
func TestShapeOfDuplicates(t *testing.T) {
	record := []byte(`{"twice":1,"twice":2}`)
	forget()
	for range often {
		d, err := json.Codec{DuplicateKeys: json.KeepLast}.Decode(record, codec.Limits{})
		if err != nil || d.String() != "{'twice': 2}" {
			t.Fatal(d, err)
		}
	}
	if d, err := (json.Codec{}).Decode(record, codec.Limits{}); err == nil {
		t.Errorf("%s: %v", record, d)
	}
}

func encoded(t *testing.T, c codec.Codec, d *dict.Dict) []byte {
	t.Helper()
	record, err := c.Append(nil, d)
	if err != nil {
		t.Fatal(err)
	}
	return record
}
