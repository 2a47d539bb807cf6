package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/dictwire/dictwire/store"
)

// The outcomes of a publication that was not acknowledged.
var (
	// errConflict: the check failed. Nothing was stored, and nothing will be.
	errConflict = errors.New("another message was stored first")

	// errNotStored: nothing was stored, and nothing will be. A retry may succeed.
	errNotStored = errors.New("not stored")

	// errBusy: the same, because a message that the check is about is in progress.
	errBusy = fmt.Errorf("%w: another message is in progress", errNotStored)

	// errUnknown: the message may have been stored, or may be stored later.
	errUnknown = errors.New("not acknowledged")
)

// patience is how long an operation retries until it knows the outcome.
const patience = 5 * time.Second

// A broker stores messages by subject, in one total order. It has what the protocol of
// producers and cursors needs of a stream. The tests have a broker that misbehaves.
type broker interface {
	// last returns the last message of a subject, or an earlier one if the replica that
	// answers is behind. The sequence is 0 if there is none.
	last(ctx context.Context, subject string) (stored, error)

	// next returns the first message of a subject from a sequence on. Its replica may be
	// behind, too.
	next(ctx context.Context, subject string, from uint64) (stored, error)

	// publish stores messages one after another, or none of them, on condition that the
	// last message of c.subject has the sequence c.seq. It returns the sequence of the last
	// message. An error wraps errConflict, errNotStored or errUnknown, or is one that a
	// retry can't help.
	publish(ctx context.Context, c *check, messages ...message) (seq uint64, err error)

	// erase asks for the deletion of a message. It may happen at any time, or never.
	erase(seq uint64)
}

// A message is to be published.
type message struct {
	subject string
	mark    string
	id      string // by which the broker recognizes a duplicate, or ""
	rollup  bool   // replaces all earlier messages of the subject
	ttl     time.Duration
	data    []byte
}

// A check is a condition of a publication.
type check struct {
	subject string
	seq     uint64 // of the subject's last message, 0 for none
}

// A stored message has been read from the stream.
type stored struct {
	subject string
	seq     uint64
	mark    string
	time    time.Time
	data    []byte
}

// A home is the last message of a producer's subject.
type home struct {
	subject string
	seq     uint64
	state   state
	alone   bool // it has no block
}

// readHome reads a producer's home from a replica.
func readHome(ctx context.Context, b broker, subject string) (home, error) {
	h := home{subject: subject}
	m, err := b.last(ctx, subject)
	if err != nil || m.seq == 0 {
		return h, err
	}
	at, err := parseMark(m.mark, m.seq)
	if err == nil && at.state == nil {
		err = errMark
	}
	if err != nil {
		return h, fmt.Errorf("message %d on %s: %w", m.seq, subject, err)
	}
	h.seq, h.state, h.alone = m.seq, *at.state, at.kind == kindState
	return h, nil
}

// homes yields a producer's home as replicas have it, once for each try.
func homes(ctx context.Context, tries *pace, b broker, subject string) iter.Seq[home] {
	return read(ctx, tries, func() (home, error) { return readHome(ctx, b, subject) })
}

// confirm reports whether a subject's last message has the sequence c.seq. It publishes a
// barrier under that condition, which only a leader with a quorum can store.
func confirm(ctx context.Context, b broker, barrier string, c check) (bool, error) {
	switch _, err := b.publish(ctx, &c, message{subject: barrier, rollup: true}); {
	case err == nil:
		return true, nil
	case errors.Is(err, errConflict):
		return false, nil
	default:
		return false, err
	}
}

// claimHome claims a producer. It returns the home with the new claim, and the claim for
// the writer. If the claim is refused, the broker has confirmed the state that it was
// refused for.
func claimHome(ctx context.Context, b broker, subject, barrier string, r store.ClaimRequest, now time.Time) (home, store.Claim, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	nonce := rand.Uint64()
	var made store.Claim // returned if the claim turns out to be stored
	tries := pace{}
	for h := range homes(ctx, &tries, b, subject) {
		if h.seq > 0 && h.state.claim == nonce {
			made.Epoch = h.state.Epoch
			return h, made, nil
		}
		after, claim, err := h.state.Claim(r, 0, now)
		if err != nil {
			ok, failed := confirm(ctx, b, barrier, check{subject, h.seq})
			if ok {
				return h, claim, err
			}
			tries.failed(failed)
			continue
		}
		next := state{ProducerState: after, claim: nonce, since: h.state.since}
		if claim.New {
			next.since = 0
		}
		made = claim
		seq, err := b.publish(ctx, &check{subject, h.seq}, message{subject: subject, mark: mark{kind: kindState, state: &next}.String()})
		if err == nil {
			next.Epoch, made.Epoch = seq, seq
			if next.since == 0 {
				next.since = seq
			}
			if h.alone { // otherwise repeated claims would fill the stream
				b.erase(h.seq)
			}
			return home{subject: subject, seq: seq, state: next, alone: true}, made, nil
		}
		if !tries.again(err) {
			return h, claim, err
		}
	}
	return home{}, store.Claim{}, tries.err(ctx)
}

