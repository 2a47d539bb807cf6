package nats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/store"
)

// TestModel runs the protocol of producers, in virtual time, against a broker that
// misbehaves: replicas are behind, answers get lost, publications are stored long after the
// client gave up on them, and leaders refuse what they could store. Producers move from
// server to server, and messages of an old session are still in flight when the next one
// claims. Every acknowledged record must be there once and in order, and every refusal must
// be right.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		if err := simulate(t, seed, ""); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestModelMutants breaks the protocol in several ways. The model must find each.
func TestModelMutants(t *testing.T) {
	for _, mutant := range []string{
		"unchecked",       // an append is stored whatever came before
		"unchecked claim", // so is a claim
		"unconfirmed",     // a refusal is not confirmed
		"unknown is good", // what is not acknowledged counts as stored
		"kept number",     // a message repeats the producer's old number
		"kept epoch",      // a claim repeats the old epoch
		"torn",            // only a part of a batch is stored
		"copied late",     // a trim copies a state without checking that it is the last
	} {
		found := false
		for seed := uint64(0); seed < 400 && !found; seed++ {
			err := simulate(t, seed, mutant)
			found = err != nil
		}
		if !found {
			t.Errorf("%q is not found", mutant)
		}
	}
}

// A sea is a broker that misbehaves.
type sea struct {
	mutant string

	mu     sync.Mutex
	rng    *rand.Rand
	calm   bool
	log    []stored // by sequence
	faults []string
	late   sync.WaitGroup
}

func (s *sea) fault(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, a...))
}

func (s *sea) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calm {
		return n - 1
	}
	return s.rng.IntN(n)
}

func (s *sea) pause(ctx context.Context, most time.Duration) error {
	s.mu.Lock()
	d := time.Duration(s.rng.Int64N(int64(most)))
	s.mu.Unlock()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return errUnknown
	}
}

// replica returns how much of the log the replica that answers has.
func (s *sea) replica() int {
	behind := 0
	if s.roll(4) == 0 {
		behind = s.roll(12)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calm {
		behind = 0
	}
	return max(len(s.log)-behind, 0)
}

func (s *sea) last(ctx context.Context, subject string) (m stored, err error) {
	if err := s.pause(ctx, 3*time.Millisecond); err != nil {
		return m, err
	}
	if s.roll(20) == 0 {
		return m, errNotStored
	}
	n := s.replica()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := n - 1; i >= 0; i-- {
		if s.log[i].subject == subject {
			return s.log[i], nil
		}
	}
	return m, nil
}

func (s *sea) next(ctx context.Context, subject string, from uint64) (m stored, err error) {
	if err := s.pause(ctx, 3*time.Millisecond); err != nil {
		return m, err
	}
	n := s.replica()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.log[:n] {
		if m.subject == subject && m.seq >= from {
			return m, nil
		}
	}
	return m, nil
}

// lastOf returns the last message of a subject. s.mu is held.
func (s *sea) lastOf(subject string) (m stored) {
	for _, x := range s.log {
		if x.subject == subject {
			m = x
		}
	}
	return m
}

// apply stores messages as a leader does.
func (s *sea) apply(c *check, messages []message) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	isClaim, isBlock, isCopy := false, false, false
	for _, m := range messages {
		at, err := parseMark(m.mark, 0)
		isBlock = isBlock || err == nil && at.kind == kindBlock
		isClaim = isClaim || err == nil && at.kind == kindState && at.state.Epoch == 0
		isCopy = isCopy || err == nil && at.kind == kindState && at.state.Epoch != 0 && len(messages) == 1
	}
	unchecked := s.mutant == "unchecked" && isBlock || s.mutant == "unchecked claim" && isClaim || s.mutant == "copied late" && isCopy
	before := s.lastOf(c.subject)
	if before.seq != c.seq && !unchecked {
		return 0, errConflict
	}
	for i, m := range messages {
		if s.mutant == "torn" && i > 0 {
			break
		}
		value := m.mark
		if at, err := parseMark(value, 0); err == nil && at.state != nil {
			old, err := parseMark(before.mark, before.seq)
			switch {
			case err != nil || old.state == nil:
			case s.mutant == "kept number" && isBlock:
				at.state.Next = old.state.Next
			case s.mutant == "kept epoch" && isClaim:
				at.state.Epoch = old.state.Epoch
			}
			value = at.String()
		}
		s.log = append(s.log, stored{subject: m.subject, seq: uint64(len(s.log) + 1), mark: value, data: m.data})
	}
	return uint64(len(s.log)), nil
}

