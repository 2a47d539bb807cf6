package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"iter"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/dictwire/dictwire/store"
)

// producers are those that are in use, and some that were. The others are on
// disk alone, so that memory does not grow with their number.
type producers struct {
	seed   maphash.Seed
	shards [64]shard
}

// maxIdle is how many producers of a shard stay in memory.
const maxIdle = 64

type shard struct {
	mu   sync.Mutex
	held map[store.Producer]*producer
}

// A producer belongs to whoever holds its turn: one append or claim at a time,
// to its end.
type producer struct {
	turn chan struct{} // of capacity 1
	uses int           // those who hold or wait for turn; guarded by shard.mu

	loaded   bool
	state    store.ProducerState // what is durable
	rejected uint64              // no rejection below this number is kept
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

// acquire waits for the turn of a producer, and loads it.
func (s *Store) acquire(ctx context.Context, name store.Producer) (*producer, error) {
	sh := s.producers.shard(name)
	sh.mu.Lock()
	p := sh.held[name]
	if p == nil {
		sh.evict()
		p = &producer{turn: make(chan struct{}, 1)}
		sh.held[name] = p
	}
	p.uses++
	sh.mu.Unlock()

	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		sh.mu.Lock()
		p.uses--
		sh.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	if p.loaded {
		return p, nil
	}
	v, err := s.get(producerKey(name))
	if err == nil && v != nil {
		p.state, err = decodeState(v)
	}
	if err != nil {
		s.release(name, p)
		return nil, err
	}
	p.loaded = true
	return p, nil
}

func (s *Store) release(name store.Producer, p *producer) {
	<-p.turn
	sh := s.producers.shard(name)
	sh.mu.Lock()
	p.uses--
	sh.mu.Unlock()
}

// evict makes room for one more. sh.mu is held.
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
	defer s.release(name, p)
	if f := s.failed(); f != nil {
		return store.Claim{}, f
	}
	state, claim, err := p.state.Claim(r, s.epoch.Add(1), s.clock.Expiry())
	if err != nil {
		return store.Claim{}, err
	}
	state.Seen = s.opts.Now()
	b := s.db.NewBatch()
	if err := b.Set(producerKey(name), appendState(nil, state), nil); err != nil {
		return store.Claim{}, unreadable(err)
	}
	var counts []count
	if p.state.Next == 0 {
		if err := s.ofProducers.Check(name.Principal); err != nil {
			return store.Claim{}, err
		}
		counts = []count{{prefixProducer, name.Principal, 1}}
		if err := b.Set(dueKey(state.Seen.Add(state.Expire), name), nil, nil); err != nil {
			return store.Claim{}, unreadable(err)
		}
	}
	if claim.New && p.state.Next > 0 {
		// Those of a life before, which ended.
		if err := s.deleteRejections(b, name); err != nil {
			return store.Claim{}, unreadable(err)
		}
		p.rejected = 0
	}
	if err := s.writeCounted(b, needsNoSync(claim, r), counts...); err != nil {
		return store.Claim{}, err
	}
	p.state = state
	claim.Fenced = s.writers.Put(name, claim.Epoch, 0)
	return claim, nil
}

// Release implements [store.Producers].
func (s *Store) Release(name store.Producer, epoch uint64) { s.writers.Release(name, epoch) }

// needsNoSync reports whether a claim need not wait for the disk. Where nobody
// counts the attempts of a new producer, a crash takes back nothing that the
// answer says: a producer that is not known is answered the same. The claim is in
// the log before the first append and before any other claim, which is answered
// behind its own sync.
func needsNoSync(c store.Claim, r store.ClaimRequest) bool {
	return c.New && r.Attempt == 0 && !c.Lost
}

// reject adds the rejections of b to a batch that brings the producer to next.
func (p *producer) reject(batch *engine.Batch, b *store.Block, next uint64) error {
	for _, r := range b.Rejected {
		v := append(appendString(nil, r.Code), r.Text...)
		if err := batch.Set(rejectedKey(b.Producer, r.Number), v, nil); err != nil {
			return err
		}
	}
	// The bound moves by whole windows, so that few range deletions are written.
	if low := max(next, store.Window) - store.Window; low >= p.rejected+store.Window {
		if err := batch.DeleteRange(rejectedKey(b.Producer, 0), rejectedKey(b.Producer, low), nil); err != nil {
			return err
		}
		p.rejected = low
	}
	return nil
}

