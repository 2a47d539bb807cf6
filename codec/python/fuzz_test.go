package python_test

import (
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

func seeds(f *testing.F) {
	f.Helper()
	g := codectest.NewGenerator(1, dict.Kinds(), keys)
	g.Holds = holds
	for range 20 {
		b, err := python.Codec{}.Append(nil, g.Dict())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for i, t := range tokens {
		f.Add([]byte("{'a': " + t + ", 'b': [" + tokens[(i*7)%len(tokens)] + "]}\n{'c': 1}"))
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	codectest.FuzzDecode(f, python.Codec{})
}

func FuzzScanner(f *testing.F) {
	seeds(f)
	codectest.FuzzScanner(f, python.Codec{}, codec.Limits{}, 200)
}
