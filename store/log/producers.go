package log

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// producers holds the producers in use, and some recent ones. All others are in the
// states alone, so that memory does not grow with their number.
type producers struct {
	seed   maphash.Seed
	shards [64]shard
}

// maxIdle is how many unused producers of a shard stay in memory.
const maxIdle = 64

type shard struct {
	mu   sync.Mutex
	held map[store.Producer]*producer
}

// A producer belongs to the holder of its turn: one append or claim at a time, until it
// has ended.
type producer struct {
	turn chan struct{} // of capacity 1
	uses int           // holders of turn, those waiting for it, and hasty claims; guarded by shard.mu

	key    string // in the states
	loaded bool
	state  store.ProducerState // the durable state
	swept  uint64              // the next number at the last sweep, or zero
}

func (p *producers) init() {
	p.seed = maphash.MakeSeed()
	for i := range p.shards {
		p.shards[i].held = map[store.Producer]*producer{}
	}
}

func (p *producers) shard(name store.Producer) *shard {
	return &p.shards[maphash.Comparable(p.seed, name)%uint64(len(p.shards))]
}

// acquire waits for the turn of a producer and loads it.
func (s *Store) acquire(ctx context.Context, name store.Producer) (*producer, error) {
	sh := s.producers.shard(name)
	sh.mu.Lock()
	p := sh.held[name]
	if p == nil {
		sh.evict()
		p = &producer{turn: make(chan struct{}, 1), key: producerKey(name)}
		sh.held[name] = p
	}
	p.uses++
	sh.mu.Unlock()

	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		sh.drop(p)
		return nil, context.Cause(ctx)
	}
	if p.loaded {
		return p, nil
	}
	v, err := s.states.get(p.key)
	if err == nil && v.data != nil {
		p.state, err = decodeState(v.data)
	}
	if err != nil {
		s.releaseTurn(name, p)
		return nil, err
	}
	p.loaded = true
	return p, nil
}

func (s *Store) releaseTurn(name store.Producer, p *producer) {
	<-p.turn
	s.producers.shard(name).drop(p)
}

// drop ends a use of a producer, which may be evicted after the last one.
func (sh *shard) drop(p *producer) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p.uses--
}

// evict makes room for one more producer. sh.mu is held.
func (sh *shard) evict() {
	if len(sh.held) < maxIdle {
		return
	}
	for name, p := range sh.held {
		if p.uses == 0 {
			delete(sh.held, name)
			return
		}
	}
}

// Claim implements [store.Producers].
func (s *Store) Claim(ctx context.Context, name store.Producer, r store.ClaimRequest) (store.Claim, error) {
	if err := name.Check(); err != nil {
		return store.Claim{}, err
	}
	if err := s.enter(ctx); err != nil {
		return store.Claim{}, err
	}
	defer s.leave()
	p, err := s.acquire(ctx, name)
	if err != nil {
		return store.Claim{}, err
	}
	defer s.releaseTurn(name, p)
	if f := s.failed(); f != nil {
		return store.Claim{}, f
	}
	by := 0
	if p.state.Next == 0 {
		by = 1
		if err := s.quotas.producers.Check(name.Principal); err != nil {
			return store.Claim{}, err
		}
	}
	state, claim, err := p.state.Claim(r, s.epoch.Add(1), s.clock.Expiry())
	if err != nil {
		return store.Claim{}, err
	}
	m := newCommit()
	if claim.New && p.state.Next > 0 {
		// Delete the rejections of an expired producer of the same name.
		if err := s.deleteRejections(m, name); err != nil {
			return store.Claim{}, err
		}
	}
	m.set(p.key, appendState(nil, state), by)
	if claim.New {
		m.changes = append(m.changes, change{key: expiryKey(state, p.key), data: []byte{}})
	}
	if !needsNoSync(claim, r) || !s.claimHasty(name, p, m) {
		if err := s.commitNew(m); err != nil {
			return store.Claim{}, err
		}
	}
	p.state = state
	claim.Fenced = s.writers.Put(name, claim.Epoch, r.Attempt)
	return claim, nil
}

// newCommit returns a commit with an empty frame.
func newCommit() *commit {
	m := &commit{draft: &draft{}}
	m.reset()
	return m
}

// set adds a change of a state to the frame. by is how many names it adds.
func (m *commit) set(key string, data []byte, by int) {
	m.addEntry(key, data)
	m.changes = append(m.changes, change{key, data, by})
}

// commitNew finishes the frame and commits it.
func (s *Store) commitNew(m *commit) error {
	m.finish()
	m.turn = make(chan bool, 1)
	return s.commit(m)
}

