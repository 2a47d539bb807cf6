package server

import (
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A Request is one dictionary that was received, as the public one.
type Request struct {
	Codec      codec.Codec
	Dialect    string
	Topic      string
	Producer   string
	Number     uint64
	RemoteAddr net.Addr
	Bytes      []byte

	Limits  codec.Limits // of the record
	Decoded *dict.Dict   // nil until Dict was called
}

// Dict returns the dictionary. It is decoded at the first call and refers to
// r.Bytes.
func (r *Request) Dict() *dict.Dict {
	if r.Decoded == nil {
		d, err := r.Codec.Decode(r.Bytes, r.Limits)
		if err != nil {
			// The scanner accepted the record, so Decode must.
			panic("dictwire: " + r.Codec.Name() + " scanner and decoder disagree: " + err.Error())
		}
		r.Decoded = d
	}
	return r.Decoded
}
