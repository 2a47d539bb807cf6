package server

import (
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A Request is one dictionary that was received, for the handler.
type Request struct {
	Codec      codec.Codec
	Dialect    string
	Topic      string
	Principal  string
	Producer   string
	Number     uint64
	RemoteAddr net.Addr
	Bytes      []byte

	Limits  codec.Limits // of the record
	Decoded *dict.Dict   // nil where nothing had to be decoded to store it
}