func (s *sea) publish(ctx context.Context, c *check, messages ...message) (seq uint64, err error) {
	if err := s.pause(ctx, 5*time.Millisecond); err != nil {
		return 0, errNotStored
	}
	if messages[0].subject == barrier && s.mutant == "unconfirmed" {
		return 1, nil
	}
	lost := func() error {
		<-time.After(time.Duration(1+s.roll(2000)) * time.Millisecond)
		if s.mutant == "unknown is good" {
			return nil
		}
		return errUnknown
	}
	switch s.roll(20) {
	case 0: // the request gets lost
		return 1, lost()
	case 1, 2: // the answer gets lost
		_, _ = s.apply(c, messages)
		return 1, lost()
	case 3, 4: // stored late
		s.late.Go(func() {
			time.Sleep(time.Duration(s.roll(9000)) * time.Millisecond)
			_, _ = s.apply(c, messages)
		})
		return 1, lost()
	case 5:
		return 0, errNotStored
	case 6: // a deposed leader
		return 0, errConflict
	}
	seq, err = s.apply(c, messages)
	_ = s.pause(context.Background(), 3*time.Millisecond)
	return seq, err
}

// erase deletes a superseded message some time later.
func (s *sea) erase(seq uint64) {
	s.late.Go(func() {
		time.Sleep(time.Duration(s.roll(9000)) * time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		if m := &s.log[seq-1]; s.lastOf(m.subject).seq == seq {
			s.faults = append(s.faults, fmt.Sprintf("the last message %d of %s is deleted", seq, m.subject))
		} else {
			*m = stored{seq: seq}
		}
	})
}

const barrier = "p.m"

// simulate runs producers on a broker, and returns what went wrong.
func simulate(t *testing.T, seed uint64, mutant string) (err error) {
	synctest.Test(t, func(*testing.T) {
		s := &sea{mutant: mutant, rng: rand.New(rand.NewPCG(seed, 1))}
		var running sync.WaitGroup
		all := make([]*author, 2)
		for i := range all {
			all[i] = &author{sea: s, p: store.Producer{Principal: "p", Topic: "a", Name: fmt.Sprint("w", i)}}
			running.Go(all[i].run)
		}
		done := make(chan struct{})
		var trimmer sync.WaitGroup
		trimmer.Go(func() { // copies states, as a trim does
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(s.roll(500)+1) * time.Millisecond):
				}
				_ = copyState(context.Background(), s, subjects.home(all[s.roll(len(all))].p), 1<<40, time.Now())
			}
		})
		running.Wait()
		close(done)
		trimmer.Wait()
		s.late.Wait()
		for _, a := range all {
			a.check()
		}
		if len(s.faults) > 0 {
			err = errors.New(strings.Join(s.faults[:min(len(s.faults), 3)], "; "))
		}
	})
	return err
}

var subjects = layout{"p"}

// An author is a producer with one session after another, each with a higher attempt.
// Earlier sessions may still be active.
type author struct {
	sea *sea
	p   store.Producer

	mu       sync.Mutex
	acked    uint64
	sessions sync.WaitGroup
}

const records = 40

func (a *author) run() {
	for attempt := uint64(1); attempt < 12; attempt++ {
		a.sessions.Go(func() { a.session(attempt) })
		time.Sleep(time.Duration(a.sea.roll(4000)) * time.Millisecond)
	}
	a.sessions.Wait()
	a.sea.mu.Lock()
	a.sea.calm = true
	a.sea.mu.Unlock()
	a.session(99)
	if a.acked < records {
		a.sea.fault("%s ends at record %d", a.p.Name, a.acked)
	}
}

