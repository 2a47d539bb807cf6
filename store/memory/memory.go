// Package memory is a store in memory: for programs that only look at what they receive,
// for a single run, and for tests. Nothing in it survives the process.
//
//	s := memory.New(nil)
//
// It keeps the newest records, by default 64 MiB of them. Older blocks are trimmed,
// oldest first, and a reader that is too late is told. A reader that must miss nothing
// holds them: see [Store.Hold].
package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
	"github.com/dictwire/dictwire/store/internal/due"
	"github.com/dictwire/dictwire/store/internal/names"
)

// Options configure a store. Nil and the zero value mean the defaults.
type Options struct {
	// KeepBytes is how many bytes of memory the kept records take, at least. Zero means
	// 64 MiB; negative means that all records are kept.
	KeepBytes int64

	// MaxTopics, MaxProducers and MaxCursors limit their numbers. One principal may have
	// half of them. Creating one more fails with a *store.LimitError. Zero means 20,000,
	// 200,000 and 20,000; negative means no limit.
	MaxTopics, MaxProducers, MaxCursors int

	// MaxStoredBytes limits the bytes of memory that one principal's records may take.
	// Beyond that, its appends fail with a *store.LimitError until something is trimmed.
	// Zero and negative mean no limit, since KeepBytes limits the total.
	MaxStoredBytes int64

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// A Store is a [store.Store] in memory.
type Store struct {
	keep      int64
	maxStored int64 // 0: no limit
	now       func() time.Time
	tag       string

	mu        sync.Mutex
	closed    bool
	entries   []entry          // by position
	bytes     int64            // of memory of all entries
	stored    map[string]int64 // the same by owner; without zeros
	next      uint64           // the position of the next block
	last      time.Time
	grown     chan struct{}     // closed and replaced when there is something new to read
	hold      uint64            // blocks from this position on are not trimmed for room; 0: none
	held      int64             // bytes of memory of the entries from hold on
	room      chan struct{}     // closed and replaced when held has decreased
	topics    map[string]*topic // all there ever were
	trimmed   uint64            // the largest topic.trimmed
	epoch     uint64            // of the last claim
	producers map[store.Producer]*producer
	due       due.Queue[store.Producer] // when producers may expire
	cursors   map[store.CursorName]store.SavedCursor

	ofTopics, ofProducers, ofCursors *names.Quota

	writers claims.Table[store.Producer]
	readers claims.Table[store.CursorName]
}

// An entry is a block in the log. It never changes.
type entry struct {
	at    uint64
	time  time.Time
	block *store.Block
}

// cost returns how many bytes of memory an entry takes.
func (e entry) cost() int64 {
	const rest = 320 // the entry and the block without records
	n := len(e.block.Data) + 4*len(e.block.Lengths) + 8*len(e.block.Times) + 40*len(e.block.Rejected)
	return int64(n) + rest
}

type topic struct {
	stat    store.TopicStat // of the present blocks
	trimmed uint64          // the position after the last trimmed block
}

type producer struct {
	store.ProducerState
	rejected []store.Rejection // by number
}

// New returns an empty store.
func New(o *Options) *Store {
	if o == nil {
		o = &Options{}
	}
	s := &Store{
		keep: o.KeepBytes, maxStored: max(o.MaxStoredBytes, 0), now: o.Now, tag: store.NewTag(), next: 1,
		grown:     make(chan struct{}),
		room:      make(chan struct{}),
		stored:    map[string]int64{},
		topics:    map[string]*topic{},
		producers: map[store.Producer]*producer{},
		cursors:   map[store.CursorName]store.SavedCursor{},

		ofTopics:    names.New("topics", "MaxTopics", o.MaxTopics, 20_000),
		ofProducers: names.New("producers", "MaxProducers", o.MaxProducers, 200_000),
		ofCursors:   names.New("cursors", "MaxCursors", o.MaxCursors, 20_000),
	}
	if s.keep == 0 {
		s.keep = 64 << 20
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Limits implements [store.Store].
func (s *Store) Limits() store.Limits {
	// The oldest records of all topics are trimmed, so half of the room is left to
	// others.
	return store.Limits{Durability: store.Memory, BlockBytes: store.MaxBlockBytes, RejectedBytes: uint64(max(s.keep, 0)) / 2}
}

// Ready implements [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	err := s.lock(ctx)
	if err == nil {
		s.mu.Unlock()
	}
	return err
}

// CheckPosition implements [store.Log].
func (s *Store) CheckPosition(ctx context.Context, p store.Position) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return p.Within(s.tag, s.position(s.next))
}

// Close ends all reads. Later calls return store.ErrUnavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.grown)
		close(s.room)
	}
	return nil
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// lock locks s, unless s is closed or the caller's ctx has ended.
func (s *Store) lock(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	return nil
}

