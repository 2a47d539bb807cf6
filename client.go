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

// Send sends one dictionary to the server's default topic, and returns when it
// is settled. v is a [*dict.Dict], or a Go map or struct as [dict.From] converts
// it. reply is what the server's handler replies, or nil; a rejection is a
// *[RejectedError]. A program that sends more makes a [Client].
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := client.New(ctx, addr, Dialer{}.options())
	if err != nil {
		return nil, client.NotSent(err)
	}
	defer func() { _ = c.Close() }() // what is not settled, Send has said
	return c.Send(ctx, DefaultTopic, v)
}

// A Dialer makes clients. The zero Dialer is ready to use.
type Dialer struct {
	// Codec is the format that dictionaries are sent in. Nil means CBOR,
	// which holds every kind of value.
	Codec codec.Codec

	// Limits bound one record, sent or received.
	Limits codec.Limits

	// Producer is what the client's producer is called: the beginning of its
	// name, after which random letters make it the client's own. It is at most
	// 100 bytes of printable ASCII without spaces; "" means "go". Where there is
	// a spool, the name is the spool's.
	Producer string

	// Token says to the server who sends and reads: see [Server.Authorizer]. Where it
	// is not good, what the client returns is [ErrUnauthenticated]. It is sent as it
	// is: others can read it on the way, unless there is TLS.
	Token string

	// TLS is how TLS is spoken with the server, of version 1.2 or newer: its RootCAs are
	// whom to believe, its Certificates say who the client is. Nil means none, unless the
	// address begins with tls://, which stands for the zero Config: the system's roots.
	TLS *tls.Config

	// Spool keeps every record before its first byte is sent. Nil means that
	// what is not settled is lost with the client.
	Spool spool.Spool

	// AtSpool makes Send and Flush return when records are in the spool. What
	// the server says against them later is told to OnRejected, or by a later
	// Flush. Without a spool it means nothing.
	AtSpool bool

	// AcceptLost goes on where the server has less than it acknowledged, or
	// records of the spool are damaged, in place of ErrLost and
	// [spool.ErrDamaged]. It is
	// logged. Those who wait for a damaged record, and the next Flush, are told
	// [spool.ErrDamaged] all the same.
	AcceptLost bool

	// WindowRecords and WindowBytes bound what is sent and not settled, over
	// all topics. Beyond them Send and SendAsync wait. Zero means 65,536
	// records and 16 MiB, negative no limit.
	WindowRecords int
	WindowBytes   int64

	// MinBackoff and MaxBackoff bound the pause before a connection is tried
	// again. Each pause is up to twice the one before, and random in part. Zero
	// means 50 milliseconds and 5 seconds.
	MinBackoff, MaxBackoff time.Duration

	// MaxAge is how long a record may wait until it is settled. After that it is
	// given up: it may be settled or not, and Send or Flush return ErrExpired. Zero
	// means no limit. Where there is a spool, MaxAge is ignored: the spool has
	// limits of its own.
	MaxAge time.Duration

	// IdleTimeout is how long a topic's connection is kept when all is settled.
	// Zero means 1 minute, negative no limit.
	IdleTimeout time.Duration

	// OnRejected is told of each rejected record that no Send waits for, in
	// place of Flush. Calls for one topic come one after the other, and hold up
	// what else is settled there: it must not wait for the client. The same holds
	// for OnReply.
	OnRejected func(*RejectedError)

	// OnReply is told what a handler replies to a record that no Send waits
	// for. Nil disables the callback.
	OnReply func(topic string, number uint64, reply *dict.Dict)

	// OnState is called when a session with the server has begun, and when one
	// can't be made or has broken, with the first error in a row: then it is tried
	// again. Logger is then not told of sessions, nor of what ends a topic for good,
	// which Flush and later calls return. It is called by one goroutine for each
	// topic and each subscription, which it holds up; it must not wait for the
	// client.
	OnState func(State)

	// Logger is told of connections that break, and of losses. Nil means that
	// nothing is logged. It should not be one that sends with this client.
	Logger *slog.Logger

	// DialContext connects: network is tcp or unix. TLS is spoken over what it returns. Nil
	// means a [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Client sends dictionaries to a server, and reads them back, over native
// sessions. Any number of goroutines may use it at once.
//
// There is one connection for each topic in use. One that breaks is made again,
// and what was not settled is sent again under the same numbers: while the
// client lives, each record gets into the store once. With a spool that holds
// beyond its life.
type Client struct {
	core *client.Client
}

// Dial connects to the server at addr: host:port, tls://host:port or unix:PATH; the
// empty addr is [DefaultAddr]. See [Dialer.Dial].
func Dial(ctx context.Context, addr string) (*Client, error) { return Dialer{}.Dial(ctx, addr) }

// Dial returns a client of the server at addr: see [Dial]. Without a spool it is
// an error where no dictwire server answers there; once one has, connections are
// tried until they succeed. It asks by a session of its own; with OnState, which tells
// of the first one, it only connects. With a spool it is not, and what the spool holds is sent as
// soon as it can be.
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

// Producer returns the name under which the client's records take their
// numbers.
func (c *Client) Producer() string { return c.core.Producer() }

// Send sends one dictionary to a topic and returns when it is settled: durable
// there, or durable among the rejected ones, which is a *[RejectedError]. v is a
// [*dict.Dict], a Go map or struct as [dict.From] converts it, or a [Record].
// reply is what the server's handler replies, or nil; a reply may be lost with a
// connection, and one that the client's format can't hold is a
// *[fault.Error] with the code loss, of a record that is settled; one beyond the Limits is a
// *[codec.SyntaxError], likewise. The empty topic is [DefaultTopic].
//
// An error that wraps ErrNotSent says that the record was not taken, as where ctx had
// ended before, or v can't be sent. Where ctx ends later, the error is its cause
// alone: the client goes on to send the record, and what becomes of it is told by
// [Client.Flush] and [Dialer.OnRejected]. Where a topic can't go on, the error wraps
// ErrLost, ErrConflict, ErrFenced, ErrProtocol or a *[fault.Error]; and
// ErrClientClosed where the client is closed meanwhile. A record that was taken
// before that may be settled or not.
func (c *Client) Send(ctx context.Context, topic string, v any) (reply *dict.Dict, err error) {
	return c.core.Send(ctx, topic, sent(v))
}

// SendAsync takes a dictionary to be sent to a topic, as [Client.Send] does, and
// does not wait until it is settled: it waits only while the window is full. v is
// no longer needed when it returns. What becomes of the record is told by
// [Client.Flush] and [Dialer.OnRejected]. Each error wraps ErrNotSent: the record was
// not taken.
func (c *Client) SendAsync(ctx context.Context, topic string, v any) error {
	return c.core.SendAsync(ctx, topic, sent(v))
}

// Flush returns when all that was sent before to some topics is settled, or to
// all where none is named; with [Dialer.AtSpool], when it is in the spool. Where
// there is a spool, that is all that it holds.
//
// Its error joins a *[RejectedError] for each record that was rejected since the
// Flush before it and that no Send waited for, unless there is an OnRejected; and
// why topics can't go on, which one Flush returns: later ones are about the others.
func (c *Client) Flush(ctx context.Context, topics ...string) error {
	return c.core.Flush(ctx, topics...)
}

// Shutdown ends the client when all that was sent is settled, or ctx ends: it is
// Flush and Close.
func (c *Client) Shutdown(ctx context.Context) error {
	return errors.Join(c.core.Flush(ctx), c.core.Close())
}

// Close ends the client at once: it does not wait until records are settled, as
// Flush does. Calls that wait return ErrClientClosed. The error says how many
// records were not settled and are lost. With a spool, what was sent is put
// there first.
func (c *Client) Close() error { return c.core.Close() }

// Pending returns the number of records that were taken to be sent and are not
// settled; with [Dialer.AtSpool], that are not in the spool. Those that are Lost are
// among them.
func (c *Client) Pending() int64 { return c.core.Pending() }

// Lost returns how many of the records that are pending the client has given up: a
// spool can't give them back, or can't take them, they have waited for MaxAge, their
// topic can't go on, or the client is closed.
func (c *Client) Lost() int64 { return c.core.Lost() }

// Ping opens a session with the server and ends it: it says whether the server
// can be reached, speaks the protocol and knows the Token.
func (c *Client) Ping(ctx context.Context) error { return c.core.Ping(ctx) }

// Stats returns where the client stands. Its figures are taken one after another, so
// that a record which is just being settled may count in some of them.
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
	Pending      int64                 // records that are not settled, or not in the spool yet; without those of Lost
	PendingBytes int64                 // what they take
	Lost         int64                 // records that the client has given up
	Topics       map[string]TopicStats // of topics that were sent to
}

// TopicStats are counters of a topic that was sent to.
type TopicStats struct {
	Settled  int64 // records, rejected ones included
	Bytes    int64 // of those
	Rejected int64
	Pending  int64
}

// A State is a change of a session: it has begun, or there is none.
type State struct {
	Topics []string // what is sent to, or read
	Reads  bool     // of a subscription
	Err    error    // nil: it has begun
}
