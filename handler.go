package dictwire

import (
	"cmp"
	"context"
	"net"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/server"
)

// ErrUnavailable is what a [Handler] returns, wrapped or not, where it can't
// judge a record now: the record is neither stored nor rejected, the connection
// ends, and the sender is told to try again.
var ErrUnavailable = fault.ErrUnavailable

// Reject returns the error by which a [Handler] rejects a record at once. Its sender is
// told the text and, where it is not "", the reason: a word for programs, such as
// "sold_out", of which 64 bytes count. Both are kept with the record in the topic
// "_rejected".
func Reject(reason, text string) error { return &server.RejectError{Reason: reason, Text: text} }

// A Handler sees each dictionary before it is stored: it is a gate. A returned
// dictionary is the reply, which the sender gets in the format that it speaks
// when the record is stored; nil means no reply. [Reject] makes the error that
// rejects the record.
//
// With any other error, and with a panic, Handle has failed, and it is called again
// for the record: see [Server.HandlerRetries]. Where it fails each time, the record is
// kept in the topic "_rejected" with the code internal. The server's log has the error;
// the sender is not told its text. [ErrUnavailable] does not count.
//
// Handle sees each record at least once: again, also where the connection or the
// store fails before the record is stored. It is stored once. What is to be done
// with records that are stored is done by a reader.
//
// Handle is called by several goroutines at once, but for one connection by one
// goroutine, in the order of the records. ctx ends after [Server.HandlerTimeout], and
// when the server is closed. r and what it holds must not be retained after Handle
// returns.
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

	// Dialect is the name of the dialect that the connection speaks: "stream"
	// or "native".
	Dialect string

	// Topic is where the record goes.
	Topic string

	// Principal is who sent it.
	Principal Principal

	// Producer is the name of the producer that numbers the record, or "".
	Producer string

	// Number is the record's number: the producer's, or counted from 1 in this
	// connection.
	Number uint64

	// RemoteAddr is the sender's address.
	RemoteAddr net.Addr

	// Bytes is the serialized dictionary as it was received.
	Bytes []byte

	limits codec.Limits
	dict   *dict.Dict
}

// NewRequest returns a request as a handler would see it, in CBOR and with the
// number 1: for the tests of handlers. The empty topic is [DefaultTopic].
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
