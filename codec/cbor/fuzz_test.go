package cbor_test

import (
	"encoding/hex"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, v := range appendixA {
		item, err := hex.DecodeString(v.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte{0xA1, 0x00}, item...))
		f.Add(append(append([]byte{0xBF}, item...), 0xF6, 0xFF))
	}
	g := codectest.NewGenerator(1, dict.Kinds(), keys)
	for range 60 {
		b, err := cbor.Codec{}.Append(nil, g.Dict())
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 1000 {
			f.Add(b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	codectest.FuzzDecode(f, cbor.Codec{})
}

func FuzzScanner(f *testing.F) {
	seeds(f)
	codectest.FuzzScanner(f, cbor.Codec{}, codec.Limits{}, 64)
}
