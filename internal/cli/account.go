package cli

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// An account counts the records that are sent, and their outcomes.
type account struct {
	all      atomic.Int64 // the total, or 0 if unknown
	sent     atomic.Int64
	rejected atomic.Int64

	counting  sync.Mutex
	unsettled func() int64 // how many are not settled; guarded by counting
	gone      func() int64 // how many never will be, in addition to those; nil: none; guarded by counting
}

// A tally is the state of an account at one moment.
type tally struct{ all, sent, stored, rejected, left, lost int64 }

// count sets the functions that return how many of the sent records are not settled, and
// how many a spool can't give back.
func (a *account) count(left, lost func() int64) {
	a.counting.Lock()
	defer a.counting.Unlock()
	a.unsettled, a.gone = left, lost
}

func (a *account) tally() tally {
	a.counting.Lock()
	defer a.counting.Unlock()
	t := tally{all: a.all.Load(), rejected: a.rejected.Load()}
	if a.unsettled != nil {
		t.left = a.unsettled()
	}
	if a.gone != nil {
		t.lost = a.gone()
	}
	t.sent = a.sent.Load()
	t.left = min(t.left, t.sent)
	t.stored = max(t.sent-t.left-t.lost-t.rejected, 0)
	return t
}

// state returns the progress so far.
func (s *send) state() state {
	t := s.tally()
	st := state{text: fmt.Sprintf("%s sent, %d stored", count(t.sent, "dictionary", "dictionaries"), t.stored), count: float64(t.stored), share: -1}
	switch {
	case s.reading.total > 0 && t.sent > 0: // what was read, without records in flight
		st.share = float64(s.reading.bytes.Load()) / float64(s.reading.total) * float64(t.sent-t.left) / float64(t.sent)
	case t.all > 0:
		st.share = float64(t.sent-t.left) / float64(t.all)
	}
	return st
}

// end closes what was used, prints the summary, and returns the error of the command.
func (s *send) end(err error) error {
	s.mu.Lock()
	client, failed := s.client, s.failed
	s.mu.Unlock()
	t := s.tally()
	if client != nil {
		_ = client.Close() // unsettled records are in the summary
	}
	if s.producer != "" { // settled records are noted when the client ends
		t = s.tally()
	}
	if s.closing != nil {
		err = errors.Join(err, s.closing())
	}
	var exit exitError
	if err != nil && !errors.As(err, &exit) {
		tell(s.stderr, instead(err, "--format cbor"))
		err = exitError(exitCode(err))
	}
	if client != nil || s.bare {
		s.summary(t)
	}
	if err == nil && failed {
		err = exitError(exitFailure)
	}
	return err
}

// summary prints what became of the sent records.
func (s *send) summary(t tally) {
	switch {
	case s.quiet && t.left == 0 && t.lost == 0:
	case s.bare:
		say(s.stderr, "%d sent, %d refused; over a plain socket nothing is acknowledged", t.sent, t.rejected)
	default:
		text := fmt.Sprintf("%d stored, %d rejected, %d not settled", t.stored, t.rejected, t.left)
		if t.lost > 0 {
			text += fmt.Sprintf(", %d lost", t.lost)
		}
		say(s.stderr, "%s", text)
		if t.left > 0 {
			hint(s.stderr, s.resume)
		}
	}
}
