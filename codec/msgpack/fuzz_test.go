package msgpack_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/msgpack"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, text := range []string{"81a161d6ff5e0be100", "829200c400a1620102", "81a161c70cff3b9ac618fffffff1886e0900", "81dc0001c0cb7ff8000000000000"} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	g := codectest.NewGenerator(1, kinds, keys)
	g.Holds = holds
	for range 60 {
		b, err := msgpack.Codec{}.Append(nil, g.Dict())
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 1000 {
			f.Add(b)
		}
	}
}

// FuzzDecode: no panic; what is decoded is written and decoded as the same.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := msgpack.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			return
		}
		out, err := msgpack.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		back, err := msgpack.Codec{}.Decode(out, codec.Limits{RecordBytes: -1})
		if err != nil || !back.Equal(d) {
			t.Fatalf("%x: %v came back as %v, %v", b, d, back, err)
		}
		if !d.Clone().Equal(d) {
			t.Fatalf("%x: the clone of %v differs", b, d)
		}
	})
}

// FuzzScanner: the scanner accepts what Decode accepts and nothing else, and finds
// the same in pieces as in the whole, with memory bounded by what it is given.
func FuzzScanner(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		wholes := records(t, b, len(b)+1)
		for _, r := range wholes {
			if _, err := (msgpack.Codec{}).Decode(r, codec.Limits{}); err != nil {
				t.Fatalf("%x: the scanner accepts it, Decode says %v", r, err)
			}
		}
		if _, err := (msgpack.Codec{}).Decode(b, codec.Limits{}); err == nil && (len(wholes) != 1 || len(wholes[0]) != len(b)) {
			t.Fatalf("%x: Decode accepts it, the scanner finds %x", b, wholes)
		}
		for _, piece := range []int{1, 3, 8, 17} {
			got := records(t, b, piece)
			if len(got) != len(wholes) {
				t.Fatalf("%x in pieces of %d: %x, whole: %x", b, piece, got, wholes)
			}
			for i := range got {
				if !bytes.Equal(got[i], wholes[i]) {
					t.Fatalf("%x in pieces of %d: %x, whole: %x", b, piece, got, wholes)
				}
			}
		}
		s := msgpack.Codec{}.NewScanner(codec.Limits{})
		_, _, _ = s.Next(b)
		if held, most := s.Scratch(), 64*len(b)+16<<10; held > most {
			t.Fatalf("%x: %d bytes of scratch for %d", b, held, len(b))
		}
	})
}

// records returns the good records of a sequence that arrives in pieces of the
// given size.
func records(t *testing.T, b []byte, piece int) [][]byte {
	t.Helper()
	var all [][]byte
	s := msgpack.Codec{}.NewScanner(codec.Limits{})
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
		if err != nil {
			var bad *codec.SyntaxError
			if !errors.As(err, &bad) || !bad.Final {
				t.Fatalf("%x: %v is not final", b, err)
			}
			return all
		}
		all = append(all, b[begin+start:begin+end])
		begin += end
	}
}
