package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/dictwire/dictwire/store"
)

// chunkBytes is how much a reader takes from the engine at a time, if one block
// is not more. It holds nothing of the engine while its caller works.
const chunkBytes = 64 << 10

const (
	scanLook = 1024        // blocks of the order, after which a reader looks whether it is still wanted
	sayEvery = time.Second // how long it looks for blocks before it says how far it has come
)

// Read implements [store.Log].
func (s *Store) Read(ctx context.Context, from store.Position, o store.ReadOptions) iter.Seq2[store.Batch, error] {
	return func(yield func(store.Batch, error) bool) {
		r := &reader{s: s, o: o, topics: store.NewPatterns(o.Topics), at: from, fresh: from.IsZero()}
		defer r.free()
		if err := r.begin(ctx); err != nil {
			yield(store.Batch{}, err)
			return
		}
		if err := r.read(ctx, yield); err != nil {
			yield(store.Batch{}, err)
		}
	}
}

// A reader is one Read.
type reader struct {
	s      *Store
	o      store.ReadOptions
	topics *store.Patterns
	at     store.Position    // everything below is done
	fresh  bool              // it misses nothing that was trimmed before
	told   map[string]uint64 // the topics' trims that are told

	chunk []stored // read and not yielded
	bytes []byte   // of chunk
	block store.Block
	room  roomy
	early bool // the chunk ends before its time, for others want to know how far it is
}

// A stored is what stands at a position.
type stored struct {
	at       uint64
	topic    string
	from, to int   // the value, in reader.bytes
	err      error // why it can't be read; then it ends at end
	end      uint64
}

// begin checks where and what is read.
func (r *reader) begin(ctx context.Context) error {
	for _, p := range r.o.Topics {
		if err := store.CheckPattern(p); err != nil {
			return err
		}
	}
	if r.o.Progress == 0 {
		r.o.Progress = 5 * time.Second
	}
	if err := r.s.enter(ctx); err != nil {
		return err
	}
	defer r.s.leave()
	if err := r.at.Within(r.s.tag, r.s.position(r.s.order.head.Load())); err != nil {
		return err
	}
	r.at.Tag = r.s.tag
	return nil
}

// errStop ends a read whose caller has stopped.
var errStop = errors.New("stop")

func (r *reader) read(ctx context.Context, yield func(store.Batch, error) bool) error {
	var grown waiter
	if r.o.Follow {
		grown = r.s.order.follow(r.o.Topics)
		defer r.s.order.unfollow(grown, r.o.Topics)
	}
	for said := (store.Position{}); ; {
		head, err := r.fill(ctx)
		if err != nil {
			return err
		}
		read := len(r.chunk) > 0
		if err := r.trimmed(yield); err != nil {
			return ignoreStop(err)
		}
		if len(r.chunk) > 0 {
			if err := r.yield(yield); err != nil {
				return ignoreStop(err)
			}
			said = r.at
		}
		if read {
			continue
		}
		if r.at.Block < head {
			r.at = r.s.position(head)
		}
		if r.at != said {
			said = r.at
			if !yield(store.Batch{At: r.at, Next: r.at}, nil) {
				return nil
			}
		}
		if r.early {
			continue
		}
		if !r.o.Follow {
			return nil
		}
		if r.wait(ctx, grown) {
			said = store.Position{}
		}
	}
}

