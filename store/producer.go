package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// A Producer is one numbered log of records into one topic, in the name space
// of a principal. The zero value is none.
type Producer struct {
	Principal string
	Topic     string // in which its records lie, or would, had they not been rejected
	Name      string
}

// Compare orders producers by principal, topic and name.
func (p Producer) Compare(q Producer) int {
	return cmp.Or(cmp.Compare(p.Principal, q.Principal), cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Name, q.Name))
}

// IsZero reports whether p is none.
func (p Producer) IsZero() bool { return p == Producer{} }

// A KnownProducer is a producer and where it stands.
type KnownProducer struct {
	Producer
	Next uint64    // the number that it comes to next
	Seen time.Time // the last claim or append
}

// Expire is how long a producer is known after its last claim or append,
// unless its claim says otherwise.
const Expire = 90 * 24 * time.Hour

// A ClaimRequest is what a writer says of the producer that it claims.
type ClaimRequest struct {
	// Attempt grows with each connection of the producer. Zero means that
	// nobody counts: the newest connection wins.
	Attempt uint64

	// Acked is the highest number whose acknowledgement the writer saw, or zero.
	Acked uint64

	// First is the oldest record that the writer holds. Zero means Acked+1.
	First uint64

	// AcceptLost goes on where the store has less than it promised.
	AcceptLost bool

	// Expire is how long the producer is known after its last claim or append.
	// Zero means 90 days.
	Expire time.Duration
}

// A Claim is the right to be a producer's only writer.
type Claim struct {
	// Epoch is what the writer's blocks carry. It is never used for another
	// claim of any producer in this store.
	Epoch uint64

	// Next is the number that the store wants. What lies below is durable.
	Next uint64

	// New says that the store did not know the producer.
	New bool

	// Lost says that the writer accepted a loss, which deserves a line in the
	// log.
	Lost bool

	// Note is the note of the block that holds record Next−1, or nil.
	Note []byte

	// Fenced is done when the claim is lost to another one, wherever that was
	// made, or the producer is forgotten. It may be done late: what counts is
	// ErrFenced. Its Done is a channel; context.AfterFunc with it costs no
	// goroutine. See [Producers.Release].
	Fenced context.Context //nolint:containedctx // the claim's life
}

// A Rejection says why a record of a producer was rejected.
type Rejection struct {
	Number uint64
	Code   string
	Reason string // the application's own word, at most MaxReason bytes; often ""
	Text   string // at most MaxText bytes
}

// SaysAs reports whether both say the same, of whatever records.
func (r Rejection) SaysAs(other Rejection) bool {
	other.Number = r.Number
	return r == other
}

// How long a rejection's reason and text may be, in bytes.
const (
	MaxReason = 64
	MaxText   = 1024
)

// A ProducerState is what a driver keeps of a producer. The zero value is a
// producer that is not known.
type ProducerState struct {
	Epoch   uint64        // of the last claim
	Attempt uint64        // the highest of all claims
	Next    uint64        // the number that it comes to next
	GivenUp uint64        // not all below this number were stored: claims went on behind them
	Note    []byte        // of the block that holds Next−1; never changed in place
	Seen    time.Time     // the last claim or append
	Expire  time.Duration // how long it is known after Seen
}

// Known reports whether the producer is known at a time.
func (s ProducerState) Known(now time.Time) bool {
	return s.Next > 0 && now.Before(s.Seen.Add(s.Expire))
}

