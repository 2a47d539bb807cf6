package log

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Read implements [store.Log].
func (s *Store) Read(ctx context.Context, from store.Position, o store.ReadOptions) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		r := &reader{s: s, o: o, topics: store.NewPatterns(o.Topics), at: from, fresh: from.IsZero()}
		defer r.free(ctx)
		err := r.begin(ctx)
		if err == nil {
			err = r.read(ctx, yield)
		}
		if errors.Is(err, errStop) {
			r.keepLast()
		} else if err != nil {
			yield(store.ReadBatch{}, err)
		}
	}
}

// A reader is one Read. While it waits, or its caller works, it holds nothing of the
// store except an open file.
type reader struct {
	s      *Store
	o      store.ReadOptions
	topics *store.Patterns   // o.Topics
	at     store.Position    // everything before it is done
	said   store.Position    // the caller knows that everything before it is done
	fresh  bool              // trims before the reading are not reported
	told   map[string]uint64 // the trims of each topic that were reported

	trims uint64 // topics.trims as of the last look

	segment *segment     // the last one read
	off     int64        // where reading goes on in it
	parts   []part       // of it, still to be read
	planned uint64       // everything before it is in parts, or not selected
	sc      *scanner     // of the first part
	block   *store.Block // scratch; nil until needed
	largest int64        // largest size decoded into block, in bytes
	held    int64        // bytes held of the read's room
	worked  int64        // bytes decoded since the reader last yielded the processor
	quiet   time.Time    // when the reader last yielded a batch
}

// politeBytes is how much a reader decodes before it yields the processor. Appends need
// it for short times, again and again, and must not wait for readers that lag behind.
const politeBytes = 128 << 10

// errStop ends a read whose loop has ended.
var errStop = errors.New("stop")

// begin checks the arguments of the read.
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
	if err := r.s.within(r.at); err != nil {
		return err
	}
	r.at.Tag = r.s.tag
	return nil
}

// leave closes what the reader has open.
func (r *reader) leave() {
	if r.sc != nil {
		r.sc.close()
	}
	r.sc, r.parts, r.planned = nil, nil, 0
}

func (r *reader) read(ctx context.Context, yield func(store.ReadBatch, error) bool) error {
	if err := r.gap(yield); err != nil {
		return err
	}
	var grown chan struct{} // has a token if there may be something new
	if r.o.Follow {
		grown = make(chan struct{}, 1)
		defer r.s.Alert(r.o.Topics, func() {
			select {
			case grown <- struct{}{}:
			default:
			}
		})()
	}
	for {
		if err := r.trimmed(yield); err != nil {
			return err
		}
		head, more, err := r.step(ctx, yield)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if r.at.Block < head {
			r.at = r.s.position(head)
		}
		if r.at != r.said {
			r.said = r.at
			if !yield(store.ReadBatch{At: r.at, Next: r.at}, nil) {
				return nil
			}
		}
		if !r.o.Follow {
			return nil
		}
		if r.wait(ctx, grown) {
			r.said = store.Position{}
		}
	}
}

