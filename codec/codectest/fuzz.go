package codectest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/dictwire/dictwire/codec"
)

// FuzzDecode fuzzes the Decode of a binary format: no panic; what is decoded is
// written and decoded as the same. f has its seeds.
func FuzzDecode(f *testing.F, c codec.Codec) {
	f.Helper()
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := c.Decode(b, codec.Limits{})
		if err != nil {
			return
		}
		out, err := c.Append(nil, d)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		back, err := c.Decode(out, codec.Limits{RecordBytes: -1})
		if err != nil || !back.Equal(d) {
			t.Fatalf("%x: %v came back as %v, %v", b, d, back, err)
		}
		if !d.Clone().Equal(d) {
			t.Fatalf("%x: the clone of %v differs", b, d)
		}
	})
}

// FuzzScanner fuzzes the scanner of a binary format: it accepts what Decode accepts and nothing else, and finds the same in
// pieces as in the whole, with memory bounded by what it is given. f has its seeds.
func FuzzScanner(f *testing.F, c codec.Codec) {
	f.Helper()
	f.Fuzz(func(t *testing.T, b []byte) {
		wholes := records(t, c, b, len(b)+1)
		for _, r := range wholes {
			if _, err := c.Decode(r, codec.Limits{}); err != nil {
				t.Fatalf("%x: the scanner accepts it, Decode says %v", r, err)
			}
		}
		if _, err := c.Decode(b, codec.Limits{}); err == nil && (len(wholes) != 1 || len(wholes[0]) != len(b)) {
			t.Fatalf("%x: Decode accepts it, the scanner finds %x", b, wholes)
		}
		for _, piece := range []int{1, 3, 8, 17} {
			got := records(t, c, b, piece)
			if len(got) != len(wholes) {
				t.Fatalf("%x in pieces of %d: %x, whole: %x", b, piece, got, wholes)
			}
			for i := range got {
				if !bytes.Equal(got[i], wholes[i]) {
					t.Fatalf("%x in pieces of %d: %x, whole: %x", b, piece, got, wholes)
				}
			}
		}
		s := c.NewScanner(codec.Limits{})
		_, _, _ = s.Next(b)
		if held, most := s.Scratch(), 64*len(b)+16<<10; held > most {
			t.Fatalf("%x: %d bytes of scratch for %d", b, held, len(b))
		}
	})
}

// records returns the good records of a sequence that arrives in pieces of the
// given size.
func records(t *testing.T, c codec.Codec, b []byte, piece int) [][]byte {
	t.Helper()
	var all [][]byte
	s := Warm(c, codec.Limits{})
	s.Resume()
	begin, come := 0, min(piece, len(b))
	for {
		start, end, err := s.Next(b[begin:come])
		if errors.Is(err, codec.ErrIncomplete) {
			begin += start
			if come < len(b) {
				come = min(come+piece, len(b))
				continue
			}
			start, end, err = s.End(b[begin:])
			if err == io.EOF {
				return all
			}
		}
		var bad *codec.SyntaxError
		switch {
		case err == nil:
			all = append(all, b[begin+start:begin+end])
		case !errors.As(err, &bad):
			t.Fatalf("%x: %v", b, err)
		case bad.Final:
			return all
		case end <= 0:
			t.Fatalf("%x: no progress after %v", b[begin:], err)
		}
		begin += end
	}
}
