package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nuid"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// A writing is a producer that this server appends for or has claimed.
type writing struct {
	lock  chan struct{} // held by the user of w
	w     writer
	swept uint64 // the producer's next number at the last sweep, or 0; guarded by lock
	uses  int    // holders of lock and those waiting for it; guarded by Store.mu
	kept  bool   // claimed by this server; guarded by Store.mu
}

// use locks a producer's writer until done is called.
func (s *Store) use(ctx context.Context, p store.Producer) (u *writing, done func(), err error) {
	pid := producerID(p)
	s.mu.Lock()
	u = s.writing[pid]
	if u == nil {
		u = &writing{lock: make(chan struct{}, 1), w: writer{home: home{subject: s.home(p)}}}
		s.writing[pid] = u
	}
	u.uses++
	s.mu.Unlock()
	left := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if u.uses--; u.uses == 0 && !u.kept {
			delete(s.writing, pid)
		}
	}
	select {
	case u.lock <- struct{}{}:
		return u, func() { <-u.lock; left() }, nil
	case <-ctx.Done():
		left()
		return nil, nil, context.Cause(ctx)
	}
}

// keep sets whether the store remembers a producer that is not in use.
func (s *Store) keep(pid string, u *writing, kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.kept = kept
	if u.uses == 0 && !kept && s.writing[pid] == u {
		delete(s.writing, pid)
	}
}

// lately returns how well recent blocks of a topic compressed.
func (s *Store) lately(topic string) *store.Shrinkage {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.shrinkage[topic]
	if l == nil {
		l = new(store.Shrinkage)
		s.shrinkage[topic] = l
	}
	return l
}

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	results := make([]store.Result, len(blocks))
	if err := s.open(ctx); err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	limit := s.Limits().BlockBytes
	for i, b := range blocks {
		if results[i].Err = b.Check(); results[i].Err != nil {
			continue
		}
		if len(b.Data) > limit {
			results[i].Err = fmt.Errorf("nats: a block of %d bytes: want at most %d", len(b.Data), limit)
			continue
		}
		results[i].Err = s.register(ctx, b)
	}
	groups := settleTogether(blocks, results)
	one := func(group []int) {
		mine, theirs := make([]*store.Block, len(group)), make([]store.Result, len(group))
		for n, i := range group {
			mine[n], theirs[n] = blocks[i], results[i]
		}
		if mine[0].Producer.IsZero() {
			theirs[0] = s.appendLoose(ctx, mine[0])
		} else {
			s.appendOf(ctx, mine, theirs)
		}
		for n, i := range group {
			results[i] = theirs[n]
		}
	}
	if len(groups) == 1 {
		one(groups[0])
		return results
	}
	const atOnce = 32
	for some := range slices.Chunk(groups, atOnce) {
		var running sync.WaitGroup
		for _, group := range some {
			running.Go(func() { one(group) })
		}
		running.Wait()
	}
	return results
}

