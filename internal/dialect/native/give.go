package native

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A giver delivers the batches of a reading in a goroutine of its own. While a reading that
// follows waits for records, the giver rests, without a goroutine. It wakes up for new
// records, and to say that the session is alive.
type giver struct {
	s       *reading
	next    store.Position // after the last batch
	since   time.Time      // when the last batch was delivered, or delivering began
	unalert func()         // not nil: the store alerts the giver
	busy    bool           // the giver never rests
	given   chan error     // of capacity 1: receives the result

	mu     sync.Mutex
	works  bool        // there is a goroutine, or there was one that has ended for good; guarded by mu
	again  bool        // wake was called meanwhile; guarded by mu
	closed bool        // guarded by mu
	timer  *time.Timer // wakes a giver that rests; nil until it does; guarded by mu
}

// wake makes the giver look for batches.
func (g *giver) wake(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
	case g.works:
		g.again = true
	default:
		g.works = true
		go g.work(ctx)
	}
}

// close waits until the giver has ended, whose context must have ended unless there is a
// result, and returns the result. It may be called again.
func (g *giver) close() error {
	g.mu.Lock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if !g.works {
		g.works = true
		g.given <- nil
	}
	g.mu.Unlock()
	err := <-g.given
	if g.unalert != nil {
		g.unalert()
		g.unalert = nil
	}
	g.given <- err
	return err
}

// work delivers batches until the giver rests or has ended.
func (g *giver) work(ctx context.Context) {
	for {
		rests, err := g.give(ctx)
		if !rests {
			g.s.gave(err)
			g.given <- err
			return
		}
		if g.rest(ctx) {
			return
		}
	}
}

// rest ends the work of the giver. It reports false if it was woken meanwhile.
func (g *giver) rest(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		g.given <- nil
		return true
	case g.again:
		g.again = false
		return false
	case g.timer == nil:
		g.timer = time.AfterFunc(wire.BeatEvery, func() { g.wake(ctx) })
	default:
		g.timer.Reset(wire.BeatEvery)
	}
	g.works = false
	return true
}

// give delivers batches until there are no more, or none for a while: then the giver may
// rest. A panic ends the connection, not the server.
func (g *giver) give(ctx context.Context) (rests bool, err error) {
	defer dialect.Recover(&err, "internal error")
	say := true
	for {
		found, waits, err := g.batches(ctx, say)
		say = true
		switch {
		case err != nil:
			return false, err
		case g.unalert != nil && !found:
			return true, nil
		case g.unalert != nil:
			g.unalert()
			g.unalert = nil
		case waits:
			g.unalert = g.s.r.Alert(func() { g.wake(ctx) })
			g.busy = g.unalert == nil
			say = false // only look for what came before the alert
		default:
			c := g.s.c
			return false, errors.Join(c.Say(wire.End{Position: g.s.tell(g.next)}), c.Flush())
		}
	}
}

// batches delivers batches until there are no more, or until a reading that follows waits
// for more. say means that the first progress is said even if there is none, as later ones
// are. found reports whether there were batches, other than progress.
func (g *giver) batches(ctx context.Context, say bool) (found, waits bool, err error) {
	s := g.s
	for b, err := range s.r.Batches(ctx) {
		var (
			damage  *store.DamageError
			trimmed *store.TrimmedError
		)
		isProgress := b.Block == nil && err == nil
		switch {
		case errors.As(err, &damage):
			err = s.c.Say(wire.Damaged{
				From: damage.From.String(), To: damage.To.String(), Topic: damage.Topic, Text: damage.Err.Error(),
				Next: s.tell(b.Next),
			})
		case errors.As(err, &trimmed):
			err = s.c.Say(wire.Skipped{
				From: trimmed.From.String(), To: trimmed.To.String(), Topic: trimmed.Topic, Next: s.tell(b.Next),
			})
		case err != nil:
			err = s.explain(err)
		case b.Block != nil:
			err = s.part(b)
		case say || b.Next != g.next:
			err = s.c.Say(wire.Progress{Next: s.tell(b.Next)})
		}
		if b.Block == nil && err == nil {
			err = s.c.Flush()
		}
		if err != nil {
			return found, false, err
		}
		say = true
		if !isProgress {
			found, g.since = true, time.Now()
		}
		// A new reader doesn't rest before its time: each Read takes a turn, and a peer's
		// first turns come sooner.
		waits = s.follows && isProgress && b.Next == g.next && !g.busy && time.Since(g.since) >= wire.BeatEvery
		if g.next = b.Next; waits && g.unalert == nil {
			return found, true, nil
		}
	}
	return found, false, nil
}
