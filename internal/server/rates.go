package server

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/option"
)

// rates limit what each principal sends in a second. Beyond the limit, its connections
// are read more slowly. Up to a second's worth may come at once.
type rates struct {
	paced
	records, bytes atomic.Int64 // a second; negative: no limit
}

// set sets the rates: zero means the default, negative no limit.
func (r *rates) set(records, bytes int64) {
	r.records.Store(cmp.Or(records, option.RecordRate))
	r.bytes.Store(cmp.Or(bytes, option.ByteRate))
}

// cost returns how long a principal must wait after a batch until it may send the next
// one, if it does nothing but send.
func (r *rates) cost(b *dialect.WriteBatch) time.Duration {
	size := 0
	for _, record := range b.Records {
		size += len(record)
	}
	return max(share(len(b.Records), r.records.Load()), share(size, r.bytes.Load()))
}

// share returns the time that n takes at a rate.
func share(n int, rate int64) time.Duration {
	if rate < 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// pace charges the writer's principal for a batch, and waits until it may be sent. It
// does not wait if the connection is about to end, or if others wait for the memory that
// the batch occupies; More then waits for longer instead.
func (w *writer) pace(ctx context.Context, b *dialect.WriteBatch, began time.Time) error {
	r, conn := &w.session.s.rates, w.session.conn
	cost := r.cost(b)
	if cost == 0 {
		return nil
	}
	patience := cmp.Or(w.patience, math.MaxInt64)
	w.patience = 0 // a sender that has begun is slowed down by reading less
	wait := r.take(w.session.follower(), cost, patience, began)
	if wait > patience {
		return &fault.Error{
			Code: fault.Unavailable, At: -1, Retry: wait, Err: dialect.ErrTooFast,
			Text: fmt.Sprintf("%s sends more records or bytes a second than it may", w.session.principal),
			Hint: "send less at once; Server.MaxRecordRate and Server.MaxByteRate raise the limits",
		}
	}
	conn.Pause(began.Add(wait + cost - r.atOnce))
	if wait <= 0 {
		return nil
	}
	if err := conn.Flush(); err != nil { // the peer should learn meanwhile what was settled before
		return err
	}
	w.session.worker.Rest()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	due := time.NewTimer(wait)
	defer due.Stop()
	for !conn.Pressed() {
		select {
		case <-due.C:
			return nil
		case <-look.C:
		case <-conn.Ending():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