// settleTogether returns the indices of blocks that settle together: those of one producer,
// and each alone that has none and is not refused already.
func settleTogether(blocks []*store.Block, results []store.Result) (groups [][]int) {
	of := map[store.Producer]int{}
	for i, b := range blocks {
		if b.Producer.IsZero() {
			if results[i].Err == nil {
				groups = append(groups, []int{i})
			}
			continue
		}
		g, ok := of[b.Producer]
		if !ok {
			g = len(groups)
			of[b.Producer] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// appendOf appends blocks of one producer.
func (s *Store) appendOf(ctx context.Context, blocks []*store.Block, results []store.Result) {
	u, done, err := s.use(ctx, blocks[0].Producer)
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return
	}
	defer done()
	writing, end := s.until(context.WithoutCancel(ctx))
	defer end()
	part := s.part()
	for i := 0; i < len(blocks); {
		n := inBatch(blocks[i:], results[i:], part)
		last := u.w.append(writing, s.conn, s.barrier(), s.tag, blocks[i:i+n], results[i:i+n], s.now(), func(blocks []*store.Block, next state) ([]message, int, []int) {
			return s.encode(blocks, next, part, s.lately)
		})
		s.ack(last)
		some := results[i : i+n]
		i += n
		if at := slices.IndexFunc(some, func(r store.Result) bool { return r.Err != nil && !errors.Is(r.Err, store.ErrDuplicate) }); at >= 0 {
			for ; i < len(results); i++ {
				results[i].Err = some[at].Err
			}
		}
	}
	rejected := false
	for i, r := range results {
		rejected = rejected || r.Err == nil && len(blocks[i].Rejected) > 0
		if r.Err != nil && !isAnswer(r.Err) {
			results[i].Err = s.wrong(writing, r.Err)
		}
	}
	if rejected {
		s.sweep(writing, blocks[0].Producer, u)
	}
}

// inBatch returns how many of one producer's blocks to store in one batch: all of them, or
// as many as fit in maxBatch messages. If a block was refused already, it returns all,
// since none of them will be stored.
func inBatch(blocks []*store.Block, results []store.Result, part int) int {
	messages, rejected := 2, 0 // the state, and the rejections
	if slices.ContainsFunc(results, func(r store.Result) bool { return r.Err != nil }) {
		return len(blocks)
	}
	for i, b := range blocks {
		for _, r := range b.Rejected {
			rejected += 32 + len(r.Code) + len(r.Reason) + len(r.Text)
		}
		messages += 1 + costOf(b)/part
		if i > 0 && messages+rejected/part > maxBatch {
			return i
		}
	}
	return len(blocks)
}

// isAnswer reports whether Append returns err to the caller unchanged.
func isAnswer(err error) bool {
	return errors.Is(err, store.ErrDuplicate) || errors.Is(err, store.ErrFenced) || errors.As(err, new(*store.SequenceError)) ||
		errors.As(err, new(*store.LimitError)) || !errors.Is(err, errNotStored) && !errors.Is(err, errUnknown) && !errors.Is(err, store.ErrUnavailable)
}

// appendLoose appends a block without a producer.
func (s *Store) appendLoose(ctx context.Context, b *store.Block) store.Result {
	if err := s.open(ctx); err != nil {
		return store.Result{Err: err}
	}
	ctx, end := s.until(context.WithoutCancel(ctx))
	defer end()
	messages := encodeBlock(nil, s.block(b.Topic, nobody), b, nil, s.part(), s.lately(b.Topic))
	if len(messages) == 1 {
		messages[0].id = nuid.Next() // the broker drops duplicates of a retry
	}
	tries := pace{}
	for tries.wait(ctx) {
		seq, err := s.publish(ctx, nil, messages...)
		if err == nil {
			s.ack(seq)
			return store.Result{Position: store.Position{Tag: s.tag, Block: seq - uint64(len(messages)-1)}}
		}
		if !tries.again(err) || len(messages) > 1 && errors.Is(err, errUnknown) {
			return store.Result{Err: s.wrong(ctx, err)}
		}
	}
	return store.Result{Err: s.wrong(ctx, tries.err(ctx))}
}

// register stores the message that makes a block's topic, unless there is one already.
func (s *Store) register(ctx context.Context, b *store.Block) error {
	s.mu.Lock()
	t := s.topics[b.Topic]
	known := t != nil && t.registered
	s.mu.Unlock()
	if known {
		return nil
	}
	owner := names.Owner(b)
	if err := s.ofTopics.Check(owner); err != nil {
		return err
	}
	ctx, end := s.until(ctx)
	defer end()
	subject := s.topic(b.Topic)
	tries := pace{}
	for tries.wait(ctx) {
		_, err := s.publish(ctx, &check{subject, 0}, message{subject: subject, mark: topicMark(b.Topic, owner, 0), rollup: true})
		if err != nil && !errors.Is(err, errConflict) { // a conflict means that another server made it meanwhile
			if tries.again(err) {
				continue
			}
			return s.wrong(ctx, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.registered(b.Topic, owner)
		return nil
	}
	return s.wrong(ctx, tries.err(ctx))
}
