package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/due"
	"github.com/dictwire/dictwire/store/internal/names"
)

// topics are all topics there ever were, by name. There are as many as the disk
// holds.
type topics struct {
	trimmed atomic.Uint64 // the largest of all topics

	mu     sync.RWMutex
	byName map[string]*topic
	found  []*topic // by their blocks, when the store was opened

	touchMu sync.Mutex
	touched []*topic // of which more may be than is kept; guarded by touchMu

	due due.Queue[*topic] // by when their oldest blocks are too old; guarded by Store.trimMu
}

// A topic is what is known of one.
type topic struct {
	name    string
	held    tally         // with all that is in flight; the committer's, behind once
	trimmed atomic.Uint64 // the position behind the last block that was trimmed

	cleaned uint64 // the order has no place of the topic below; guarded by Store.trimMu

	touched   atomic.Bool // it is among topics.touched
	scheduled bool        // it is in topics.due; guarded by Store.trimMu

	durable bool      // there was a key of it, or is one from load on; else once writes it
	once    sync.Once // makes the topic durable, and loads held
	err     error     // of once
}

// load loads the topics.
func (t *topics) load(db *engine.DB) error {
	t.byName = map[string]*topic{}
	it, err := db.NewIter(bounds([]byte{prefixTopic}, []byte{prefixTopic + 1}))
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			break
		}
		tp := &topic{name: string(it.Key()[1:]), durable: true}
		if v, _, err := cutSum(v, len(v)); err == nil && len(v) == 16 {
			tp.trimmed.Store(binary.LittleEndian.Uint64(v))
			tp.cleaned = binary.LittleEndian.Uint64(v[8:])
		}
		t.trimmed.Store(max(t.trimmed.Load(), tp.trimmed.Load()))
		t.byName[tp.name] = tp
	}
	return errors.Join(it.Error(), it.Close())
}

// find finds topics whose keys can't be read by their blocks: from both ends,
// for there may be blocks between that can't be read either.
func (t *topics) find(db *engine.DB) {
	low, high := []byte{prefixBlock}, []byte{prefixBlock + 1}
	for t.add(db, low, high, (*engine.Iterator).First) {
		name := t.found[len(t.found)-1].name
		low = append(append([]byte{prefixBlock}, name...), 1) // behind its blocks
	}
	for t.add(db, low, high, (*engine.Iterator).Last) {
		high = blockKey(t.found[len(t.found)-1].name, 0)
	}
}

// add adds the topic of the first or the last block between two keys, and
// reports whether there is one.
func (t *topics) add(db *engine.DB, low, high []byte, seek func(*engine.Iterator) bool) bool {
	it, err := db.NewIter(bounds(low, high))
	if err != nil {
		return false
	}
	defer it.Close()
	if !seek(it) {
		return false
	}
	name, _, ok := splitBlockKey(it.Key())
	if !ok {
		return false
	}
	tp := &topic{name: string(name), durable: true}
	t.found = append(t.found, tp)
	if t.byName[tp.name] == nil {
		t.byName[tp.name] = tp
	}
	return true
}

// encode returns the value of the topic's key.
func (t *topic) encode(trimmed, cleaned uint64) []byte {
	v := binary.LittleEndian.AppendUint64(nil, trimmed)
	v = binary.LittleEndian.AppendUint64(v, cleaned)
	return binary.LittleEndian.AppendUint32(v, crc32.Checksum(v, castagnoli))
}

// touch notes that more of a topic may be there than is kept.
func (t *topics) touch(tp *topic) {
	if tp.touched.Swap(true) {
		return
	}
	t.touchMu.Lock()
	defer t.touchMu.Unlock()
	t.touched = append(t.touched, tp)
}

// touchAll is touch for the topics of a group.
func (t *topics) touchAll(g *group) {
	for _, m := range g.commits {
		for i := range m.drafts {
			t.touch(m.drafts[i].topic)
		}
	}
}

// take returns the topics that were touched.
func (t *topics) take() []*topic {
	t.touchMu.Lock()
	defer t.touchMu.Unlock()
	taken := t.touched
	t.touched = nil
	for _, tp := range taken {
		tp.touched.Store(false)
	}
	return taken
}

// mayHave returns a *store.LimitError where a block's topic is one too many.
func (s *Store) mayHave(b *store.Block) error {
	s.topics.mu.RLock()
	t := s.topics.byName[b.Topic]
	s.topics.mu.RUnlock()
	if t != nil {
		return nil
	}
	return s.ofTopics.Check(names.Owner(b))
}

// topic returns the topic that a block is written to, and makes it where there is
// none.
func (s *Store) topic(b *store.Block) (*topic, error) {
	name := b.Topic
	s.topics.mu.RLock()
	t := s.topics.byName[name]
	s.topics.mu.RUnlock()
	if t == nil {
		s.topics.mu.Lock()
		if t = s.topics.byName[name]; t == nil {
			t = &topic{name: name}
			s.topics.byName[name] = t
		}
		s.topics.mu.Unlock()
	}
	t.once.Do(func() { // whoever of those that found it comes first
		if !t.durable {
			batch := s.db.NewBatch()
			if t.err = batch.Set(topicKey(name), t.encode(0, 0), nil); t.err == nil {
				t.err = s.writeCounted(batch, false, count{prefixTopic, names.Owner(b), 1})
			}
			return
		}
		// What is damaged can't be counted.
		if e, _, _, err := s.lastReadable(name, s.order.head.Load()); err == nil {
			t.held = e.after()
		}
	})
	return t, t.err
}

