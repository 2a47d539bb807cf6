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

// Send sends one dictionary to the server's default topic, as [Client.Send] does.
// Programs that send more should use a [Client].
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := client.New(ctx, addr, Dialer{}.options())
	if err != nil {
		return nil, client.NotSent(err)
	}
	defer func() { _ = c.Close() }() // what is not settled, Send has said
	return c.Send(ctx, DefaultTopic, v)
}

// A Dialer makes clients. The zero Dialer is ready to use. A zero limit means the default,
// a negative one no limit.
type Dialer struct {
	Codec    codec.Codec  // of what is sent; nil: CBOR, which holds every kind of value
	Limits   codec.Limits // of one record, sent or received
	Producer string       // prefix of the producer's random name: at most 100 bytes of printable ASCII; "": "go"
	Token    string       // identifies the client to Server.Authorizer; sent in the clear without TLS
	TLS      *tls.Config  // TLS 1.2 or newer; nil: no TLS, or the zero Config for tls:// addresses

	// Spool stores every record before it is sent, and names the producer. With nil,
	// unsettled records are lost with the client.
	Spool spool.Spool

	// AtSpool makes Send and Flush return when records are in the Spool. Later rejections
	// are told to OnRejected or by a later Flush.
	AtSpool bool

	// AcceptLost continues, and logs it, where the server or the spool has lost records,
	// instead of ErrLost and spool.ErrDamaged. The next Flush, and a Send that waits for a
	// damaged record, still return the error.
	AcceptLost bool

	// Limits of unsettled records over all topics, at which Send and SendAsync wait.
	WindowRecords int   // default 65,536
	WindowBytes   int64 // default 16 MiB

	// Pauses between attempts to connect, doubling, with jitter; default 50 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration

	MaxAge      time.Duration // of an unsettled record, then Send or Flush return ErrExpired; default no limit; unused with a Spool
	IdleTimeout time.Duration // closes a topic's connection when all is settled; default 1 minute

	// Callbacks are called one at a time for a topic or subscription, which waits for them:
	// they must not wait for the client.
	OnRejected func(*RejectedError)                                // a record that no Send waits for; replaces the errors of Flush
	OnReply    func(topic string, number uint64, reply *dict.Dict) // to a record that no Send waits for
	OnState    func(State)                                         // replaces Logger for sessions

	Logger      *slog.Logger                                                      // of broken connections and losses; must not send with this client
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // "tcp" or "unix", below TLS; nil: a [net.Dialer]
}

// A Client sends dictionaries to a server and reads them back. It may be used concurrently.
// It has one connection for each topic in use. It replaces a broken connection, and resends
// what was not settled under the same numbers.
type Client struct {
	core *client.Client
}

// Dial dials with the zero [Dialer]. addr is host:port, tls://host:port or unix:PATH; "" is
// [DefaultAddr].
func Dial(ctx context.Context, addr string) (*Client, error) { return Dialer{}.Dial(ctx, addr) }

// Dial returns a client of the server at addr, or an error if no dictwire server answers
// there. With a Spool it does not wait for one: as later, connecting is retried until it
// succeeds. Unless OnState is set, Dial opens a session to see.
func (d Dialer) Dial(ctx context.Context, addr string) (*Client, error) {
	core, err := client.Dial(ctx, addr, d.options())
	if err != nil {
		return nil, err
	}
	return &Client{core}, nil
}

// options returns d for the machinery.
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

// Send sends one dictionary to a topic, "" for [DefaultTopic], and returns when it is
// settled, or rejected with a *[RejectedError]. v is a [*dict.Dict], a Go map or struct that
// [dict.From] converts, or a [Record]. reply is what the server's handler replied, or nil if
// it did not or a broken connection lost the reply. If the client's format can't hold the
// reply, the error is a *[fault.Error] with the code loss, if it is beyond the Limits a
// *[codec.SyntaxError]; the record is settled.
//
// After an error that wraps ErrNotSent the record is not sent. If ctx ends later, the record
// is sent all the same, and Flush reports its outcome. After other errors the record may be
// settled or not.
func (c *Client) Send(ctx context.Context, topic string, v any) (reply *dict.Dict, err error) {
	return c.core.Send(ctx, topic, sent(v))
}

// SendAsync queues a dictionary to be sent as by Send, and waits only while the window is
// full. [Client.Flush] and [Dialer.OnRejected] report the outcome. v may be changed after it
// returns. Every error wraps ErrNotSent.
func (c *Client) SendAsync(ctx context.Context, topic string, v any) error {
	return c.core.SendAsync(ctx, topic, sent(v))
}

// Flush returns when all that was sent before to the topics, or to all without any, is
// settled, also what a Spool holds, or with [Dialer.AtSpool] is in the spool. Unless
// OnRejected is set, the error joins a *[RejectedError] for each rejected record that no
// earlier Flush or Send reported. Why a topic can't go on is returned once.
func (c *Client) Flush(ctx context.Context, topics ...string) error {
	return c.core.Flush(ctx, topics...)
}

// Shutdown flushes and closes the client. When ctx ends, it closes without waiting longer.
func (c *Client) Shutdown(ctx context.Context) error {
	return errors.Join(c.core.Flush(ctx), c.core.Close())
}

// Close ends the client at once, and waiting calls with ErrClientClosed. With a Spool, it
// stores there what was sent. The error says how many records are lost.
func (c *Client) Close() error { return c.core.Close() }

// Ping opens and ends a session with the server.
func (c *Client) Ping(ctx context.Context) error { return c.core.Ping(ctx) }

// Stats returns the client's counters. They are not read at one instant.
func (c *Client) Stats() ClientStats {
	st := c.core.Stats()
	out := ClientStats{
		Producer: c.core.Producer(), Sessions: st.Sessions, Broken: st.Broken, Pending: st.Pending, PendingBytes: st.PendingBytes, Lost: st.Lost,
		Topics: make(map[string]TopicStats, len(st.Topics)),
	}
	for topic, t := range st.Topics {
		out.Topics[topic] = TopicStats(t)
	}
	return out
}

// ClientStats are counters of a client since it began.
type ClientStats struct {
	Producer     string // the name of the producer that numbers the client's records
	Sessions     int64  // open now, of topics and subscriptions
	Broken       int64  // sessions that broke
	Pending      int64  // records that are not settled, or with AtSpool not in the spool, nor lost
	PendingBytes int64
	Lost         int64                 // records given up: expired, of a topic that can't go on, or lost by the spool
	Topics       map[string]TopicStats // of topics that were sent to
}

// TopicStats are counters of a topic that was sent to.
type TopicStats struct {
	Settled, Bytes    int64 // records, including rejected ones, and their bytes
	Rejected, Pending int64 // records
}

// A State is a change of a session with the server.
type State struct {
	Topics []string // sent to, or read
	Reads  bool     // for a subscription
	Err    error    // the first reason why there is no session; nil: it began
}
