package json_test

import (
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

func FuzzDecode(f *testing.F) {
	seeds(f)
	codectest.FuzzDecode(f, json.Codec{}, json.Codec{DuplicateKeys: json.KeepLast})
}

func FuzzScanner(f *testing.F) {
	seeds(f)
	codectest.FuzzScanner(f, json.Codec{}, codec.Limits{}, 16)
}