// Rejections implements [store.Producers].
func (s *Store) Rejections(ctx context.Context, name store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		for {
			some, err := s.rejections(ctx, name, after)
			if err != nil {
				yield(store.Rejection{}, err)
				return
			}
			if len(some) == 0 {
				return
			}
			for _, r := range some {
				if !yield(r, nil) {
					return
				}
				after = r.Number
			}
		}
	}
}

// rejections returns some of the rejections above a number.
func (s *Store) rejections(ctx context.Context, name store.Producer, after uint64) (some []store.Rejection, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	p, err := s.acquire(ctx, name) // nothing is in flight then
	if err != nil {
		return nil, err
	}
	defer s.release(name, p)
	if !p.state.Known(s.clock.Expiry()) || after >= p.state.Next-1 {
		return nil, nil
	}
	low := max(after+1, max(p.state.Next, store.Window)-store.Window)
	it, err := s.db.NewIter(bounds(rejectedKey(name, low), rejectedKey(name, p.state.Next)))
	if err != nil {
		return nil, unreadable(err)
	}
	for it.First(); it.Valid() && len(some) < 256; it.Next() {
		key := it.Key()
		code, text, ok := cutString(it.Value())
		if !ok {
			return nil, errors.Join(unreadable(errDamaged), it.Close())
		}
		some = append(some, store.Rejection{Number: binary.BigEndian.Uint64(key[len(key)-8:]), Code: code, Text: string(text)})
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, unreadable(err)
	}
	return some, nil
}

// Forget implements [store.Producers].
func (s *Store) Forget(ctx context.Context, name store.Producer) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	p, err := s.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer s.release(name, p)
	return s.forget(name, p, s.db.NewBatch())
}

// forget makes a producer unknown, and does what else is in a batch. The caller has
// its turn.
func (s *Store) forget(name store.Producer, p *producer, b *engine.Batch) error {
	if err := errors.Join(b.Delete(producerKey(name), nil), s.deleteRejections(b, name)); err != nil {
		return unreadable(err)
	}
	var counts []count
	if p.state.Next > 0 {
		counts = []count{{prefixProducer, name.Principal, -1}}
	}
	if err := s.writeCounted(b, false, counts...); err != nil {
		return err
	}
	p.state, p.rejected = store.ProducerState{}, 0
	s.writers.End(name)
	return nil
}

// deleteRejections deletes the rejections of a producer, where there are any.
func (s *Store) deleteRejections(b *engine.Batch, name store.Producer) error {
	from, to := rejectedKey(name, 0), rejectedKey(name, 1<<64-1)
	it, err := s.db.NewIter(bounds(from, to))
	if err != nil {
		return err
	}
	some := it.First() || it.Error() != nil
	if err := it.Close(); err != nil || !some {
		return err
	}
	return b.DeleteRange(from, to, nil)
}

// forgetOld forgets the producers whose time is over. It looks at those alone that
// were noted as due by now.
func (s *Store) forgetOld(ctx context.Context) error {
	for {
		keys, err := s.dueKeys(ctx)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			if err := s.forgetDue(ctx, key); err != nil {
				return err
			}
		}
	}
}

// dueKeys returns the first of the notes of producers that are due.
func (s *Store) dueKeys(ctx context.Context) (keys [][]byte, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	it, err := s.db.NewIter(bounds([]byte{prefixDue}, dueKey(s.clock.Expiry().Add(1), store.Producer{})))
	if err != nil {
		return nil, unreadable(err)
	}
	for it.First(); it.Valid() && len(keys) < 256; it.Next() {
		keys = append(keys, bytes.Clone(it.Key()))
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, unreadable(err)
	}
	return keys, nil
}

// forgetDue forgets the producer of a note if its time is over, and else notes when
// it will be.
func (s *Store) forgetDue(ctx context.Context, key []byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	if err := b.Delete(key, nil); err != nil {
		return unreadable(err)
	}
	name, ok := splitProducer(key[9:])
	if !ok {
		return s.writeHasty(b)
	}
	p, err := s.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer s.release(name, p)
	switch {
	case p.state.Next == 0: // forgotten before
		return s.writeHasty(b)
	case !p.state.Known(s.clock.Expiry()):
		return s.forget(name, p, b)
	}
	if err := b.Set(dueKey(p.state.Seen.Add(p.state.Expire), name), nil, nil); err != nil {
		return unreadable(err)
	}
	return s.writeHasty(b)
}
