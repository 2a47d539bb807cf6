package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// A Producer names a numbered log of records into one topic, which belongs to a
// principal. The zero value means none.
type Producer struct {
	Principal string
	Topic     string // of its records, unless they were rejected
	Name      string
}

// Compare orders producers by principal, topic and name.
func (p Producer) Compare(q Producer) int {
	return cmp.Or(cmp.Compare(p.Principal, q.Principal), cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Name, q.Name))
}

// IsZero reports whether p is the zero value.
func (p Producer) IsZero() bool { return p == Producer{} }

// A KnownProducer is a producer with its next number.
type KnownProducer struct {
	Producer
	Next uint64    // its next number
	Seen time.Time // the last claim or append
}

// Expire is how long a producer is remembered after its last claim or append, unless its
// claim says otherwise.
const Expire = 90 * 24 * time.Hour

// A ClaimRequest is a writer's request to claim a producer.
type ClaimRequest struct {
	// Attempt grows with each connection of the producer. Zero means that attempts are
	// not counted, and the newest connection wins.
	Attempt uint64

	// Acked is the highest number whose acknowledgement the writer received, or zero.
	Acked uint64

	// First is the number of the oldest record that the writer still has. Zero means
	// Acked+1.
	First uint64

	// AcceptLost makes the claim succeed even if the store has lost acknowledged records.
	AcceptLost bool

	// Expire is how long the producer is remembered after its last claim or append. Zero
	// means 90 days.
	Expire time.Duration
}

// A Claim is the exclusive right to write for a producer.
type Claim struct {
	// Epoch must be set in the writer's blocks. No other claim in this store ever has it.
	Epoch uint64

	// Next is the number that the store expects. All lower numbers are durable.
	Next uint64

	// New says that the producer did not exist.
	New bool

	// Lost says that the writer accepted a loss, which should be logged.
	Lost bool

	// Note is the note of the block with record Next−1, or nil.
	Note []byte

	// Fenced ends when another writer claims the producer, on whatever server, or when it
	// is forgotten. It may end late; only ErrFenced is certain. Using it with
	// context.AfterFunc costs no goroutine. See [Producers.Release].
	Fenced context.Context //nolint:containedctx // the claim's life
}

// A Rejection says why a record of a producer was rejected.
type Rejection struct {
	Number uint64
	Code   string
	Reason string // a word of the application, at most MaxReason bytes; often ""
	Text   string // at most MaxText bytes
}

// SaysAs reports whether two rejections differ in the number alone.
func (r Rejection) SaysAs(other Rejection) bool {
	other.Number = r.Number
	return r == other
}

// Limits of a rejection's reason and text, in bytes.
const (
	MaxReason = 64
	MaxText   = 1024
)

// A ProducerState is a driver's state of a producer. The zero value is an unknown
// producer.
type ProducerState struct {
	Epoch   uint64        // of the last claim
	Attempt uint64        // the highest of all claims
	Next    uint64        // the next number
	GivenUp uint64        // some records below this number were never stored: claims accepted a loss
	Note    []byte        // of the block with number Next−1; never changed in place
	Seen    time.Time     // the last claim or append
	Expire  time.Duration // how long the state is kept after Seen
}

// Known reports whether the producer is known at a time.
func (s ProducerState) Known(now time.Time) bool {
	return s.Next > 0 && now.Before(s.Seen.Add(s.Expire))
}

// Claim returns the state after a claim, which gets the given epoch, and the answer to
// the writer. These are the rules:
//
//   - ErrStale if the attempt is lower than an earlier one. An equal or higher attempt, or
//     none, wins.
//   - For a known producer, the answer is the store's next number. It is a *LostError if
//     Acked is at or above that number, or First above it.
//   - For an unknown producer, the answer is First. It is a *LostError if Acked is not zero.
//   - With AcceptLost, the answer is the larger of First and the store's next number. Numbers
//     that this skips are given up, as are those below the First of an unknown producer.
//   - It is also a *LostError if the writer has unacknowledged records below a number that was
//     given up: the answer would wrongly settle them.
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

// A Numbering is the state of a producer during one append.
type Numbering struct {
	Producer Producer
	Before   ProducerState // the durable state
	After    ProducerState // including the blocks to be stored

	failed error // why none of its blocks can be stored
}

// Decide applies the rules of [Log.Append] to the blocks of an append. Blocks whose
// result then has no error are to be stored. The caller sets the results of blocks that
// fail [Block.Check], and passes the producers of the others in all, in the order of
// [Producer.Compare]. Decide sets their After.
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
		// The earlier blocks of this append are not stored either.
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

// append returns the state after a block of the producer, or ErrFenced, ErrDuplicate or a
// *SequenceError if it can't be stored.
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
