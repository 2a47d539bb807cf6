package dictwire

import (
	"cmp"
	"context"
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/server"
)

// Reject returns the error by which a [Handler] rejects a record at once. Its sender is
// told the text and the reason, a word for programs such as "sold_out" of at most 64
// bytes, or "". Both are kept with the record in the topic "_rejected".
func Reject(reason, text string) error { return &server.RejectError{Reason: reason, Text: text} }

// A Handler sees each dictionary before it is stored. A returned dictionary is the
// reply, which the sender gets in its own format when the record is stored; nil means no
// reply. An error that [Reject] made rejects the record.
//
// With [ErrUnavailable], the sender is told to come again. With any other error, and
// with a panic, Handle has failed and is called again: see [Server.HandlerRetries].
// A record that it fails on each time is rejected with the code internal; the error is
// in the server's log alone.
//
// A record is stored once, but Handle may see it again, where the connection or the store
// fails before. What is to be done with stored records is done by a reader.
//
// Handle is called by several goroutines at once, but for one connection by one, in the
// order of the records. It must not retain r.
type Handler interface {
	Handle(ctx context.Context, r *Request) (*dict.Dict, error)
}

// A HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, r *Request) (*dict.Dict, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, r *Request) (*dict.Dict, error) { return f(ctx, r) }

// A Request is one dictionary that was received, and where it came from.
type Request struct {
	Topic      string
	Principal  Principal // who sent it
	Producer   string    // that numbers it, or ""
	Number     uint64    // the producer's, or counted from 1 in this connection
	Dialect    string    // of the connection: "native", "stream", …
	RemoteAddr net.Addr
	Codec      codec.Codec
	Bytes      []byte // as they were received

	limits codec.Limits
	dict   *dict.Dict
}

// NewRequest returns a request for the tests of handlers. The empty topic is
// [DefaultTopic].
func NewRequest(topic string, d *dict.Dict) *Request {
	record, err := cbor.Codec{}.Append(nil, d)
	if err != nil {
		panic("dictwire: CBOR holds every dictionary: " + err.Error())
	}
	return &Request{
		Codec: cbor.Codec{}, Dialect: "native", Topic: cmp.Or(topic, DefaultTopic), Principal: Anonymous, Number: 1,
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Bytes: record, dict: d,
	}
}

// Dict returns the dictionary, decoded once. It refers to r.Bytes: [dict.Dict.Clone]
// makes one that may be retained.
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
