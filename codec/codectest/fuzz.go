package codectest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/dictwire/dictwire/codec"
)

// FuzzDecode fuzzes Decode: see RoundTrip. f has its seeds.
func FuzzDecode(f *testing.F, codecs ...codec.Codec) {
	f.Helper()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range codecs {
			RoundTrip(t, c, b, codec.Limits{})
		}
	})
}

// RoundTrip decodes arbitrary bytes. It must not panic, and what it decodes must survive
// encoding and decoding.
func RoundTrip(t *testing.T, c codec.Codec, b []byte, lim codec.Limits) {
	t.Helper()
	d, err := c.Decode(b, lim)
	if err != nil {
		return
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

// FuzzScanner fuzzes a scanner. It must accept what Decode accepts and, unless it only
// frames, nothing else; find the same in pieces as in the whole; and hold at most perByte
// bytes for each byte that it gets. f has its seeds.
func FuzzScanner(f *testing.F, c codec.Codec, lim codec.Limits, perByte int) {
	f.Helper()
	f.Fuzz(func(t *testing.T, b []byte) {
		wholes := Records(t, c, lim, b, len(b)+1)
		for _, r := range wholes {
			if _, err := c.Decode(r, lim); err != nil && !codec.FramesOnly(c) {
				t.Fatalf("%q: the scanner accepts it, Decode says %v", r, err)
			}
		}
		exact := c.Terminator() == "" // nothing may surround a record
		if _, err := c.Decode(b, lim); err == nil && (len(wholes) != 1 || exact && len(wholes[0]) != len(b)) {
			t.Fatalf("%q: Decode accepts it, the scanner finds %q", b, wholes)
		}
		for _, piece := range []int{1, 3, 8, 17} {
			if got := Records(t, c, lim, b, piece); !slices.EqualFunc(got, wholes, bytes.Equal) {
				t.Fatalf("%q in pieces of %d: %q, whole: %q", b, piece, got, wholes)
			}
		}
		s := c.NewScanner(lim)
		_, _, _ = s.Next(b)
		if held, most := s.Scratch(), perByte*len(b)+16<<10; held > most {
			t.Fatalf("%q: %d bytes of scratch for %d", b, held, len(b))
		}
	})
}

// Records returns the good records of a sequence that arrives in pieces of the
// given size.
func Records(t *testing.T, c codec.Codec, lim codec.Limits, b []byte, piece int) [][]byte {
	t.Helper()
	var all [][]byte
	s := Warm(c, lim)
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
			t.Fatalf("%q: %v", b, err)
		case bad.Final:
			return all
		case end <= 0:
			t.Fatalf("%q: no progress after %v", b[begin:], err)
		}
		begin += end
	}
}
