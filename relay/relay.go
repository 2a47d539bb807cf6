// Package relay passes what a server has stored on to another server: in order,
// exactly once, through days without the network.
//
//	s, err := log.Open(ctx, dir, nil)
//	…
//	go (&dictwire.Server{Store: s}).ListenAndServe("127.0.0.1:65432")
//	r := &relay.Relay{Store: s, Addr: "central:65432"}
//	err = r.Run(ctx)
//
// # Guarantees
//
//   - What the server acknowledged to its senders is passed on, topic by topic, in
//     the order in which readers of the store see it. Topics that begin with "_"
//     stay.
//   - Each record is stored once by the upstream server, whatever is killed or cut
//     off how often: the relay's records are numbered by their order in the store,
//     which nothing changes. There is no copy, and so no moment in which a record
//     is in two places or in none.
//   - A record stays in the store until the upstream server has settled it. Then it
//     is trimmed.
//   - What the upstream server rejects is logged and kept whole in _rejected, once.
//   - A relay may pass on to a server that is one, too.
//
// # Limits
//
// Upstream, the producer of all records of a topic is the relay, and their time is
// when they came there; who sent them is known here alone. A handler's rejection
// upstream comes too late for the sender, to whom the record was settled when it
// was durable here. Nothing else may trim the topics: a relay that finds records
// gone, or damaged, stops with that topic and says so. So it does where the
// upstream server has less than it acknowledged, or another record under a number:
// see dictwire.ErrLost and dictwire.ErrConflict. A relay begins with reading once
// what is not passed on yet.
//
// # In the store
//
// The topic _relay is the relay's: its name, and for each topic how far it is
// settled (position, number and CRC-32C), as the notes of producers. See
// docs/decisions.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
)

// A Relay passes the topics of a store on. Its fields must not be changed once it
// runs.
type Relay struct {
	// Store is what the server stores into. One relay runs on it at a time.
	Store store.Store

	// Addr is the upstream server's, as [dictwire.Dial] has it.
	Addr string

	// Dialer is how it is connected to. Its Spool is the relay's, and so is its
	// OnRejected. Its Producer begins the relay's name when the relay is made,
	// and counts no more later; it has at most 32 bytes.
	Dialer dictwire.Dialer

	// Logger is told of what is rejected upstream and of what can't be passed
	// on. Nil means that of Dialer.
	Logger *slog.Logger

	outbox atomic.Pointer[outbox]
}

// Pending returns how many records of the store are not settled upstream, as far
// as they are counted: those that were there when Run began are, once it sends.
func (r *Relay) Pending() uint64 {
	o := r.outbox.Load()
	if o == nil {
		return 0
	}
	return o.pending()
}

// Prepare makes a new store the relay's, as Run does, before there is anything in it.
// The error says where it has been a server's: what it holds would be deleted when it
// is passed on.
func (r *Relay) Prepare(ctx context.Context) error {
	topics, err := r.Store.Topics(ctx)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if len(topics) > 0 && !slices.ContainsFunc(topics, func(t store.TopicStat) bool { return t.Name == own }) {
		return errors.New("relay: it is a server's store, and a relay deletes what it has passed on")
	}
	if _, err := ledger.Open(ctx, r.Store, own, r.Dialer.Producer, time.Now); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Run passes on what the store has and gets, until ctx ends or the store is
// closed: then its error says so.
func (r *Relay) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	logger := r.Logger
	if logger == nil {
		logger = r.Dialer.Logger
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	o, err := open(ctx, r.Store, r.Dialer.Producer, logger)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	r.outbox.Store(o)
	d := r.Dialer
	d.Spool = o
	d.OnRejected = func(e *dictwire.RejectedError) { o.reject(ctx, e) }
	client, err := d.Dial(ctx, r.Addr)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	var keeper sync.WaitGroup
	keeper.Go(func() { o.keep(ctx) })
	err = o.count(ctx, true, o.added)
	cancel()
	keeper.Wait()
	err = errors.Join(err, client.Close(), o.save(context.WithoutCancel(ctx)))
	return fmt.Errorf("relay: %w", err)
}
