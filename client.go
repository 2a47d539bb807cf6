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

// Send sends one dictionary to the default topic, as [Client.Send] does.
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := client.New(ctx, addr, Dialer{}.options())
	if err != nil {
		return nil, client.NotSent(err)
	}
	defer func() { _ = c.Close() }() // Send has reported what is not settled
	return c.Send(ctx, "", v)
}

// A Dialer makes clients. The zero Dialer is ready to use. A zero limit means the default,
// a negative one no limit.
type Dialer struct {
	Codec    codec.Codec  // of what is sent; nil: CBOR, which holds every kind of value
	Limits   codec.Limits // of one record, sent or received
	Producer string       // prefix of the producer's random name: at most 100 bytes of printable ASCII; "": "go"
	Token    string       // identifies the client to Server.Authorizer; sent in the clear without TLS
	TLS      *tls.Config  // TLS 1.2 or newer; nil: no TLS, or the zero Config for tls:// addresses

	Spool   spool.Spool // stores records before they are sent, and names the producer; nil: they live as long as the client
	AtSpool bool        // Send and Flush return when records are in Spool; OnRejected or a later Flush tells of rejections

	// AcceptLost continues, and logs it, after ErrLost and spool.ErrDamaged, which the next
	// Flush and a Send of a damaged record still return.
	AcceptLost bool

	WindowRecords          int           // unsettled records, of all topics, at which Send waits; default 65,536
	WindowBytes            int64         // likewise, their bytes; default 16 MiB
	MinBackoff, MaxBackoff time.Duration // pauses before connecting again: doubling, random in part; default 50 ms and 5 s
	MaxAge                 time.Duration // of an unsettled record, then ErrExpired; default no limit; unused with a Spool
	IdleTimeout            time.Duration // of a topic's connection when all is settled; default 1 minute

	// Callbacks run one at a time for a topic or subscription, which they hold up: they must
	// not wait for the client.
	OnRejected func(*RejectedError)                                // of a record that no Send waits for; replaces Flush's error
	OnReply    func(topic string, number uint64, reply *dict.Dict) // to a record that no Send waits for
	OnState    func(State)                                         // replaces Logger for sessions

	Logger      *slog.Logger                                                      // of broken connections and losses; must not send with this client
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // to "tcp" or "unix", below TLS; nil: a [net.Dialer]
}

// A Client sends dictionaries to a server and reads them back. It may be used concurrently.
// It has one connection for each topic in use. It replaces a broken one, and resends what
// was not settled under the same numbers.
type Client struct {
	core *client.Client
}

// Dial uses the zero [Dialer]. addr is host:port, tls://host:port, unix:PATH, "" for
// 127.0.0.1:65432, or several servers of one store, separated by commas; the client uses one
// that it can reach and that serves it.
func Dial(ctx context.Context, addr string) (*Client, error) { return Dialer{}.Dial(ctx, addr) }

// Dial fails if no dictwire server answers at addr, unless there is a Spool. It opens a session
// to see, unless OnState is set.
func (d Dialer) Dial(ctx context.Context, addr string) (*Client, error) {
	core, err := client.Dial(ctx, addr, d.options())
	if err != nil {
		return nil, err
	}
	return &Client{core}, nil
}

// options converts d for package client.
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

// Send sends one dictionary to a topic, "" for "default", and returns when it is settled, or
// rejected with a *[RejectedError]. v is a [*dict.Dict], a Go map or struct that [dict.From]
// converts, or a [Record]. reply is that of the server's handler, or nil; a broken connection
// loses it. If the client's format can't hold it, the error is a *[fault.Error] with the code
// loss; if it is beyond Limits, a *[codec.SyntaxError]; the record is settled.
//
// After an error that wraps ErrNotSent the record is not sent. If ctx ends later it is sent
// all the same, and Flush reports its outcome. After other errors it may be settled or not.
func (c *Client) Send(ctx context.Context, topic string, v any) (reply *dict.Dict, err error) {
	return c.core.Send(ctx, topic, sent(v))
}

// SendAsync queues a dictionary, and waits only for the window. Flush and OnRejected tell the
// outcome. It keeps no reference to v. Errors wrap ErrNotSent.
func (c *Client) SendAsync(ctx context.Context, topic string, v any) error {
	return c.core.SendAsync(ctx, topic, sent(v))
}

// Flush returns when all records sent before, or in the Spool, are settled; with
// [Dialer.AtSpool], when they are in the Spool. Topics restrict it. Unless OnRejected is set,
// the error joins a *[RejectedError] for each rejection that no Flush or Send has
// returned. Why a topic can't go on is returned once.
func (c *Client) Flush(ctx context.Context, topics ...string) error {
	return c.core.Flush(ctx, topics...)
}

// Shutdown flushes until ctx ends, and closes the client.
func (c *Client) Shutdown(ctx context.Context) error {
	return errors.Join(c.core.Flush(ctx), c.core.Close())
}

// Close ends the client at once. Waiting calls return ErrClientClosed. A Spool gets what was
// sent. The error says how many records are lost.
func (c *Client) Close() error { return c.core.Close() }

// Ping opens and ends a session with the server.
func (c *Client) Ping(ctx context.Context) error { return c.core.Ping(ctx) }

// Stats returns the client's counters, which are not read at one instant.
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
	Producer              string // the name of the producer that numbers the client's records
	Sessions, Broken      int64  // of topics and subscriptions: open now; that broke
	Pending, PendingBytes int64  // records not settled, or with AtSpool not in the spool, and not lost
	Lost                  int64  // records given up: expired, of a topic that can't go on, or lost by the spool
	Topics                map[string]TopicStats
}

// TopicStats count records sent to a topic. Settled includes Rejected.
type TopicStats struct{ Settled, Bytes, Rejected, Pending int64 }

// A State is a change of a session with the server.
type State struct {
	Topics []string // sent to, or read
	Reads  bool     // for a subscription
	Err    error    // the first reason why there is no session; nil: it began
}
