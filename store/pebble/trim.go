package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Keep bounds what of a topic is kept. The zero value keeps all.
type Keep struct {
	Age   time.Duration // blocks that the store took longer ago are trimmed
	Bytes uint64        // of records: older blocks beyond are trimmed
}

// DefaultKeep keeps all but what was rejected, of which it keeps 7 days and at
// most 256 MiB.
func DefaultKeep(topic string) Keep {
	if topic == store.Rejected {
		return Keep{Age: 7 * 24 * time.Hour, Bytes: 256 << 20}
	}
	return Keep{}
}

// Trim implements [store.Log].
func (s *Store) Trim(ctx context.Context, name string, before store.Position) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	head := s.order.head.Load()
	if err := before.Within(s.tag, s.position(head)); err != nil {
		return err
	}
	s.topics.mu.RLock()
	t := s.topics.byName[name]
	s.topics.mu.RUnlock()
	if t == nil {
		return nil
	}
	return s.trim(t, before.Block, head)
}

// trim deletes a topic's blocks below a position. s.trimMu is held, and was when
// head was read, so that keyNext never goes back.
func (s *Store) trim(t *topic, before, head uint64) error {
	if before <= t.trimmed.Load() {
		return nil
	}
	// Only what was there has been trimmed.
	_, last, err := s.lastBlock(t.name, before)
	switch {
	case errors.Is(err, errNone):
		return nil
	case err != nil && last == 0:
		last = before - 1 // what can't be read can be deleted
	}
	to := last + 1
	b := s.db.NewBatch()
	if err := errors.Join(
		b.DeleteRange(blockKey(t.name, 0), blockKey(t.name, to), nil),
		b.Set(topicKey(t.name), t.encode(to, t.cleaned), nil),
		b.Set(keyNext, binary.BigEndian.AppendUint64(nil, head), nil), // positions are never used again
	); err != nil {
		return unreadable(err)
	}
	// Readers look at these behind what they read.
	t.trimmed.Store(to)
	s.topics.trimmed.Store(max(s.topics.trimmed.Load(), to))
	if err := s.write(b); err != nil {
		return err
	}
	return s.clean(t, to)
}

// clean deletes the places of trimmed blocks from the order. s.trimMu is held.
func (s *Store) clean(t *topic, to uint64) error {
	it, err := s.db.NewIter(bounds(orderKey(t.cleaned), orderKey(to)))
	if err != nil {
		return unreadable(err)
	}
	defer it.Close()
	b := s.db.NewBatch()
	var run []uint64 // places of the topic with no other's between
	flush := func() error {
		if n := len(run); n > 16 {
			err = b.DeleteRange(orderKey(run[0]), orderKey(run[n-1]+1), nil)
		} else {
			for _, at := range run {
				err = errors.Join(err, b.Delete(orderKey(at), nil))
			}
		}
		run = run[:0]
		if err == nil && b.Count() > 1024 {
			err = s.writeHasty(b)
			b = s.db.NewBatch()
		}
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if _, topic, err := splitPlace(it.Value()); err == nil && string(topic) == t.name {
			run = append(run, binary.BigEndian.Uint64(it.Key()[1:]))
			if len(run) < 65536 {
				continue
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := b.Set(topicKey(t.name), t.encode(to, to), nil); err != nil {
		return unreadable(err)
	}
	t.cleaned = to
	return s.writeHasty(b)
}

// keep looks after what is kept, until the store is closed.
func (s *Store) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(s.opts.KeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			// What fails now is tried again at the next tick; an engine that
			// can't go on has told so.
			_ = s.Tidy(ctx)
		}
	}
}

// Tidy trims what Options.Keep does not keep and forgets the producers whose
// time is over, as is done every Options.KeepEvery.
func (s *Store) Tidy(ctx context.Context) error {
	var errs []error
	for _, t := range s.topics.take() {
		if err := s.keepTopic(ctx, t, false); err != nil {
			s.topics.touch(t)
			errs = append(errs, err)
		}
	}
	for _, t := range s.takeDue() {
		if err := s.keepTopic(ctx, t, true); err != nil {
			s.topics.touch(t)
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, s.forgetOld(ctx))...)
}

// takeDue returns the topics whose oldest blocks have become too old.
func (s *Store) takeDue() (all []*topic) {
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	now := s.clock.Expiry()
	for {
		t, ok := s.topics.due.Take(now)
		if !ok {
			return all
		}
		t.scheduled = false
		all = append(all, t)
	}
}

// keepTopic trims what of a topic is not kept, and schedules when the oldest of its
// blocks will be too old. What was touched may be scheduled already.
func (s *Store) keepTopic(ctx context.Context, t *topic, isDue bool) error {
	k := s.opts.Keep(t.name)
	if k == (Keep{}) {
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	if k.Bytes == 0 && t.scheduled && !isDue {
		return nil
	}
	head := s.order.head.Load()
	last, _, _, err := s.lastReadable(t.name, head)
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return err
	}
	oldest := s.clock.Expiry().Add(-k.Age).UnixNano()
	total := last.after().bytes
	before := s.find(t.name, t.trimmed.Load(), head, func(e envelope) bool {
		return (k.Age == 0 || e.time >= oldest) && (k.Bytes == 0 || minus(total, e.before.bytes) <= k.Bytes)
	})
	if err := s.trim(t, before, head); err != nil || k.Age == 0 || t.scheduled {
		return err
	}
	first, _, _, err := s.firstReadable(t.name, before, head)
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return err
	}
	t.scheduled = true
	s.topics.due.Add(first.stamp().Add(k.Age+1), t)
	return nil
}

// find returns the position of the first block of a topic that is kept; all
// behind it are. What is damaged counts as kept.
func (s *Store) find(topic string, low, high uint64, kept func(envelope) bool) uint64 {
	for low < high {
		middle := low + (high-low)/2
		e, at, err := s.firstBlock(topic, middle, high)
		switch {
		case errors.Is(err, errNone):
			high = middle
		case err != nil || kept(e):
			high = middle
		default:
			low = at + 1
		}
	}
	return low
}