func (a *author) session(attempt uint64) {
	ctx, s := context.Background(), a.sea
	a.mu.Lock()
	acked := a.acked
	a.mu.Unlock()
	h, claim, err := claimHome(ctx, s, subjects.home(a.p), barrier, store.ClaimRequest{Attempt: attempt, Acked: acked, First: acked + 1}, time.Now())
	switch {
	case errors.Is(err, store.ErrStale):
		if !a.claimed(func(st *state) bool { return st.Attempt > attempt }) {
			s.fault("attempt %d is told of a later one that is not there", attempt)
		}
		return
	case errors.Is(err, store.ErrUnavailable):
		return
	case err != nil:
		s.fault("attempt %d: %v", attempt, err)
		return
	}
	w := &writer{home: h, known: s.roll(3) > 0} // the server that the producer used before, sometimes
	for n := claim.Next; n <= records; {
		var blocks []*store.Block
		to := n
		for range s.roll(2) + 1 {
			b := &store.Block{Topic: "a", Codec: "json", Principal: "p", Producer: a.p, Epoch: claim.Epoch, First: to}
			for range s.roll(3) + 1 {
				b.Add(fmt.Appendf(nil, "%d", to))
				to++
			}
			if s.roll(4) == 0 {
				b.Topic = store.Rejected
			}
			blocks = append(blocks, b)
		}
		results := make([]store.Result, len(blocks))
		w.append(ctx, s, barrier, "tag", blocks, results, time.Now(), func(blocks []*store.Block, next state) ([]message, int, []int) {
			return subjects.encode(blocks, next, 1<<20, func(string) *store.Shrinkage { return nil })
		})
		for i, r := range results {
			switch {
			case r.Err == nil:
				a.found(blocks[i], r.Position)
			case errors.Is(r.Err, store.ErrFenced):
				if !a.claimed(func(st *state) bool { return st.Epoch > claim.Epoch }) {
					s.fault("epoch %d is told of a later one that is not there", claim.Epoch)
				}
				return
			case errors.Is(r.Err, store.ErrDuplicate):
			default: // the client connects again
				return
			}
		}
		n = to
		a.mu.Lock()
		a.acked = max(a.acked, n-1)
		a.mu.Unlock()
		if a.sea.roll(8) == 0 {
			time.Sleep(time.Duration(s.roll(2000)) * time.Millisecond)
		}
	}
	a.mu.Lock()
	a.acked = max(a.acked, claim.Next-1)
	a.mu.Unlock()
}

// claimed reports whether the broker has stored a claim of the producer for which is
// returns true.
func (a *author) claimed(is func(*state) bool) bool {
	a.sea.mu.Lock()
	defer a.sea.mu.Unlock()
	for _, m := range a.sea.log {
		if at, err := parseMark(m.mark, m.seq); err == nil && m.subject == subjects.home(a.p) && at.state != nil && is(at.state) {
			return true
		}
	}
	return false
}

// found checks that a block is at its position.
func (a *author) found(b *store.Block, p store.Position) {
	a.sea.mu.Lock()
	var got store.Block
	err := errors.New("nothing is there")
	if p.Block > 0 && p.Block <= uint64(len(a.sea.log)) {
		err = got.Decode(a.sea.log[p.Block-1].data)
	}
	a.sea.mu.Unlock()
	if err != nil || got.First != b.First || got.Producer != b.Producer {
		a.sea.fault("block %d of %s is not at %v: %v", b.First, b.Producer.Name, p, err)
	}
}

// check checks all records of the producer.
func (a *author) check() {
	next := uint64(1)
	for _, m := range a.sea.log {
		var b store.Block
		if b.Decode(m.data) != nil || b.Producer != a.p {
			continue
		}
		if b.First != next {
			a.sea.fault("%s goes from %d to %d", a.p.Name, next, b.First)
		}
		next = b.First + uint64(len(b.Lengths))
	}
	if next <= a.acked {
		a.sea.fault("%s has records to %d, acknowledged are those to %d", a.p.Name, next-1, a.acked)
	}
}