// wait waits at the head for something new. It reports whether it timed out.
func (r *reader) wait(ctx context.Context, grown <-chan struct{}) bool {
	r.free(ctx) // an idle reader holds nothing
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

// step reads the next frame and yields its blocks. It reports whether there was a frame;
// if not, everything before head is done.
func (r *reader) step(ctx context.Context, yield func(store.ReadBatch, error) bool) (head uint64, more bool, err error) {
	window, err := r.window(ctx)
	if err != nil {
		return 0, false, err
	}
	found, head, err := r.next(ctx, window)
	if errors.Is(err, errTrimmed) {
		return head, true, nil
	}
	if err != nil {
		return head, false, err
	}
	if r.sc != nil && r.sc.want > 0 { // a large frame
		want := r.sc.want
		if err := r.ask(ctx, int64(want)+someRoom); err != nil {
			return head, false, err
		}
		r.sc.room = want
		return head, true, nil
	}
	if !found {
		return head, false, nil
	}
	if d := r.sc.damage; d != nil {
		return head, true, r.damaged(yield, d)
	}
	f := &r.sc.frame
	for pos, it := range f.blocks() {
		if pos < r.at.Block {
			continue
		}
		// What was read is settled, but the head is updated a moment later.
		for r.s.topics.head.Load() <= pos && ctx.Err() == nil {
			runtime.Gosched()
		}
		if err := r.yield(ctx, yield, it, pos, f.time); err != nil {
			return head, true, err
		}
	}
	r.sc.room = window
	return head, true, r.progress(yield)
}

// progress yields the reader's position if it has yielded nothing for a while.
func (r *reader) progress(yield func(store.ReadBatch, error) bool) error {
	switch now := time.Now(); {
	case r.at == r.said || r.quiet.IsZero():
		r.quiet = now
	case now.Sub(r.quiet) >= r.o.Progress:
		r.quiet, r.said = now, r.at
		if !yield(store.ReadBatch{At: r.at, Next: r.at}, nil) {
			return errStop
		}
	}
	return nil
}

// next advances to the next frame or damage.
func (r *reader) next(ctx context.Context, window int) (found bool, head uint64, err error) {
	if err := r.s.enter(ctx); err != nil {
		return false, 0, err
	}
	defer r.s.leave()
	head = r.s.topics.head.Load()
	for {
		if r.sc != nil {
			if r.sc.next() || r.sc.want > 0 {
				return true, head, nil
			}
			err := r.sc.err
			r.sc.close()
			r.sc = nil
			if err != nil {
				return false, head, unavailable(err)
			}
			r.off, r.parts = r.parts[0].to, r.parts[1:]
		}
		if len(r.parts) == 0 {
			if r.at.Block < r.planned { // the rest is not selected
				r.at = r.s.position(r.planned)
			}
			if r.at.Block >= head {
				return false, head, nil
			}
			ok, err := r.plan(head)
			if r.freed(err) {
				continue
			}
			if err != nil || !ok {
				return false, head, err
			}
			continue
		}
		p := r.parts[0]
		r.sc, err = r.s.scan(r.segment, p.from, p.to)
		if r.freed(err) {
			continue
		}
		if err != nil {
			return false, head, unavailable(err)
		}
		r.sc.heads = true // bodies are verified when blocks are decoded
		r.sc.pos, r.sc.gaps, r.sc.room = p.pos, true, window
	}
}

// freed reports whether err means that the reader's segment is gone because everything in
// it was trimmed. The reader then goes on after it.
func (r *reader) freed(err error) bool {
	if !r.s.freed(r.segment, err) {
		return false
	}
	r.leave()
	return true
}

// errTrimmed says that something was trimmed, which must be reported first.
var errTrimmed = errors.New("trimmed")

// plan chooses the parts to read next, of the current segment or the next one. It reports
// whether there are any.
func (r *reader) plan(head uint64) (ok bool, err error) {
	all := r.s.segments.list()
	if r.trims != r.s.topics.trims.Load() {
		return false, errTrimmed // the trimmed blocks may be in none of them
	}
	for _, g := range all {
		end := min(g.end.Load(), head)
		if end <= r.at.Block {
			continue
		}
		if r.segment != g {
			r.segment, r.off = g, 0
		}
		if r.parts, err = r.s.spans(g, r.at.Block, r.topics); err != nil {
			return false, unavailable(err)
		}
		r.parts = slices.DeleteFunc(r.parts, func(p part) bool { return p.to <= r.off })
		if len(r.parts) > 0 && r.parts[0].from < r.off {
			r.parts[0].from, r.parts[0].pos = r.off, r.at.Block
		}
		r.planned = end
		return true, nil
	}
	return false, nil
}

// yield yields a block that the reader selects.
func (r *reader) yield(ctx context.Context, yield func(store.ReadBatch, error) bool, it *item, pos uint64, time int64) error {
	at, next := r.s.position(pos), r.s.position(pos+1)
	if pos == r.at.Block {
		at.Index = r.at.Index
	}
	if r.block == nil {
		r.block = blocks.Get().(*store.Block)
	}
	if !r.topics.Every() {
		if _, err := r.block.PeekHead(it.data[:it.head]); err == nil && !r.topics.Match(r.block.Topic) {
			r.at = next
			return nil
		}
	}
	if err := r.ask(ctx, int64(cap(r.sc.window))+it.decoded()); err != nil {
		return err
	}
	r.largest = max(r.largest, it.decoded())
	err := r.block.Decode(it.data)
	if err != nil {
		return r.broken(yield, it, at, next, err)
	}
	if r.worked += it.decoded(); r.worked >= politeBytes {
		r.worked = 0
		runtime.Gosched()
	}
	r.at = next
	if int(at.Index) >= len(r.block.Lengths) || !r.o.Producer.IsZero() && r.block.Producer != r.o.Producer ||
		pos < r.told[r.block.Topic] {
		return nil
	}
	r.said = next
	if !yield(store.ReadBatch{At: at, Next: next, Time: stamp(time), Block: r.block}, nil) {
		return errStop
	}
	return nil
}

// broken yields the damage of a block whose head is intact.
func (r *reader) broken(yield func(store.ReadBatch, error) bool, it *item, at, next store.Position, err error) error {
	var b store.Block
	topic := topicOf(&b, it)
	if r.s.isTrimmed(topic, at.Block) {
		r.at = next
		return nil
	}
	return r.tell(yield, &store.DamageError{From: at, To: next, Topic: topic, Err: err})
}

// damaged yields that a part of a segment can't be read.
func (r *reader) damaged(yield func(store.ReadBatch, error) bool, d *hole) error {
	from, to := r.at, r.s.position(d.to)
	if d.to == 0 {
		to = r.s.position(r.parts[0].end)
	}
	if to.Block <= from.Block { // it held no block
		return nil
	}
	err := d.err
	if r.segment.Lost == "" { // Lost says everything
		err = fmt.Errorf("%s at %d: %w", r.segment.name(), d.off, err)
	}
	return r.tell(yield, &store.DamageError{From: from, To: to, Err: err})
}

func (r *reader) tell(yield func(store.ReadBatch, error) bool, d *store.DamageError) error {
	r.at, r.said = d.To, d.To
	if !yield(store.ReadBatch{At: d.From, Next: d.To}, d) {
		return errStop
	}
	return nil
}

// trimmed yields what was trimmed of the topics since the reader's position.
func (r *reader) trimmed(yield func(store.ReadBatch, error) bool) error {
	fresh := r.fresh
	r.fresh = false
	trims := r.s.topics.trims.Load()
	if trims == r.trims {
		return nil
	}
	if r.trims = trims; r.s.topics.trimmed.Load() <= r.at.Block {
		return nil
	}
	for _, t := range r.s.topics.matching(r.topics) {
		to := t.trimmed.Load()
		if to <= max(r.at.Block, r.told[t.name]) {
			continue
		}
		if r.told == nil {
			r.told = map[string]uint64{}
		}
		r.told[t.name] = to
		if fresh {
			continue
		}
		err := &store.TrimmedError{From: r.at, To: r.s.position(to), Topic: t.name}
		if r.only() {
			r.at = err.To
			r.leave()
		}
		if !yield(store.ReadBatch{At: err.From, Next: r.at}, err) {
			return errStop
		}
	}
	return nil
}

// only reports whether the reader selects a single topic by name.
func (r *reader) only() bool { return len(r.o.Topics) == 1 && !strings.HasSuffix(r.o.Topics[0], "*") }

// gap yields the loss of a position that was handed out before the log was opened, and
// that the log does not know.
func (r *reader) gap(yield func(store.ReadBatch, error) bool) error {
	for _, g := range r.s.head.Gaps {
		if g.From < r.at.Block && r.at.Block < g.To {
			return r.tell(yield, &store.DamageError{From: r.at, To: r.s.position(g.To), Err: errGap})
		}
	}
	return nil
}

var errGap = errors.New("the position was given, and what stood before it is not there")

func (s *Store) isTrimmed(topic string, at uint64) bool {
	s.topics.mu.RLock()
	t := s.topics.byName[topic]
	s.topics.mu.RUnlock()
	return t != nil && at < t.trimmed.Load()
}