// Claim returns the state behind a claim that gets the given epoch, and what
// the writer is answered. These are the rules:
//
//   - A lower attempt than one before is ErrStale. An equal or a higher one,
//     or none, wins.
//   - Where the producer is known, the store's next number is the answer. It
//     is a *LostError where Acked is at or above it, or First above it.
//   - Where it is not known, First is the answer. It is a *LostError where
//     Acked is not zero.
//   - AcceptLost goes on at the larger of First and the next number. Numbers
//     that it goes on behind are given up, as are those below the First of a
//     producer that is not known.
//   - It is a *LostError, too, where the writer holds records below a number
//     that was given up whose acknowledgement it did not see: the answer would
//     settle them.
func (s ProducerState) Claim(r ClaimRequest, epoch uint64, now time.Time) (ProducerState, Claim, error) {
	known := s.Known(now)
	if !known {
		s = ProducerState{Next: 1}
	}
	if r.Attempt != 0 && r.Attempt < s.Attempt {
		return ProducerState{}, Claim{}, ErrStale
	}
	first := r.First
	if first == 0 {
		first = r.Acked + 1
	}
	loss := &LostError{Next: s.Next}
	lost := r.Acked > 0
	if known {
		lost = r.Acked >= s.Next || first > s.Next
		if max(first, r.Acked+1) < s.GivenUp {
			lost, loss.GivenUp = true, s.GivenUp
		}
	}
	if lost && !r.AcceptLost {
		return ProducerState{}, Claim{}, loss
	}
	if next := max(s.Next, first); next != s.Next {
		s.Next, s.Note, s.GivenUp = next, nil, next
	}
	s.Epoch, s.Attempt = epoch, max(s.Attempt, r.Attempt)
	s.Seen, s.Expire = now, r.Expire
	if s.Expire == 0 {
		s.Expire = Expire
	}
	return s, Claim{Epoch: epoch, Next: s.Next, New: !known, Lost: lost, Note: s.Note}, nil
}

// A Numbering is a producer in the course of one append.
type Numbering struct {
	Producer Producer
	Before   ProducerState // what is durable
	After    ProducerState // with the blocks that are to be stored

	failed error // why none of them is
}

// Decide says what becomes of the blocks of an append, under the rules of
// [Log.Append]: those whose result has no error are to be stored. The caller has
// put what [Block.Check] says into the results, and the producers of the other
// blocks into all, in the order of [Producer.Compare]; Decide sets their After.
func Decide(blocks []*Block, results []Result, all []Numbering, now time.Time) {
	find := func(b *Block) *Numbering {
		i, ok := slices.BinarySearchFunc(all, b.Producer, func(n Numbering, p Producer) int { return n.Producer.Compare(p) })
		if !ok || b.Producer.IsZero() {
			return nil
		}
		return &all[i]
	}
	for i := range all {
		all[i].After, all[i].failed = all[i].Before, nil
	}
	failed := false
	for i, b := range blocks {
		n := find(b)
		if n == nil {
			continue
		}
		if results[i].Err == nil {
			n.After, results[i].Err = n.After.append(b, now)
		}
		if err := results[i].Err; n.failed == nil && err != nil && !errors.Is(err, ErrDuplicate) {
			n.failed, failed = err, true
		}
	}
	if !failed {
		return
	}
	for i, b := range blocks {
		n := find(b)
		if n == nil || n.failed == nil {
			continue
		}
		n.After = n.Before
		// What this append was to store before the block counts no more.
		switch _, err := n.Before.append(b, now); {
		case results[i].Err != nil && !errors.Is(results[i].Err, ErrDuplicate) && !errors.As(results[i].Err, new(*SequenceError)):
		case errors.Is(err, ErrDuplicate):
			results[i].Err = err
		case errors.As(n.failed, new(*SequenceError)):
			results[i].Err = &SequenceError{Want: n.Before.Next}
		default:
			results[i].Err = n.failed
		}
	}
}

// append returns the state after a block of the producer, or why the block can't
// be stored: ErrFenced, ErrDuplicate or a *SequenceError.
func (s ProducerState) append(b *Block, now time.Time) (ProducerState, error) {
	end := b.First + uint64(len(b.Lengths))
	switch {
	case s.Next == 0 || b.Epoch != s.Epoch:
		return s, ErrFenced
	case end <= s.Next:
		return s, ErrDuplicate
	case b.First != s.Next:
		return s, &SequenceError{Want: s.Next}
	}
	s.Next, s.Seen = end, now
	s.Note = append([]byte(nil), b.Note...)
	return s, nil
}
