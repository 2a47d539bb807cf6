package dictwire

import (
	"cmp"
	"context"
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// Reject returns a [Handler]'s error that rejects a record. The sender gets both. reason is
// for programs: "" or at most 64 bytes, such as "sold_out".
func Reject(reason, text string) error { return &server.RejectError{Reason: reason, Text: text} }

// A Handler sees each dictionary before it is stored. It returns a reply, which is sent in
// the sender's format once the record is stored, or nil. It must not retain r.
//
// The error of [Reject] rejects a record; [ErrUnavailable] tells the sender to try again
// later. After other errors and panics, Handle is called again: see Server.HandlerRetries.
// Finally the record is rejected as internal; only the server's log has the error.
//
// A record is stored once, but Handle may see it again after a fault; work on stored records
// belongs in a reader. Calls are concurrent, but for one connection sequential, in order.
type Handler interface {
	Handle(ctx context.Context, r *Request) (*dict.Dict, error)
}

// A HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, r *Request) (*dict.Dict, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, r *Request) (*dict.Dict, error) { return f(ctx, r) }

// A Request is a received dictionary and its origin.
type Request struct {
	Topic      string
	Principal  string // the sender
	Producer   string // that numbers the record, or ""
	Number     uint64 // counted by the producer, or else from 1 in this connection
	Dialect    string // of the connection: "native", "stream", …
	RemoteAddr net.Addr
	Codec      codec.Codec
	Bytes      []byte // as received

	limits codec.Limits
	dict   *dict.Dict
}

// NewRequest returns a request for tests of handlers. Topic "" is "default".
func NewRequest(topic string, d *dict.Dict) *Request {
	record, err := cbor.Codec{}.Append(nil, d)
	if err != nil {
		panic("dictwire: CBOR holds every dictionary: " + err.Error())
	}
	return &Request{
		Codec: cbor.Codec{}, Dialect: "native", Topic: cmp.Or(topic, client.DefaultTopic), Principal: store.Anonymous, Number: 1,
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Bytes: record, dict: d,
	}
}

// Dict decodes r.Bytes once, and refers to them: Clone it to retain it.
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
