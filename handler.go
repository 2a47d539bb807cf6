package dictwire

import (
	"cmp"
	"context"
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// Reject returns the error by which a [Handler] rejects a record at once. The sender is
// told the text and the reason: "" or a word for programs of at most 64 bytes, such as
// "sold_out". The topic "_rejected" keeps both with the record.
func Reject(reason, text string) error { return &server.RejectError{Reason: reason, Text: text} }

// A Handler sees each dictionary before it is stored. It returns a reply, which is sent in
// the sender's format once the record is stored, or nil. It must not retain r.
//
// An error made by [Reject] rejects the record; [ErrUnavailable] tells the sender to try
// again later. After any other error, or a panic, the server calls Handle again: see
// [Server.HandlerRetries]. In the end the record is rejected with the code internal, and the
// error goes to the server's log only.
//
// A record is stored once, but Handle may see it again after a connection or the store
// failed. Work on stored records belongs in a reader. Calls for one connection are made in
// order, one at a time; those for several run concurrently.
type Handler interface {
	Handle(ctx context.Context, r *Request) (*dict.Dict, error)
}

// A HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, r *Request) (*dict.Dict, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, r *Request) (*dict.Dict, error) { return f(ctx, r) }

// A Request is a dictionary that was received, and where it came from.
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

// NewRequest returns a request for tests of handlers. "" is [DefaultTopic].
func NewRequest(topic string, d *dict.Dict) *Request {
	record, err := cbor.Codec{}.Append(nil, d)
	if err != nil {
		panic("dictwire: CBOR holds every dictionary: " + err.Error())
	}
	return &Request{
		Codec: cbor.Codec{}, Dialect: "native", Topic: cmp.Or(topic, DefaultTopic), Principal: store.Anonymous, Number: 1,
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Bytes: record, dict: d,
	}
}

// Dict returns the decoded dictionary. It refers to r.Bytes: to retain it, clone it.
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