// matching returns the topics that patterns name, nil all.
func (t *topics) matching(patterns *store.Patterns) []*topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*topic
	for name, tp := range t.byName {
		if patterns == nil || patterns.Match(name) {
			all = append(all, tp)
		}
	}
	return all
}

func bounds(lower, upper []byte) *engine.IterOptions {
	return &engine.IterOptions{LowerBound: lower, UpperBound: upper}
}

var errNone = errors.New("none")

// lastBlock returns the envelope and the position of a topic's last block below
// a position, errNone where there is none.
func (s *Store) lastBlock(topic string, below uint64) (envelope, uint64, error) {
	return s.edge(topic, 0, below, (*engine.Iterator).Last)
}

// firstBlock is lastBlock for the first block from a position on.
func (s *Store) firstBlock(topic string, from, below uint64) (envelope, uint64, error) {
	return s.edge(topic, from, below, (*engine.Iterator).First)
}

// firstReadable is firstBlock that passes over what is damaged. It reports whether
// there was any.
func (s *Store) firstReadable(topic string, from, below uint64) (e envelope, at uint64, damaged bool, err error) {
	for {
		e, at, err = s.firstBlock(topic, from, below)
		if !isDamage(err) {
			return e, at, damaged, err
		}
		damaged = true
		if from = max(s.behind(from, below, func(at uint64) []byte { return blockKey(topic, at) }), at+1); from >= below {
			return e, at, damaged, errNone
		}
	}
}

// lastReadable is lastBlock that passes over what is damaged, and perhaps as much
// before it. It reports whether there was any.
func (s *Store) lastReadable(topic string, below uint64) (e envelope, at uint64, damaged bool, err error) {
	for step := uint64(1); ; step *= 2 {
		e, at, err = s.lastBlock(topic, below)
		if !isDamage(err) {
			return e, at, damaged, err
		}
		damaged = true
		if below <= step {
			return e, at, damaged, errNone
		}
		below -= step
	}
}

func (s *Store) edge(topic string, from, below uint64, seek func(*engine.Iterator) bool) (e envelope, at uint64, err error) {
	it, err := s.db.NewIter(bounds(blockKey(topic, from), blockKey(topic, below)))
	if err != nil {
		return e, 0, unreadable(err)
	}
	defer it.Close()
	if !seek(it) {
		if err := it.Error(); err != nil {
			return e, 0, unreadable(err)
		}
		return e, 0, errNone
	}
	_, at, _ = splitBlockKey(it.Key())
	v, err := it.ValueAndErr()
	if err != nil {
		return e, at, unreadable(err)
	}
	e, _, err = cutEnvelope(v)
	return e, at, err
}

// Topics implements [store.Log].
func (s *Store) Topics(ctx context.Context) ([]store.TopicStat, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	all := s.topics.matching(nil)
	sortTopics(all)
	head := s.order.head.Load()
	stats := make([]store.TopicStat, 0, len(all))
	for _, t := range all {
		stat, err := s.stat(t, head)
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.name, err)
		}
		stats = append(stats, stat)
	}
	return stats, nil
}

// stat returns what a topic holds. What is damaged lies between First and Next, and
// is not counted.
func (s *Store) stat(t *topic, head uint64) (store.TopicStat, error) {
	stat := store.TopicStat{Name: t.name}
	first, from, damagedFirst, err := s.firstReadable(t.name, 0, head)
	if err != nil && !errors.Is(err, errNone) {
		return stat, err
	}
	last, to, damagedLast, err := s.lastReadable(t.name, head)
	if err != nil && !errors.Is(err, errNone) {
		return stat, err
	}
	if err == nil {
		after := last.after()
		stat.Blocks = minus(after.blocks, first.before.blocks)
		stat.Records = minus(after.records, first.before.records)
		stat.Bytes = minus(after.bytes, first.before.bytes)
		stat.First, stat.Next = s.position(from), s.position(to+1)
		stat.Oldest, stat.Newest = first.stamp(), last.stamp()
	}
	if damagedFirst {
		stat.First = s.position(t.trimmed.Load())
	}
	if damagedLast {
		stat.Next = s.position(head)
	}
	return stat, nil
}

// minus is a−b, or zero: what damage hid is not counted.
func minus(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

func (s *Store) position(block uint64) store.Position {
	return store.Position{Tag: s.tag, Block: block}
}

// Head implements [store.Log].
func (s *Store) Head(ctx context.Context) (store.Position, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.leave()
	return s.position(s.order.head.Load()), nil
}

// CheckPosition implements [store.Log].
func (s *Store) CheckPosition(ctx context.Context, p store.Position) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return s.within(p)
}

// Seek implements [store.Log].
func (s *Store) Seek(ctx context.Context, t time.Time) (store.Position, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.leave()
	head := s.order.head.Load()
	it, err := s.db.NewIter(bounds(orderKey(0), orderKey(head)))
	if err != nil {
		return store.Position{}, unreadable(err)
	}
	defer it.Close()
	// Invariant: the answer lies in [low, high], where high stands for a place
	// that is late enough, or for the head.
	low, high := uint64(0), head
	for low < high {
		middle := low + (high-low)/2
		at, late := head, true
		if it.SeekGE(orderKey(middle)) {
			at = binary.BigEndian.Uint64(it.Key()[1:])
			stamp, _, err := splitPlace(it.Value())
			late = err == nil && !time.Unix(0, stamp).Before(t)
		} else if err := it.Error(); err != nil {
			late = false // what can't be read is passed over
			at = middle
		}
		if late {
			high = middle
		} else {
			low = at + 1
		}
	}
	if it.SeekGE(orderKey(low)) {
		return s.position(binary.BigEndian.Uint64(it.Key()[1:])), nil
	}
	return s.position(head), nil
}
