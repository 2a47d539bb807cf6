package dictwire

import (
	"context"
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A Handler sees each dictionary that a server receives. A returned dictionary
// is the reply, which the sender gets in the format that it speaks; nil means
// no reply. An error rejects the record: the sender is told the error's text.
//
// Handle is called by several goroutines at once, but for one connection by one
// goroutine, in the order of the records. A panic rejects the record. ctx ends
// when the server is closed. r and what it holds must not be retained after
// Handle returns.
type Handler interface {
	Handle(ctx context.Context, r *Request) (*dict.Dict, error)
}

// A HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, r *Request) (*dict.Dict, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, r *Request) (*dict.Dict, error) { return f(ctx, r) }

// A Request is one dictionary that was received, and where it came from.
type Request struct {
	// Codec is the format that the dictionary came in.
	Codec codec.Codec

	// Dialect is the name of the dialect that the connection speaks: "stream".
	Dialect string

	// RemoteAddr is the sender's address.
	RemoteAddr net.Addr

	// Bytes is the serialized dictionary as it was received.
	Bytes []byte

	limits codec.Limits
	dict   *dict.Dict
}

// Dict returns the dictionary. It is decoded at the first call and refers to
// r.Bytes; [dict.Dict.Clone] makes one that may be retained.
func (r *Request) Dict() *dict.Dict {
	if r.dict == nil {
		d, err := r.Codec.Decode(r.Bytes, r.limits)
		if err != nil {
			// The scanner accepted the record, so Decode must.
			panic("dictwire: " + r.Codec.Name() + " scanner and decoder disagree: " + err.Error())
		}
		r.dict = d
	}
	return r.dict
}
