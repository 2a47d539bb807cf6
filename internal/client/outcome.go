package client

import (
	"cmp"
	"slices"

	"github.com/dictwire/dictwire/dict"
)

// An outcome is what the server says about a settled record: a reply, a rejection, or neither.
type outcome struct {
	reply    *dict.Dict
	err      error
	rejected bool // err is what Options.Rejected made
}

// reports are the callbacks and flushes that follow, without sender.mu, from what is settled.
type reports struct {
	outcomes []numbered // that no Send waits for
	flushed  []*waiter
}

type numbered struct {
	number uint64
	outcome
}

// deliver ends the waits for settled records. The caller holds mu.
func (s *sender) deliver() (r reports) {
	limit := s.acked
	if s.spooling { // waiters of later records have no numbers yet
		limit = min(limit, s.known-1)
	}
	n := 0
	for _, w := range s.waiters {
		if w.number > limit {
			break
		}
		n++
		if w.flush {
			r.flushed = append(r.flushed, w)
			continue
		}
		o := s.outcomes[w.number]
		delete(s.outcomes, w.number)
		w.end(o)
	}
	s.waiters = slices.Delete(s.waiters, 0, n)
	for number, o := range s.outcomes {
		if number <= limit {
			r.outcomes = append(r.outcomes, numbered{number, o})
			delete(s.outcomes, number)
		}
	}
	slices.SortFunc(r.outcomes, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	s.telling = len(r.outcomes) > 0
	return r
}

// report runs callbacks, then ends flushes, until nothing new is settled meanwhile. The caller
// holds reporting, and not mu.
func (s *sender) report(r reports) {
	for len(r.outcomes) > 0 || len(r.flushed) > 0 {
		for _, o := range r.outcomes {
			s.tell(o)
		}
		for _, w := range r.flushed {
			w.end(outcome{})
		}
		s.mu.Lock()
		r = s.deliver()
		s.mu.Unlock()
	}
}

// tell reports an outcome that no Send waits for to its callback, or to the next Flush. An
// unreadable reply counts only if OnReply is set.
func (s *sender) tell(o numbered) {
	switch {
	case o.rejected && s.c.o.OnRejected != nil:
		s.c.o.OnRejected(o.err)
	case o.rejected, o.err != nil && s.c.o.OnReply != nil:
		s.c.failed(s.topic, o.err)
	case s.c.o.OnReply != nil:
		s.c.o.OnReply(s.topic, o.number, o.reply)
	}
}

// wants reports whether a call or a callback wants the reply to a record.
func (s *sender) wants(number uint64) bool {
	if s.c.o.OnReply != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spooling && number >= s.known {
		return true
	}
	i, ok := slices.BinarySearchFunc(s.waiters, number, func(w *waiter, n uint64) int {
		return cmp.Compare(w.number, n)
	})
	return ok && !s.waiters[i].flush // of one number, a Send comes first
}

// replied stores the reply to a record until it is settled.
func (s *sender) replied(number uint64, o outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number <= s.acked || number >= s.sent {
		return stop("%w: a reply to record %d, where %d to %d are in flight (%v)", ErrProtocol, number, s.acked+1, s.sent-1, s)
	}
	s.outcomes[number] = o
	return nil
}