func ignoreStop(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// wait waits at the head, and reports whether it was in vain.
func (r *reader) wait(ctx context.Context, grown waiter) bool {
	r.free() // an idle reader holds nothing
	timer := time.NewTimer(r.o.Progress)
	defer timer.Stop()
	select {
	case <-grown:
	case <-ctx.Done():
	case <-r.s.done:
	case <-timer.C:
		return true
	}
	return false
}

// yield yields the chunk.
func (r *reader) yield(yield func(store.Batch, error) bool) error {
	for _, e := range r.chunk {
		if e.at < r.at.Block {
			continue // trimmed since
		}
		at := r.s.position(e.at)
		if e.at == r.at.Block {
			at.Index = r.at.Index
		}
		next := r.s.position(max(e.at+1, e.end))
		if e.err != nil {
			r.at = next
			if !yield(store.Batch{At: at, Next: next}, &store.DamageError{From: at, To: next, Topic: e.topic, Err: e.err}) {
				return errStop
			}
			continue
		}
		envelope, encoded, err := cutEnvelope(r.bytes[e.from:e.to])
		if err == nil {
			err = r.block.Decode(encoded)
		}
		if err == nil && r.block.Topic != e.topic {
			err = fmt.Errorf("a block of topic %q", r.block.Topic)
		}
		r.at = next
		if err != nil {
			if !yield(store.Batch{At: at, Next: next}, &store.DamageError{From: at, To: next, Topic: e.topic, Err: err}) {
				return errStop
			}
			continue
		}
		if int(at.Index) >= len(r.block.Lengths) || !r.o.Producer.IsZero() && r.block.Producer != r.o.Producer {
			continue
		}
		if !yield(store.Batch{At: at, Next: next, Time: envelope.stamp(), Block: &r.block}, nil) {
			return errStop
		}
	}
	return nil
}

// trimmed yields what was trimmed where the reader would have come to.
func (r *reader) trimmed(yield func(store.Batch, error) bool) error {
	fresh := r.fresh
	r.fresh = false
	if r.s.topics.trimmed.Load() <= r.at.Block {
		return nil
	}
	all := r.s.topics.matching(r.topics)
	sortTopics(all)
	for _, t := range all {
		to := t.trimmed.Load()
		if to <= max(r.at.Block, r.told[t.name]) {
			continue
		}
		if r.told == nil {
			r.told = map[string]uint64{}
		}
		r.told[t.name] = to
		err := &store.TrimmedError{From: r.at, To: r.s.position(to), Topic: t.name}
		r.drop(t.name, to)
		if fresh {
			continue
		}
		if _, one := r.only(); one {
			r.at = err.To
		}
		if !yield(store.Batch{At: err.From, Next: r.at}, err) {
			return errStop
		}
	}
	return nil
}

// drop takes what was trimmed out of the chunk, which was read before.
func (r *reader) drop(topic string, to uint64) {
	kept := r.chunk[:0]
	for _, e := range r.chunk {
		end := max(e.at+1, e.end)
		switch {
		case e.topic != topic || e.at >= to:
			kept = append(kept, e)
		case end > to: // damage
			e.at = to
			kept = append(kept, e)
		case len(kept) == 0 && r.at.Block < end:
			r.at = r.s.position(end)
		}
	}
	r.chunk = kept
}

func sortTopics(all []*topic) {
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
}

// only returns the one topic that is read, where it is one.
func (r *reader) only() (string, bool) {
	if len(r.o.Topics) != 1 || strings.HasSuffix(r.o.Topics[0], "*") {
		return "", false
	}
	return r.o.Topics[0], true
}

// fill reads the next chunk. Where there is none, all below the returned position
// is done.
func (r *reader) fill(ctx context.Context) (head uint64, err error) {
	for {
		if err := r.ask(ctx); err != nil {
			return 0, err
		}
		head, err := r.fillRoom(ctx)
		if err != nil || r.room.need == 0 {
			return head, err
		}
	}
}

// fillRoom is fill with the room that there is. Where that is not enough for one
// block, room.need says how much is.
func (r *reader) fillRoom(ctx context.Context) (head uint64, err error) {
	if err := r.s.enter(ctx); err != nil {
		return 0, err
	}
	defer r.s.leave()
	r.chunk, r.bytes, r.early = r.chunk[:0], r.bytes[:0], false
	head = r.s.order.head.Load()
	if r.at.Block >= head {
		return head, nil
	}
	if name, one := r.only(); one {
		return head, r.fillTopic(name, head)
	}
	return r.fillOrder(ctx, head)
}

// fillTopic reads blocks of one topic.
func (r *reader) fillTopic(name string, head uint64) error {
	it, err := r.s.db.NewIter(bounds(blockKey(name, r.at.Block), blockKey(name, head)))
	if err != nil {
		return unreadable(err)
	}
	defer it.Close()
	from := r.at.Block
	for it.First(); it.Valid() && len(r.bytes) < r.room.full; it.Next() {
		_, at, _ := splitBlockKey(it.Key())
		v, err := it.ValueAndErr()
		if err != nil {
			break
		}
		if !r.add(name, at, v) {
			return nil
		}
		from = at + 1
	}
	if it.Error() != nil {
		r.damage(name, from, r.s.behind(from, head, func(at uint64) []byte { return blockKey(name, at) }), it.Error())
	}
	return nil
}

// add adds a block to the chunk, and reports whether there was room for it.
func (r *reader) add(topic string, at uint64, v []byte) bool {
	if !r.fits(v) {
		return false
	}
	n := len(r.bytes)
	r.bytes = append(r.bytes, v...)
	r.chunk = append(r.chunk, stored{at: at, topic: topic, from: n, to: len(r.bytes)})
	return true
}

func (r *reader) damage(topic string, at, end uint64, err error) {
	r.chunk = append(r.chunk, stored{at: at, topic: topic, err: brief{err}, end: end})
}

// fillOrder reads blocks of several topics, in their order.
func (r *reader) fillOrder(ctx context.Context, head uint64) (done uint64, err error) {
	it, err := r.s.db.NewIter(bounds(orderKey(r.at.Block), orderKey(head)))
	if err != nil {
		return 0, unreadable(err)
	}
	defer it.Close()
	// One iterator serves all blocks: those of one topic often follow each
	// other.
	blocks, err := r.s.db.NewIter(bounds([]byte{prefixBlock}, []byte{prefixBlock + 1}))
	if err != nil {
		return 0, unreadable(err)
	}
	defer blocks.Close()
	from := r.at.Block
	var key []byte
	last := ""
	began := time.Now()
	it.First()
	for n := 1; it.Valid(); n, _ = n+1, it.Next() {
		if len(r.bytes) >= r.room.full || len(r.chunk) >= 4096 {
			return from, nil
		}
		if n%scanLook == 0 {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			if time.Since(began) >= min(r.o.Progress, sayEvery) {
				r.early = true
				return from, nil
			}
		}
		at := binary.BigEndian.Uint64(it.Key()[1:])
		from = at + 1
		_, topic, err := splitPlace(it.Value())
		if err != nil {
			r.damage("", at, at+1, err)
			continue
		}
		if string(topic) != last {
			last = string(topic)
		}
		if !r.topics.Match(last) {
			continue
		}
		if !valid(blocks, key) || !blocks.Next() || !isBlock(blocks.Key(), last, at) {
			blocks.SeekGE(blockKey(last, at))
		}
		key = key[:0]
		switch v, err := valueOf(blocks); {
		case err != nil:
			r.damage(last, at, at+1, err)
		case v != nil && isBlock(blocks.Key(), last, at):
			if !r.add(last, at, v) {
				return at, nil
			}
			key = append(key, blocks.Key()...)
		case !r.s.isTrimmed(last, at):
			r.damage(last, at, at+1, errMissing)
		}
	}
	if it.Error() != nil {
		r.fillAround(from, head, it.Error())
	}
	return head, nil
}

var errMissing = errors.New("the block is missing")

func valid(it *engine.Iterator, key []byte) bool { return len(key) > 0 && it.Valid() }

func isBlock(key []byte, topic string, at uint64) bool {
	name, n, ok := splitBlockKey(key)
	return ok && n == at && string(name) == topic
}

func valueOf(it *engine.Iterator) ([]byte, error) {
	if !it.Valid() {
		return nil, it.Error()
	}
	return it.ValueAndErr()
}

// fillAround reads the blocks whose places in the order can't be read: from
// the topics themselves.
func (r *reader) fillAround(from, head uint64, cause error) {
	end := r.s.behind(from, head, orderKey)
	var found []stored
	for _, t := range r.s.topics.matching(r.topics) {
		at := from
		for at < end {
			it, err := r.s.db.NewIter(bounds(blockKey(t.name, at), blockKey(t.name, end)))
			if err != nil {
				break
			}
			for it.First(); it.Valid(); it.Next() {
				_, n, _ := splitBlockKey(it.Key())
				found = append(found, stored{at: n, topic: t.name})
				at = n + 1
			}
			failed := it.Error()
			it.Close()
			if failed == nil {
				break
			}
			to := r.s.behind(at, end, func(at uint64) []byte { return blockKey(t.name, at) })
			found = append(found, stored{at: at, topic: t.name, err: brief{failed}, end: to})
			at = to
		}
	}
	slices.SortFunc(found, func(a, b stored) int { return cmp.Compare(a.at, b.at) })
	for _, e := range found {
		if e.err != nil {
			r.chunk = append(r.chunk, e)
			continue
		}
		if v, err := r.s.get(blockKey(e.topic, e.at)); err != nil {
			r.damage(e.topic, e.at, e.at+1, err)
		} else if !r.add(e.topic, e.at, v) {
			return
		}
	}
	if len(found) == 0 {
		r.damage("", from, end, cause)
	}
}

// behind returns the lowest position from which on the engine can read again,
// at most head, where it can't from one on. What it can't read is one piece, as
// a rule: a damaged part of a file.
func (s *Store) behind(from, head uint64, key func(uint64) []byte) uint64 {
	bad := from
	step := uint64(1)
	good := head
	for bad+step < head {
		if s.canRead(key(bad+step), key(head)) {
			good = bad + step
			break
		}
		bad += step
		step *= 2
	}
	for bad+1 < good {
		middle := bad + (good-bad)/2
		if s.canRead(key(middle), key(head)) {
			good = middle
		} else {
			bad = middle
		}
	}
	return good
}

func (s *Store) canRead(from, to []byte) bool {
	it, err := s.db.NewIter(bounds(from, to))
	if err != nil {
		return false
	}
	defer it.Close()
	it.First()
	_, err = valueOf(it)
	return err == nil
}

func (s *Store) isTrimmed(topic string, at uint64) bool {
	s.topics.mu.RLock()
	t := s.topics.byName[topic]
	s.topics.mu.RUnlock()
	return t != nil && at < t.trimmed.Load()
}