// needsNoSync reports whether a claim need not wait for the disk. For a new producer
// whose attempts are not counted, a crash takes nothing back: an unknown producer gets
// the same answer. The claim is in the log before the first append, and before any other
// claim, which is synced before it is answered.
func needsNoSync(c store.Claim, r store.ClaimRequest) bool {
	return c.New && r.Attempt == 0 && !c.Lost
}

// claimHasty is commitHasty for a claim. The producer stays in memory until the claim is
// durable: the states, from which it would be loaded again, lack the claim until then.
func (s *Store) claimHasty(name store.Producer, p *producer, m *commit) bool {
	sh := s.producers.shard(name)
	sh.mu.Lock()
	p.uses++
	sh.mu.Unlock()
	m.then = func() { sh.drop(p) }
	if s.commitHasty(m) {
		return true
	}
	m.then()
	m.then = nil
	return false
}

// Release implements [store.Producers].
func (s *Store) Release(p store.Producer, epoch uint64) { s.writers.Release(p, epoch) }

// Rejections implements [store.Producers].
func (s *Store) Rejections(ctx context.Context, name store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		all, err := s.rejections(ctx, name, after)
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Rejection{}, err)
		}
	}
}

// rejections returns the kept rejections after a number.
func (s *Store) rejections(ctx context.Context, name store.Producer, after uint64) (all []store.Rejection, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	p, err := s.acquire(ctx, name) // so that no append is in progress
	if err != nil {
		return nil, err
	}
	defer s.releaseTurn(name, p)
	if !p.state.Known(s.clock.Expiry()) || after >= p.state.Next-1 {
		return nil, nil
	}
	low := max(after+1, max(p.state.Next, store.Window)-store.Window)
	var bad error
	err = s.states.scan(rejectedKey(name, 0), rejectedKey(name, p.state.Next), func(key string, v value) bool {
		if v.data == nil {
			return true
		}
		first := binary.BigEndian.Uint64([]byte(key[len(key)-8:]))
		some, err := store.DecodeRejections(first, v.data)
		if err != nil {
			bad = unavailable(errState)
			return false
		}
		for _, r := range some {
			if r.Number >= low {
				all = append(all, r)
			}
		}
		return true
	})
	if err == nil {
		err = bad
	}
	return all, err
}

// Forget implements [store.Producers].
func (s *Store) Forget(ctx context.Context, name store.Producer) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return s.forget(ctx, name, func(*producer) bool { return true })
}

// Known implements [store.Producers].
func (s *Store) Known(ctx context.Context, after store.Producer, limit int) (all []store.KnownProducer, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	whose := string(appendString([]byte{prefixProducer}, after.Principal))
	// What follows the names of a principal begins with a larger byte than any of them.
	err = s.scanProducers(producerKey(after)+"\x00", whose+"\xff", func(_ string, p store.SavedProducer, known bool) bool {
		if known {
			all = append(all, store.KnownProducer{Producer: p.Producer, Next: p.Next, Seen: p.Seen})
		}
		return len(all) < limit
	})
	return all, err
}

// scanProducers calls f for the producers between two keys of the states, in order, until it
// returns false. Those that are no longer known have no state.
func (s *Store) scanProducers(from, to string, f func(key string, p store.SavedProducer, known bool) bool) error {
	now := s.clock.Expiry()
	var bad error
	err := s.states.scan(from, to, func(key string, v value) bool {
		if v.data == nil {
			return f(key, store.SavedProducer{}, false)
		}
		name, ok := parseProducerKey(key)
		state, err := decodeState(v.data)
		if !ok || err != nil {
			bad = unavailable(errState)
			return false
		}
		return f(key, store.SavedProducer{Producer: name, ProducerState: state}, state.Known(now))
	})
	return cmp.Or(err, bad)
}

// forget removes a producer if should, called with its turn held, agrees.
func (s *Store) forget(ctx context.Context, name store.Producer, should func(*producer) bool) error {
	p, err := s.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer s.releaseTurn(name, p)
	if !should(p) {
		return nil
	}
	m := newCommit()
	by := 0
	if p.state.Next > 0 {
		by = -1
	}
	m.set(p.key, nil, by)
	if err := s.deleteRejections(m, name); err != nil {
		return err
	}
	if err := s.commitNew(m); err != nil {
		return err
	}
	p.state = store.ProducerState{}
	s.writers.End(name)
	return nil
}

// deleteRejections adds to a frame that a producer's rejections in earlier frames are
// deleted, if there were any.
func (s *Store) deleteRejections(m *commit, name store.Producer) error {
	were := false
	err := s.states.scan(rejectedKey(name, 0), rejectedKey(name, ^uint64(0)), func(key string, v value) bool {
		if v.data != nil {
			were = true
			m.changes = append(m.changes, change{key: key})
		}
		return true
	})
	if were {
		m.set(forgotKey(name), nil, 0)
	}
	return err
}

