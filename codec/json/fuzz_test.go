package json_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/corpus"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, r := range corpus.Events(1, 6) {
		f.Add(r)
	}
	for i, t := range tokens {
		f.Add([]byte(`{"a":` + t + `,"b":[` + tokens[(i*7)%len(tokens)] + `]}` + "\n" + `{"c":1}`))
	}
}

// FuzzDecode: no panic; what is decoded is written and decoded as the same; the
// memory it takes is bounded by the input's size.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []json.Codec{{}, {DuplicateKeys: json.KeepLast}} {
			d, err := c.Decode(b, codec.Limits{})
			if err != nil {
				continue
			}
			out, err := c.Append(nil, d)
			if err != nil {
				t.Fatalf("%q: %v", b, err)
			}
			back, err := c.Decode(out, codec.Limits{RecordBytes: -1})
			if err != nil || !back.Equal(d) {
				t.Fatalf("%q: %v came back as %v, %v", b, d, back, err)
			}
			if !d.Clone().Equal(d) {
				t.Fatalf("%q: the clone of %v differs", b, d)
			}
		}
	})
}

// FuzzScanner: the scanner accepts what Decode accepts and nothing else, and
// finds the same in pieces as in the whole.
func FuzzScanner(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		wholes := records(t, b, len(b)+1)
		for _, r := range wholes {
			if _, err := (json.Codec{}).Decode(r, codec.Limits{}); err != nil {
				t.Fatalf("%q: the scanner accepts it, Decode says %v", r, err)
			}
		}
		if _, err := (json.Codec{}).Decode(b, codec.Limits{}); err == nil && len(wholes) != 1 {
			t.Fatalf("%q: Decode accepts it, the scanner finds %q", b, wholes)
		}
		for _, piece := range []int{1, 3, 8, 17} {
			if got := records(t, b, piece); !equal(got, wholes) {
				t.Fatalf("%q in pieces of %d: %q, whole: %q", b, piece, got, wholes)
			}
		}
		s := codectest.Warm(json.Codec{}, codec.Limits{})
		_, _, _ = s.Next(b)
		if held, most := s.Scratch(), 16*len(b)+4096; held > most {
			t.Fatalf("%q: %d bytes of scratch for %d", b, held, len(b))
		}
	})
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// records returns the good records of a sequence that arrives in pieces of the
// given size.
func records(t *testing.T, b []byte, piece int) [][]byte {
	t.Helper()
	var all [][]byte
	s := codectest.Warm(json.Codec{}, codec.Limits{})
	s.Resume()
	begin, come := 0, 0
	for {
		buf := b[begin:come]
		start, end, err := s.Next(buf)
		if errors.Is(err, codec.ErrIncomplete) {
			begin += start
			if come < len(b) {
				come = min(come+piece, len(b))
				continue
			}
			start, end, err = s.End(b[begin:])
		}
		var bad *codec.SyntaxError
		switch {
		case err == io.EOF:
			return all
		case err == nil:
			all = append(all, b[begin+start:begin+end])
		case !errors.As(err, &bad):
			t.Fatalf("%q: %v", b, err)
		case bad.Final:
			return all
		case end <= 0:
			t.Fatalf("%q: no progress behind %v", b[begin:], err)
		}
		begin += end
	}
}
