package dictwire

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/spool"
)

// Send sends one dictionary to the server's default topic, as [Client.Send] does. A
// program that sends more makes a [Client].
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := client.New(ctx, addr, Dialer{}.options())
	if err != nil {
		return nil, client.NotSent(err)
	}
	defer func() { _ = c.Close() }() // what is not settled, Send has said
	return c.Send(ctx, DefaultTopic, v)
}

// A Dialer makes clients. The zero Dialer is ready to use. Limits of zero have the
// default that is named, negative ones mean no limit.
type Dialer struct {
	Codec    codec.Codec  // what is sent; nil: CBOR, which holds every kind of value
	Limits   codec.Limits // of one record, sent or received
	Producer string       // begins the producer's name, before random letters; at most 100 bytes of printable ASCII; "": "go"
	Token    string       // says who sends and reads: see Server.Authorizer; readable on the way without TLS

	// TLS is how TLS, of version 1.2 or newer, is spoken with the server. Nil means
	// none, or the zero Config where the address begins with tls://.
	TLS *tls.Config

	// Spool keeps every record before its first byte is sent, and names the producer.
	// Nil means that what is not settled is lost with the client.
	Spool spool.Spool

	// AtSpool makes Send and Flush return when records are in the Spool. What the
	// server says against them later is told to OnRejected, or by a later Flush.
	AtSpool bool

	// AcceptLost goes on, and logs it, where the server has less than it acknowledged or
	// records of the spool are damaged, in place of ErrLost and spool.ErrDamaged. The
	// next Flush, and those who wait for a damaged record, are told all the same.
	AcceptLost bool

	// What is sent and not settled, over all topics; Send and SendAsync wait beyond.
	WindowRecords int   // default 65,536
	WindowBytes   int64 // default 16 MiB

	// The pauses before a connection is tried again: up to twice the one before, and
	// random in part. Default 50 milliseconds and 5 seconds.
	MinBackoff, MaxBackoff time.Duration

	// MaxAge is how long a record may wait to be settled; then Send or Flush return
	// ErrExpired. Zero means no limit. With a Spool, which has its own, it is ignored.
	MaxAge time.Duration

	IdleTimeout time.Duration // of a topic's connection when all is settled; default 1 minute

	// Callbacks hold up the topic or subscription that they are about, for which calls
	// come one after the other: they must not wait for the client.
	OnRejected func(*RejectedError)                                // records that no Send waits for, in place of Flush
	OnReply    func(topic string, number uint64, reply *dict.Dict) // likewise
	OnState    func(State)                                         // in place of Logger

	Logger *slog.Logger // told of broken connections and losses; not one that sends with this client

	// DialContext connects to a network, tcp or unix, below TLS. Nil means a [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Client sends dictionaries to a server, and reads them back. Any number of
// goroutines may use it at once. It has one connection for each topic in use. One that
// breaks is made again, and what was not settled is sent again under the same numbers.
type Client struct {
	core *client.Client
}

// Dial is [Dialer.Dial] of the zero Dialer. addr is host:port, tls://host:port or
// unix:PATH; "" is [DefaultAddr].
func Dial(ctx context.Context, addr string) (*Client, error) { return Dialer{}.Dial(ctx, addr) }

// Dial returns a client of the server at addr. It is an error where no dictwire server
// answers there; later, connections are tried until they succeed. With a Spool, that
// is so from the beginning. Unless there is an OnState, Dial opens a session to see.
func (d Dialer) Dial(ctx context.Context, addr string) (*Client, error) {
	core, err := client.Dial(ctx, addr, d.options())
	if err != nil {
		return nil, err
	}
	return &Client{core}, nil
}

// options are those of what does the work.
func (d Dialer) options() client.Options {
	o := client.Options{
		Codec: d.Codec, Limits: d.Limits, Producer: d.Producer, Token: d.Token, TLS: d.TLS,
		Spool: d.Spool, AtSpool: d.AtSpool, AcceptLost: d.AcceptLost,
		WindowRecords: d.WindowRecords, WindowBytes: d.WindowBytes,
		MinBackoff: d.MinBackoff, MaxBackoff: d.MaxBackoff, IdleTimeout: d.IdleTimeout,
		OnReply: d.OnReply, MaxAge: d.MaxAge, Logger: d.Logger, DialContext: d.DialContext,
		Rejected: func(r client.Rejection) error {
			e := RejectedError(r)
			return &e
		},
	}
	if d.OnState != nil {
		o.OnState = func(s client.State) { d.OnState(State(s)) }
	}
	if d.OnRejected != nil {
		o.OnRejected = func(err error) {
			if e := (*RejectedError)(nil); errors.As(err, &e) {
				d.OnRejected(e)
			}
		}
	}
	return o
}

// Producer returns the name of the producer that numbers the client's records.
func (c *Client) Producer() string { return c.core.Producer() }

// Send sends one dictionary to a topic and returns when it is settled; a rejection is
// a *[RejectedError]. v is a [*dict.Dict], a Go map or struct as [dict.From] converts
// it, or a [Record]. The empty topic is [DefaultTopic]. reply is what the server's
// handler replies, or nil; one that is lost with a connection is nil, too. A reply that
// can't be had in the client's format is a *[fault.Error] with the code loss, and one
// beyond the Limits a *[codec.SyntaxError], of a record that is settled.
//
// Where an error wraps ErrNotSent the record was not taken. Where ctx ends later, the
// error is its cause: the record is sent all the same, and [Client.Flush] tells what
// becomes of it. After other errors the record may be settled or not.
func (c *Client) Send(ctx context.Context, topic string, v any) (reply *dict.Dict, err error) {
	return c.core.Send(ctx, topic, sent(v))
}

// SendAsync takes a dictionary to be sent, as [Client.Send] does, and waits only while
// the window is full. [Client.Flush] and [Dialer.OnRejected] tell what becomes of it.
// v is no longer needed when it returns. Every error wraps ErrNotSent.
func (c *Client) SendAsync(ctx context.Context, topic string, v any) error {
	return c.core.SendAsync(ctx, topic, sent(v))
}

// Flush returns when all that was sent before to some topics is settled, or to all
// where none is named; what a Spool holds, too. With [Dialer.AtSpool], it returns when
// all is in the spool. Unless there is an OnRejected, its error joins a *[RejectedError]
// for each rejected record that no Flush or Send has told of. Why a topic can't go on,
// it returns once.
func (c *Client) Flush(ctx context.Context, topics ...string) error {
	return c.core.Flush(ctx, topics...)
}

// Shutdown ends the client when all that was sent is settled, or ctx ends.
func (c *Client) Shutdown(ctx context.Context) error {
	return errors.Join(c.core.Flush(ctx), c.core.Close())
}

// Close ends the client at once; calls that wait return ErrClientClosed. With a Spool,
// it puts there what was sent. The error says how many records are lost.
func (c *Client) Close() error { return c.core.Close() }

// Ping opens a session with the server and ends it.
func (c *Client) Ping(ctx context.Context) error { return c.core.Ping(ctx) }

// Stats returns where the client stands, one figure after another.
func (c *Client) Stats() ClientStats {
	st := c.core.Stats()
	out := ClientStats{
		Sessions: st.Sessions, Broken: st.Broken, Pending: st.Pending, PendingBytes: st.PendingBytes, Lost: st.Lost,
		Topics: make(map[string]TopicStats, len(st.Topics)),
	}
	for topic, t := range st.Topics {
		out.Topics[topic] = TopicStats(t)
	}
	return out
}

// ClientStats is where a client stands, and what it has seen since it began.
type ClientStats struct {
	Sessions     int64                 // open now, of topics and subscriptions
	Broken       int64                 // how often the server was lost
	Pending      int64                 // records taken and not settled, or with AtSpool not in the spool, nor Lost
	PendingBytes int64                 // of those
	Lost         int64                 // records given up: expired, of a topic that can't go on, or the spool's fault
	Topics       map[string]TopicStats // of topics that were sent to
}

// TopicStats are counters of a topic that was sent to.
type TopicStats struct {
	Settled, Bytes    int64 // records, rejected ones included, and their bytes
	Rejected, Pending int64 // records
}

// A State is a change of a session with the server.
type State struct {
	Topics []string // what is sent to, or read
	Reads  bool     // of a subscription
	Err    error    // why there is none, the first in a row; nil: it has begun
}