// position returns the position of a block. s.mu need not be held.
func (s *Store) position(block uint64) store.Position {
	return store.Position{Tag: s.tag, Block: block}
}

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	results := make([]store.Result, len(blocks))
	if err := s.lockForRoom(ctx, blocks); err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	defer s.mu.Unlock()
	before := s.next
	for i, b := range blocks {
		if results[i].Err = b.Check(); results[i].Err == nil {
			results[i].Err = s.mayHave(b)
		}
	}
	s.number(blocks, results)
	for i, b := range blocks {
		if results[i].Err == nil {
			results[i].Position = s.add(b)
		}
	}
	if s.next != before {
		s.evict()
		close(s.grown)
		s.grown = make(chan struct{})
	}
	return results
}

// mayHave returns a *store.LimitError if a block would create one topic too many, or if
// its owner has stored as much as it may. s.mu is held.
func (s *Store) mayHave(b *store.Block) error {
	owner := names.Owner(b)
	err := names.CheckStored(owner, uint64(s.stored[owner]), uint64(s.maxStored))
	if err != nil || s.topics[b.Topic] != nil {
		return err
	}
	return s.ofTopics.Check(owner)
}

// Stored implements [store.Accountant].
func (s *Store) Stored(ctx context.Context) ([]store.StoredStat, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	all := make([]store.StoredStat, 0, len(s.stored))
	for owner, n := range s.stored {
		if !strings.HasPrefix(owner, "_") {
			all = append(all, store.StoredStat{Principal: owner, Bytes: uint64(n), Max: uint64(s.maxStored)})
		}
	}
	slices.SortFunc(all, func(a, b store.StoredStat) int { return cmp.Compare(a.Principal, b.Principal) })
	return all, nil
}

