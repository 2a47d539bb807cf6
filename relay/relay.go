// Package relay sends the records that a server has stored to another server: in order, each
// exactly once, even after days without a network.
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
//   - The upstream server stores each record once, however often processes are killed
//     and connections cut: records are numbered by their order in the store, which
//     never changes. The relay makes no copy that could get out of step.
//   - A record stays in the store until the upstream server has settled it. Then it
//     is trimmed.
//   - What the upstream server rejects is logged and kept whole in _rejected, once.
//   - A relay may pass on to a server that is one, too.
//
// # Limits
//
// For the upstream server, the relay is the producer of all records, and their time is
// that of their arrival there; only this server knows their senders. A rejection by the
// upstream server's handler comes too late for the sender, to whom this server has
// acknowledged the record. Nothing else may trim the topics: if records are gone or
// damaged, the relay stops with that topic and logs why. It does the same if the
// upstream server has less than it acknowledged, or another record under a number: see
// dictwire.ErrLost and dictwire.ErrConflict. When it starts, a relay reads all records
// that are not passed on yet, to count them.
//
// # In the store
//
// The topic _relay holds the relay's name and, for each topic, the settled position, number
// and CRC-32C, as the notes of producers. See docs/decisions.
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

// A Relay sends the records of a store to another server. Its fields must not be changed once
// it runs.
type Relay struct {
	// Store is the server's store. Only one relay may run on it at a time.
	Store store.Store

	// Addr is the address of the upstream server, as in [dictwire.Dial].
	Addr string

	// Dialer has the options of the connection. The relay sets Spool and OnRejected. Producer is
	// the prefix of the relay's name, at most 32 bytes; it is used only when the relay is
	// created.
	Dialer dictwire.Dialer

	// Logger gets rejections by the upstream server, and failures. Nil means that of Dialer.
	Logger *slog.Logger

	outbox atomic.Pointer[outbox]
}

// Pending returns the number of records that the upstream server has not settled, as far as they
// are counted. When Run begins to send, it has counted those that were in the store before.
func (r *Relay) Pending() uint64 {
	o := r.outbox.Load()
	if o == nil {
		return 0
	}
	return o.pending()
}

// Prepare marks an empty store as the relay's, as Run does. It refuses a store with records of a
// server that was not a relay, since they would be deleted after they are passed on.
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

// Run sends all records that are in the store or are added, until ctx ends or the store is
// closed, which is its error.
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
