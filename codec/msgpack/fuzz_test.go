package msgpack_test

import (
	"encoding/hex"
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

func FuzzDecode(f *testing.F) {
	seeds(f)
	codectest.FuzzDecode(f, msgpack.Codec{})
}

func FuzzScanner(f *testing.F) {
	seeds(f)
	codectest.FuzzScanner(f, msgpack.Codec{}, codec.Limits{}, 64)
}