// appendHome publishes messages of a producer, whose state after them is next. at is the
// index of the message on the home subject that carries it. It returns the sequence of the
// first message. The error is store.ErrFenced; errMoved if the producer's state is not the
// one in h; or wraps store.ErrUnavailable. In the first two cases h is set to the state
// that was found.
func appendHome(ctx context.Context, b broker, h *home, next state, messages []message, at int) (first uint64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	begin := h.seq // the last message before this append
	tries := pace{}
	for tries.wait(ctx) {
		seq, err := b.publish(ctx, &check{h.subject, h.seq}, messages...)
		if err == nil {
			first = seq - uint64(len(messages)-1)
			if h.alone { // otherwise a producer whose records are all rejected would fill the stream
				b.erase(h.seq)
			}
			*h = home{subject: h.subject, seq: first + uint64(at), state: next, alone: len(messages[at].data) == 0}
			return first, nil
		}
		if !tries.again(err) {
			return 0, err
		}
		if errors.Is(err, errNotStored) {
			continue
		}
		for now := range homes(ctx, &tries, b, h.subject) {
			if now.seq < h.seq { // that replica is behind
				tries.failed(nil)
				continue
			}
			if now.seq == h.seq { // nothing was stored, or not yet: the check makes a retry safe
				break
			}
			switch {
			case now.state.Epoch != h.state.Epoch:
				*h = now
				return 0, store.ErrFenced
			case now.state.Next == h.state.Next:
				*h = now
			case now.state.Next == next.Next:
				seq, err := standsAt(ctx, b, h.subject, begin+1, now.seq, next.Next)
				if err != nil || seq == 0 {
					tries.failed(err)
					continue
				}
				*h = now
				return seq - uint64(at), nil
			default:
				*h = now
				return 0, errMoved
			}
			break
		}
	}
	return 0, tries.err(ctx)
}

// standsAt returns the sequence of the first message between from and to after which the
// producer's next number is next. It returns 0 if the answering replica has none.
func standsAt(ctx context.Context, b broker, subject string, from, to, next uint64) (uint64, error) {
	for {
		m, err := b.next(ctx, subject, from)
		if err != nil || m.seq == 0 || m.seq > to {
			return 0, err
		}
		if at, err := parseMark(m.mark, m.seq); err == nil && at.state != nil && at.state.Next == next {
			return m.seq, nil
		}
		from = m.seq + 1
	}
}

// errMoved means that a producer's next number has changed under its own claim: messages of
// an append that was given up were stored after all.
var errMoved = errors.New("the producer has moved on")

// copyState stores a copy of a producer's state if its last message is before below, so
// that messages before that can be deleted. An expired state is not copied.
func copyState(ctx context.Context, b broker, subject string, below uint64, now time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	tries := pace{}
	for h := range homes(ctx, &tries, b, subject) {
		if h.seq >= below || h.seq == 0 || !h.state.Known(now) {
			return nil
		}
		_, err := b.publish(ctx, &check{subject, h.seq}, message{subject: subject, mark: mark{kind: kindState, state: &h.state}.String()})
		if err == nil || !tries.again(err) {
			return err
		}
	}
	return tries.err(ctx)
}

// forgetHome makes a producer unknown and fences its writer. It returns the sequence of the
// message that it stored.
func forgetHome(ctx context.Context, b broker, subject string) (seq uint64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	nonce := rand.Uint64()
	tries := pace{}
	for h := range homes(ctx, &tries, b, subject) {
		if h.seq > 0 && h.state.claim == nonce {
			return h.seq, nil
		}
		gone := &state{claim: nonce}
		seq, err = b.publish(ctx, &check{subject, h.seq}, message{subject: subject, mark: mark{kind: kindState, state: gone}.String()})
		if err == nil || !tries.again(err) {
			return seq, err
		}
	}
	return 0, tries.err(ctx)
}

var errPatience = errors.New("the broker does not answer")

// A pace retries with increasing delays until a context ends.
type pace struct {
	last  error
	tried int
}

// wait waits before the next try. It reports whether there is one.
func (p *pace) wait(ctx context.Context) bool {
	p.tried++
	if p.tried == 1 {
		return ctx.Err() == nil
	}
	most := min(time.Millisecond<<min(p.tried, 10), 200*time.Millisecond)
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// read yields the result of get once per try, until the loop over it ends. If get fails,
// read waits and tries again.
func read[T any](ctx context.Context, tries *pace, get func() (T, error)) iter.Seq[T] {
	return func(yield func(T) bool) {
		for tries.wait(ctx) {
			got, err := get()
			if err != nil {
				tries.failed(err)
				continue
			}
			if !yield(got) {
				return
			}
		}
	}
}

// failed records why a try failed; nil means for no known reason.
func (p *pace) failed(err error) {
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		p.last = err
	}
}

// again records why a publication failed, and reports whether a retry may help.
func (p *pace) again(err error) bool {
	p.failed(err)
	return errors.Is(err, errConflict) || errors.Is(err, errNotStored) || errors.Is(err, errUnknown)
}

// err returns why all tries failed.
func (p *pace) err(ctx context.Context) error {
	cause := context.Cause(ctx)
	switch {
	case cause != nil && cause != errPatience:
		return cause
	case p.last != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, p.last)
	default:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errPatience)
	}
}
