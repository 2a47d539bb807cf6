package wire

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
)

// Codecs returns the formats of the native session by name. The given codecs replace
// those of the same name.
func Codecs(own ...codec.Codec) map[string]codec.Codec {
	all := make(map[string]codec.Codec)
	for _, c := range append([]codec.Codec{json.Codec{}, cbor.Codec{}, msgpack.Codec{}, pickle.Codec{}, python.Codec{}}, own...) {
		all[c.Name()] = c
	}
	return all
}