// sweepEvery is after how many numbers of a producer its old rejections are deleted.
const sweepEvery = store.Window / 8

// sweep deletes a producer's rejections before the window, if that is due. Those of the
// newest block before it are kept: it may reach into the window, and it shows that there
// were rejections. The log does not say that they are deleted: an opening that reads them
// again leaves them to the next sweep. p's turn is held.
func (s *Store) sweep(name store.Producer, p *producer) {
	next := p.state.Next
	if p.swept <= next && next-p.swept < sweepEvery { // it is larger if the name is used again
		return
	}
	p.swept = next
	if next > store.Window {
		s.states.sweep(rejectedKey(name, 0), rejectedKey(name, next-store.Window))
	}
}

// forgetOld forgets expired producers. They are ordered by their expiry as it was known
// when they were claimed.
func (s *Store) forgetOld(ctx context.Context) error {
	var keys []string
	now := s.clock.Expiry()
	if err := s.states.scan(string(rune(prefixExpiry)), expiryTime(now), func(key string, v value) bool {
		if v.data != nil {
			keys = append(keys, key)
		}
		return len(keys) < 4096
	}); err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.expire(ctx, key, now); err != nil {
			return err
		}
	}
	return nil
}

// expire forgets the producer of an expiry key, or moves the key to the producer's
// present expiry.
func (s *Store) expire(ctx context.Context, key string, now time.Time) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	name, ok := parseProducerKey(key[9:])
	if !ok {
		return nil
	}
	var later string
	if err := s.forget(ctx, name, func(p *producer) bool {
		if p.state.Known(now) {
			later = expiryKey(p.state, p.key)
		}
		return p.state.Next > 0 && later == ""
	}); err != nil {
		return err
	}
	s.states.mu.Lock()
	defer s.states.mu.Unlock()
	s.states.set(key, s.states.seq, nil)
	if later != "" {
		s.states.set(later, s.states.seq, []byte{})
	}
	return nil
}

// producerName returns a key under which the producers of a principal, and of a topic,
// are consecutive.
func producerName(prefix byte, p store.Producer) string {
	b := appendString([]byte{prefix}, p.Principal)
	b = append(append(b, p.Topic...), 0)
	return string(append(b, p.Name...))
}

func producerKey(p store.Producer) string { return producerName(prefixProducer, p) }

// parseProducerKey is the inverse of producerKey.
func parseProducerKey(key string) (p store.Producer, ok bool) {
	if len(key) == 0 {
		return p, false
	}
	principal, rest, ok := cutString([]byte(key[1:]))
	if !ok {
		return p, false
	}
	i := slices.Index(rest, 0)
	if i < 0 {
		return p, false
	}
	return store.Producer{Principal: string(principal), Topic: string(rest[:i]), Name: string(rest[i+1:])}, true
}

// rejectedKey returns the key of the rejections of a block that begins with a number.
func rejectedKey(p store.Producer, first uint64) string {
	b := append([]byte(producerName(prefixRejected, p)), 0)
	return string(binary.BigEndian.AppendUint64(b, first))
}

// forgotKey returns the key that says in which frame the rejections of a producer were
// deleted.
func forgotKey(p store.Producer) string { return producerName(prefixForgot, p) }

// forgotKeyOf returns the forgotKey of the producer of a rejectedKey.
func forgotKeyOf(key string) string {
	return string(rune(prefixForgot)) + key[1:max(1, len(key)-9)]
}

func expiryKey(s store.ProducerState, key string) string {
	return expiryTime(s.Seen.Add(s.Expire)) + key
}

func expiryTime(t time.Time) string {
	return string(binary.BigEndian.AppendUint64([]byte{prefixExpiry}, uint64(max(0, t.Unix()))))
}

func appendState(dst []byte, s store.ProducerState) []byte {
	dst = binary.AppendUvarint(dst, s.Epoch)
	dst = binary.AppendUvarint(dst, s.Attempt)
	dst = binary.AppendUvarint(dst, s.Next)
	dst = binary.AppendUvarint(dst, s.GivenUp)
	dst = binary.AppendVarint(dst, s.Seen.UnixNano())
	dst = binary.AppendVarint(dst, int64(s.Expire))
	return append(dst, s.Note...)
}

func decodeState(v []byte) (s store.ProducerState, err error) {
	d := decoder{rest: v}
	for _, p := range []*uint64{&s.Epoch, &s.Attempt, &s.Next, &s.GivenUp} {
		*p = d.uvarint()
	}
	s.Seen, s.Expire = time.Unix(0, d.varint()).UTC(), time.Duration(d.varint())
	if d.bad {
		return store.ProducerState{}, unavailable(errState)
	}
	if len(d.rest) > 0 {
		s.Note = slices.Clone(d.rest)
	}
	return s, nil
}