// lockForRoom is lock, but waits until there is room for blocks in addition to the held
// ones. Blocks larger than everything that may be kept are accepted when nothing is held.
func (s *Store) lockForRoom(ctx context.Context, blocks []*store.Block) error {
	var n int64
	for _, b := range blocks {
		n += entry{block: b}.cost()
	}
	for {
		if err := s.lock(ctx); err != nil {
			return err
		}
		if s.keep < 0 || s.held == 0 || s.held+n <= s.keep {
			return nil
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// Hold keeps all blocks from a position on: they are not trimmed for room. An Append
// without room waits until Hold is called with a later position, the store is closed, or
// its context ends. The zero Position ends the hold. A store has one hold. The error is
// that of [store.Position.Within].
func (s *Store) Hold(from store.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := from.Within(s.tag, s.position(s.next)); err != nil {
		return err
	}
	if from.Block < s.hold || s.hold == 0 {
		s.hold, s.held = from.Block, 0
		for _, e := range s.entries[s.find(s.hold):] {
			s.held += e.cost()
		}
	}
	for _, e := range s.entries[s.find(s.hold):s.find(from.Block)] {
		s.held -= e.cost()
	}
	s.hold = from.Block
	if s.hold == 0 {
		s.held = 0
	}
	s.evict()
	s.makeRoom()
	return nil
}

// makeRoom wakes appends that wait for room. s.mu is held.
func (s *Store) makeRoom() {
	if !s.closed {
		close(s.room)
		s.room = make(chan struct{})
	}
}

// find returns the index of the first entry at or after a position. s.mu is held.
func (s *Store) find(at uint64) int {
	i, _ := slices.BinarySearchFunc(s.entries, at, func(e entry, at uint64) int { return cmp.Compare(e.at, at) })
	return i
}

// number decides which blocks are stored, and updates their producers. s.mu is held.
func (s *Store) number(blocks []*store.Block, results []store.Result) {
	var all []store.Numbering
	for i, b := range blocks {
		if results[i].Err != nil || b.Producer.IsZero() {
			continue
		}
		at, ok := slices.BinarySearchFunc(all, b.Producer, func(n store.Numbering, p store.Producer) int { return n.Producer.Compare(p) })
		if ok {
			continue
		}
		n := store.Numbering{Producer: b.Producer}
		if p := s.producers[b.Producer]; p != nil {
			n.Before = p.ProducerState
		}
		all = slices.Insert(all, at, n)
	}
	store.Decide(blocks, results, all, s.now())
	for _, n := range all {
		if p := s.producers[n.Producer]; p != nil {
			p.ProducerState = n.After
		}
	}
	for i, b := range blocks {
		if results[i].Err == nil && len(b.Rejected) > 0 {
			s.producers[b.Producer].reject(b.Rejected)
		}
	}
}

// reject keeps rejections within the window.
func (p *producer) reject(rejected []store.Rejection) {
	p.rejected = append(p.rejected, rejected...)
	if low := max(p.Next, store.Window) - store.Window; p.rejected[0].Number < low {
		i := slices.IndexFunc(p.rejected, func(r store.Rejection) bool { return r.Number >= low })
		if i < 0 {
			i = len(p.rejected)
		}
		p.rejected = slices.Delete(p.rejected, 0, i)
	}
}

// add adds a block to the log. s.mu is held.
func (s *Store) add(b *store.Block) store.Position {
	if now := s.now(); now.After(s.last) {
		s.last = now.Round(0).UTC()
	}
	e := entry{at: s.next, time: s.last, block: b.Clone()}
	s.next++
	s.entries = append(s.entries, e)
	s.bytes += e.cost()
	s.stored[names.Owner(e.block)] += e.cost()
	if s.hold > 0 {
		s.held += e.cost()
	}
	t := s.topics[b.Topic]
	if t == nil {
		t = &topic{stat: store.TopicStat{Name: b.Topic}}
		s.topics[b.Topic] = t
		s.ofTopics.Add(names.Owner(b), 1)
	}
	if t.stat.Blocks == 0 {
		t.stat.First, t.stat.Oldest = s.position(e.at), e.time
	}
	t.stat.Blocks++
	t.stat.Records += uint64(len(b.Lengths))
	t.stat.Bytes += uint64(len(b.Data))
	t.stat.Next, t.stat.Newest = s.position(e.at+1), e.time
	return s.position(e.at)
}

// evict trims the oldest blocks where there are too many bytes. s.mu is held.
func (s *Store) evict() {
	if s.keep < 0 {
		return
	}
	n := 0
	for n < len(s.entries)-1 && (s.hold == 0 || s.entries[n].at < s.hold) && s.bytes-s.entries[n].cost() >= s.keep {
		s.remove(s.entries[n])
		n++
	}
	if n > 0 {
		clear(s.entries[:n])
		s.entries = s.entries[n:]
		s.restat()
	}
}

// remove takes an entry that is about to leave s.entries out of the books.
// s.mu is held.
func (s *Store) remove(e entry) {
	s.bytes -= e.cost()
	owner := names.Owner(e.block)
	if s.stored[owner] -= e.cost(); s.stored[owner] == 0 {
		delete(s.stored, owner)
	}
	if s.hold > 0 && e.at >= s.hold {
		s.held -= e.cost()
	}
	t := s.topics[e.block.Topic]
	t.stat.Blocks--
	t.stat.Records -= uint64(len(e.block.Lengths))
	t.stat.Bytes -= uint64(len(e.block.Data))
	t.trimmed = e.at + 1
	s.trimmed = max(s.trimmed, t.trimmed)
}

// restat finds the first block of each topic anew. s.mu is held.
func (s *Store) restat() {
	found := map[string]bool{}
	for _, e := range s.entries {
		if name := e.block.Topic; !found[name] {
			found[name] = true
			t := s.topics[name]
			t.stat.First, t.stat.Oldest = s.position(e.at), e.time
			if len(found) == len(s.topics) {
				return
			}
		}
	}
	for name, t := range s.topics {
		if !found[name] {
			t.stat.First, t.stat.Oldest, t.stat.Newest = t.stat.Next, time.Time{}, time.Time{}
		}
	}
}

// Trim implements [store.Log].
func (s *Store) Trim(ctx context.Context, name string, before store.Position) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := before.Within(s.tag, s.position(s.next)); err != nil {
		return err
	}
	defer s.makeRoom()
	s.entries = slices.DeleteFunc(s.entries, func(e entry) bool {
		gone := e.block.Topic == name && e.at < before.Block
		if gone {
			s.remove(e)
		}
		return gone
	})
	s.restat()
	return nil
}

// Seek implements [store.Log].
func (s *Store) Seek(ctx context.Context, t time.Time) (store.Position, error) {
	if err := s.lock(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.entries, t, func(e entry, t time.Time) int { return e.time.Compare(t) })
	if i == len(s.entries) {
		return s.position(s.next), nil
	}
	return s.position(s.entries[i].at), nil
}

// Backlog implements [store.Log].
func (s *Store) Backlog(ctx context.Context, from store.Position, topics []string) (records uint64, err error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if err := from.Within(s.tag, s.position(s.next)); err != nil {
		return 0, err
	}
	patterns := store.NewPatterns(topics)
	for _, e := range s.entries[s.find(from.Block):] {
		if patterns.Match(e.block.Topic) {
			records += uint64(len(e.block.Lengths))
			if e.at == from.Block {
				records -= min(uint64(from.Index), records)
			}
		}
	}
	return records, nil
}

// Head implements [store.Log].
func (s *Store) Head(ctx context.Context) (store.Position, error) {
	if err := s.lock(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.mu.Unlock()
	return s.position(s.next), nil
}

// Topics implements [store.Log].
func (s *Store) Topics(ctx context.Context, patterns ...string) ([]store.TopicStat, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var stats []store.TopicStat
	for _, t := range store.Named(store.NewPatterns(patterns), s.topics) {
		stats = append(stats, t.stat)
	}
	slices.SortFunc(stats, func(a, b store.TopicStat) int { return strings.Compare(a.Name, b.Name) })
	return stats, nil
}
