package storetest_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
	"github.com/dictwire/dictwire/store/storetest"
)

// TestForeign runs the contract against a store that shares nothing with those who
// use it: a broker, and servers in front of it that know only what its messages
// say, late, by clocks that differ. Positions have gaps between them.
func TestForeign(t *testing.T) {
	brokers := map[*front]*broker{}
	add := func(b *broker, clock time.Duration) store.Store {
		f := newFront(b, clock)
		brokers[f] = b
		return f
	}
	storetest.Run(t, storetest.Driver{
		Open: func(t testing.TB) store.Store { return add(newBroker(t), 0) },
		Second: func(_ testing.TB, s store.Store) store.Store {
			return add(brokers[s.(*front)], -time.Hour)
		},
		Importing: func(t testing.TB) (storetest.Importing, func(bool) (storetest.Importing, error)) {
			b := newBroker(t)
			return newFront(b, 0), func(goesOn bool) (storetest.Importing, error) {
				f := newFront(b, 0)
				if is, err := f.Imported(t.Context()); err != nil || !goesOn && !is.Complete {
					return nil, cmp.Or(err, store.ErrHalf)
				}
				return f, nil
			}
		},
	})
}

// A broker has the truth, in a goroutine of its own. It is reached through a channel
// alone.
type broker struct {
	tag  string
	work chan func()
	done chan struct{}

	running sync.WaitGroup // it, and the servers

	// Of the goroutine:
	log       []event
	head      uint64
	epoch     uint64
	producers map[store.Producer]*account
	cursors   map[store.CursorName]*account
	copied    store.Copied
	fronts    []chan<- event
}

// An account is what a broker has of a producer or a cursor.
type account struct {
	store.ProducerState
	rejected []store.Rejection
	saved    store.SavedCursor
	lasts    bool // there is a claim of the cursor
}

// An event is what a broker tells all servers, in order.
type event struct {
	topic string // of a block, or of what was trimmed below at; or ""
	block []byte // as it is laid out, or nil
	at    uint64
	time  int64

	fenced any // a producer or a cursor, whose claims below epoch are lost
	epoch  uint64
}

const step = 10 // from a position to the next

func newBroker(t testing.TB) *broker {
	b := &broker{
		tag: store.NewTag(), work: make(chan func()), done: make(chan struct{}), head: step,
		producers: map[store.Producer]*account{}, cursors: map[store.CursorName]*account{},
	}
	b.running.Go(func() {
		for {
			select {
			case f := <-b.work:
				f()
			case <-b.done:
				for _, c := range b.fronts {
					close(c)
				}
				return
			}
		}
	})
	t.Cleanup(func() { close(b.done); b.running.Wait() })
	return b
}

// tell tells all servers of an event.
func (b *broker) tell(e event) {
	b.log = append(b.log, e)
	for _, c := range b.fronts {
		c <- e
	}
}

// A parcel is a block on its way to the broker.
type parcel struct {
	layout   []byte
	producer store.Producer
	bad      error // why it can't be stored, nor the others of its producer
}

// append stores blocks, and returns what Append answers.
func (b *broker) append(parcels []parcel, now time.Time) []store.Result {
	blocks := make([]*store.Block, len(parcels))
	results := make([]store.Result, len(parcels))
	all := map[store.Producer]store.Numbering{}
	for i, p := range parcels {
		blocks[i] = &store.Block{Producer: p.producer}
		if results[i].Err = p.bad; p.bad == nil {
			results[i].Err = blocks[i].Decode(p.layout)
		}
		if results[i].Err != nil {
			continue
		}
		if p := blocks[i].Producer; !p.IsZero() {
			n := store.Numbering{Producer: p}
			if a := b.producers[p]; a != nil {
				n.Before = a.ProducerState
			}
			all[p] = n
		}
	}
	numbers := slices.SortedFunc(maps.Values(all), func(x, y store.Numbering) int { return x.Producer.Compare(y.Producer) })
	store.Decide(blocks, results, numbers, now)
	for _, n := range numbers {
		if a := b.producers[n.Producer]; a != nil {
			a.ProducerState = n.After
		}
	}
	for i, bl := range blocks {
		if results[i].Err != nil {
			continue
		}
		results[i].Position = store.Position{Tag: b.tag, Block: b.head}
		if len(bl.Rejected) > 0 {
			a := b.producers[bl.Producer]
			a.rejected = append(a.rejected, bl.Rejected...)
		}
		b.tell(event{topic: bl.Topic, block: parcels[i].layout, at: b.head, time: now.UnixNano()})
		b.head += step
	}
	return results
}

func (b *broker) within(p store.Position) error {
	return p.Within(b.tag, store.Position{Tag: b.tag, Block: b.head})
}

// A front is a server's Store.
type front struct {
	b     *broker
	clock time.Duration // how it differs

	writers claims.Table[store.Producer]
	readers claims.Table[store.CursorName]

	mu      sync.Mutex
	seen    int                        // guarded by mu: events that have come
	blocks  []event                    // guarded by mu: those that are not trimmed
	trims   []event                    // guarded by mu
	stats   map[string]store.TopicStat // guarded by mu
	head    uint64                     // guarded by mu
	last    int64                      // guarded by mu
	fences  map[any]uint64             // guarded by mu: the epochs that are told
	changed chan struct{}              // guarded by mu: closed when an event has come
}

func newFront(b *broker, clock time.Duration) *front {
	f := &front{b: b, clock: clock, head: step, stats: map[string]store.TopicStat{}, fences: map[any]uint64{}, changed: make(chan struct{})}
	events := make(chan event, 1<<16)
	f.do(func() {
		for _, e := range b.log {
			events <- e
		}
		b.fronts = append(b.fronts, events)
	})
	b.running.Go(func() {
		for e := range events {
			late()
			f.hear(e)
		}
	})
	return f
}

// late is how long a message takes.
func late() {
	if rand.IntN(8) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

// do does something at the broker.
func (f *front) do(what func()) {
	late()
	done := make(chan struct{})
	f.b.work <- func() { what(); close(done) }
	<-done
	late()
}

// change is do, and waits until this server has heard of what was done.
func (f *front) change(ctx context.Context, what func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	events := 0
	f.do(func() { what(); events = len(f.b.log) })
	for {
		f.mu.Lock()
		seen, changed := f.seen, f.changed
		f.mu.Unlock()
		if seen >= events {
			return nil
		}
		<-changed
	}
}

// hear takes note of what the broker says.
func (f *front) hear(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	defer func() { close(f.changed); f.changed = make(chan struct{}) }()
	switch {
	case e.fenced != nil:
		f.fences[e.fenced] = e.epoch
		f.fence(e.fenced)
		return
	case e.block != nil:
		f.last = max(f.last, e.time) // as every reader from the beginning has it
		e.time = f.last
		f.blocks = append(f.blocks, e)
		f.head = e.at + step
	default:
		f.trims = append(f.trims, e)
		f.blocks = slices.DeleteFunc(f.blocks, func(b event) bool { return b.at < e.at && b.topic == e.topic })
	}
	f.restat(e)
}

// fence ends the claim of whoever has lost it. f.mu is held.
func (f *front) fence(name any) {
	switch name := name.(type) {
	case store.Producer:
		if epoch, _ := f.writers.Get(name); epoch < f.fences[name] {
			f.writers.End(name)
		}
	case store.CursorName:
		if epoch, _ := f.readers.Get(name); epoch < f.fences[name] {
			f.readers.End(name)
		}
	}
}

// restat counts a topic anew. f.mu is held.
func (f *front) restat(e event) {
	s := f.stats[e.topic]
	s = store.TopicStat{Name: e.topic, First: s.Next, Next: s.Next}
	var b store.Block
	for _, block := range f.blocks {
		if block.topic != e.topic {
			continue
		}
		_ = b.Decode(block.block)
		if s.Blocks == 0 {
			s.First, s.Oldest = f.position(block.at), time.Unix(0, block.time).UTC()
		}
		s.Blocks++
		s.Records += uint64(len(b.Lengths))
		s.Bytes += uint64(len(b.Data))
		s.Next, s.Newest = f.position(block.at+1), time.Unix(0, block.time).UTC()
	}
	f.stats[e.topic] = s
}

func (f *front) position(block uint64) store.Position {
	return store.Position{Tag: f.b.tag, Block: block}
}

func (f *front) Limits() store.Limits {
	return store.Limits{Durability: store.Replicated, BlockBytes: 1 << 20}
}

func (f *front) Ready(context.Context) error { return nil }

func (f *front) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	parcels := make([]parcel, len(blocks))
	for i, b := range blocks {
		p := parcel{producer: b.Producer, bad: b.Check()}
		switch {
		case p.bad != nil:
		case len(b.Data) > f.Limits().BlockBytes:
			p.bad = fmt.Errorf("a block of %d bytes", len(b.Data))
		default:
			p.layout = b.AppendEncoded(nil, nil)
		}
		parcels[i] = p
	}
	results := make([]store.Result, len(blocks))
	if err := f.change(ctx, func() { results = f.b.append(parcels, time.Now().Add(f.clock)) }); err != nil {
		for i := range results {
			results[i].Err = err
		}
	}
	return results
}

func (f *front) Read(ctx context.Context, from store.Position, o store.ReadOptions) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		if err := f.begin(ctx, from, o); err != nil {
			yield(store.ReadBatch{}, err)
			return
		}
		if o.Room != nil {
			defer o.Room.Want(ctx, 0)
		}
		r := &reader{f: f, o: o, at: f.position(from.Block), told: map[string]uint64{}}
		r.at.Index = from.Index
		if from.IsZero() {
			f.mu.Lock()
			for _, e := range f.trims { // it misses nothing that was trimmed before
				r.told[e.topic] = max(r.told[e.topic], e.at)
			}
			f.mu.Unlock()
		}
		for ctx.Err() == nil {
			batch, changed, err := r.next()
			if batch.Block != nil && o.Room != nil {
				if err := o.Room.Need(ctx, int64(len(batch.Block.Data))); err != nil {
					yield(store.ReadBatch{}, err)
					return
				}
			}
			if !yield(batch, err) {
				return
			}
			if batch.Block != nil || err != nil {
				continue
			}
			if !o.Follow {
				return
			}
			progress := time.NewTimer(cmp.Or(o.Progress, 5*time.Second))
			for waiting := true; waiting; {
				select {
				case <-changed:
					waiting = !r.more()
					f.mu.Lock()
					changed = f.changed
					f.mu.Unlock()
				case <-progress.C:
					waiting = false
				case <-ctx.Done():
					waiting = false
				}
			}
			progress.Stop()
		}
		yield(store.ReadBatch{}, context.Cause(ctx))
	}
}

// begin checks where a read begins: this server may not have heard of it yet.
func (f *front) begin(ctx context.Context, from store.Position, o store.ReadOptions) error {
	for _, p := range o.Topics {
		if err := store.CheckPattern(p); err != nil {
			return err
		}
	}
	return f.CheckPosition(ctx, from)
}

// A reader is one Read.
type reader struct {
	f    *front
	o    store.ReadOptions
	at   store.Position
	told map[string]uint64 // the trims that were told
	last int64             // the time of the last batch
}

// next returns the next batch, or progress and what tells of more.
func (r *reader) next() (store.ReadBatch, <-chan struct{}, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if e := r.trim(); e != nil {
		r.told[e.topic] = e.at
		return store.ReadBatch{At: r.at, Next: r.at}, nil, &store.TrimmedError{From: r.at, To: r.f.position(e.at), Topic: e.topic}
	}
	for _, e := range r.f.blocks {
		at := r.f.position(e.at)
		if e.at == r.at.Block {
			at.Index = r.at.Index
		}
		b := new(store.Block)
		if at.Compare(r.at) < 0 || b.Decode(e.block) != nil || int(at.Index) >= len(b.Lengths) || !r.wants(b) {
			continue
		}
		r.at = r.f.position(e.at + 1)
		r.last = max(r.last, e.time)
		return store.ReadBatch{At: at, Next: r.at, Time: time.Unix(0, r.last).UTC(), Block: b}, nil, nil
	}
	r.at = r.f.position(max(r.f.head, r.at.Block))
	return store.ReadBatch{At: r.at, Next: r.at}, r.f.changed, nil
}

func (r *reader) wants(b *store.Block) bool {
	return store.Match(r.o.Topics, b.Topic) && (r.o.Producer.IsZero() || r.o.Producer == b.Producer)
}

// trim returns a trim that the reader has to be told of. f.mu is held.
func (r *reader) trim() *event {
	for i := range r.f.trims {
		e := &r.f.trims[i]
		if e.at > max(r.at.Block, r.told[e.topic]) && store.Match(r.o.Topics, e.topic) {
			return r.lastTrim(e.topic)
		}
	}
	return nil
}

// lastTrim returns the furthest trim of a topic. f.mu is held.
func (r *reader) lastTrim(topic string) (last *event) {
	for i := range r.f.trims {
		if e := &r.f.trims[i]; e.topic == topic && (last == nil || e.at > last.at) {
			last = e
		}
	}
	return last
}

// more reports whether next has something that is not progress.
func (r *reader) more() bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.trim() != nil {
		return true
	}
	return slices.ContainsFunc(r.f.blocks, func(e event) bool {
		b := new(store.Block)
		return e.at >= r.at.Block && b.DecodeHead(e.block) == nil && r.wants(b)
	})
}

func (f *front) CheckPosition(ctx context.Context, p store.Position) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.do(func() { err = f.b.within(p) })
	return err
}

func (f *front) Seek(_ context.Context, t time.Time) (store.Position, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.blocks {
		if !time.Unix(0, e.time).Before(t) {
			return f.position(e.at), nil
		}
	}
	return f.position(f.head), nil
}

func (f *front) Backlog(ctx context.Context, from store.Position, topics []string) (records uint64, err error) {
	for b, err := range f.Read(ctx, from, store.ReadOptions{Topics: topics}) {
		switch {
		case err != nil && b.Next.IsZero():
			return 0, err
		case b.Block != nil:
			records += uint64(len(b.Block.Lengths)) - uint64(b.At.Index)
		}
	}
	return records, nil
}

func (f *front) Known(_ context.Context, after store.Producer, limit int) (all []store.KnownProducer, err error) {
	f.do(func() {
		for p, a := range f.b.producers {
			if p.Principal == after.Principal && p.Compare(after) > 0 && a.Known(time.Now()) {
				all = append(all, store.KnownProducer{Producer: p, Next: a.Next, Seen: a.Seen})
			}
		}
	})
	slices.SortFunc(all, func(a, b store.KnownProducer) int { return a.Compare(b.Producer) })
	return all[:min(len(all), limit)], nil
}

func (f *front) Head(context.Context) (store.Position, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position(f.head), nil
}

func (f *front) Topics(_ context.Context, patterns ...string) ([]store.TopicStat, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.SortedFunc(maps.Values(f.stats), func(a, b store.TopicStat) int { return strings.Compare(a.Name, b.Name) })
	return slices.DeleteFunc(all, func(t store.TopicStat) bool { return !store.Match(patterns, t.Name) }), nil
}

func (f *front) Trim(ctx context.Context, topic string, before store.Position) (err error) {
	return cmp.Or(f.change(ctx, func() {
		if err = f.b.within(before); err != nil {
			return
		}
		to := uint64(0) // only what was there has been trimmed
		for _, e := range f.b.log {
			if e.block != nil && e.at < before.Block && e.topic == topic {
				to = e.at + 1
			}
		}
		if to > 0 {
			f.b.tell(event{topic: topic, at: to})
		}
	}), err)
}

func (f *front) Claim(ctx context.Context, p store.Producer, r store.ClaimRequest) (claim store.Claim, err error) {
	if err := p.Check(); err != nil {
		return claim, err
	}
	if err := f.change(ctx, func() {
		a := f.b.producers[p]
		if a == nil {
			a = &account{}
		}
		var state store.ProducerState
		if state, claim, err = a.Claim(r, f.b.epoch+1, time.Now()); err != nil {
			return
		}
		if claim.New {
			a.rejected = nil
		}
		f.b.epoch++
		a.ProducerState = state
		f.b.producers[p] = a
		f.b.tell(event{fenced: p, epoch: f.b.epoch})
	}); err != nil {
		return claim, err
	}
	if err == nil {
		claim.Fenced = f.writers.Put(p, claim.Epoch, 0)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fence(p) // another one may have come already
	}
	return claim, err
}

func (f *front) Release(p store.Producer, epoch uint64) { f.writers.Release(p, epoch) }

func (f *front) Rejections(_ context.Context, p store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		var all []store.Rejection
		f.do(func() {
			if a := f.b.producers[p]; a != nil {
				low := max(a.Next, store.Window) - store.Window
				for _, r := range a.rejected {
					if r.Number > after && r.Number >= low {
						all = append(all, r)
					}
				}
			}
		})
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *front) Forget(ctx context.Context, p store.Producer) error {
	return f.change(ctx, func() {
		delete(f.b.producers, p)
		f.b.epoch++
		f.b.tell(event{fenced: p, epoch: f.b.epoch})
	})
}

func (f *front) ClaimCursor(ctx context.Context, c store.CursorName, r store.CursorRequest) (claim store.CursorClaim, err error) {
	if err := f.change(ctx, func() {
		a, known := f.b.cursors[c]
		if !known {
			if err = f.b.within(r.From); err != nil {
				return
			}
			a = &account{saved: store.SavedCursor{CursorName: c}}
			a.save(f, r.From)
			f.b.cursors[c] = a
		}
		if r.Attempt != 0 && a.lasts && r.Attempt < a.Attempt {
			err = store.ErrStale
			return
		}
		f.b.epoch++
		a.Epoch, a.Attempt, a.lasts = f.b.epoch, r.Attempt, true
		claim = store.CursorClaim{Epoch: f.b.epoch, Position: a.saved.Position, New: !known}
		f.b.tell(event{fenced: c, epoch: f.b.epoch})
	}); err != nil {
		return claim, err
	}
	if err == nil {
		claim.Fenced = f.readers.Put(c, claim.Epoch, r.Attempt)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fence(c)
	}
	return claim, err
}

func (a *account) save(f *front, p store.Position) {
	p.Tag = f.b.tag
	a.saved.Position, a.saved.Saved = p, time.Now()
}

func (f *front) Commit(ctx context.Context, c store.CursorName, epoch uint64, p store.Position) (err error) {
	return cmp.Or(f.change(ctx, func() {
		a := f.b.cursors[c]
		if a == nil || !a.lasts || a.Epoch != epoch {
			err = store.ErrFenced
			return
		}
		if err = f.b.within(p); err == nil && p.Compare(a.saved.Position) > 0 {
			a.save(f, p)
		}
	}), err)
}

func (f *front) ReleaseCursor(c store.CursorName, epoch uint64) {
	f.readers.Release(c, epoch)
	f.do(func() {
		if a := f.b.cursors[c]; a != nil && a.Epoch == epoch {
			a.lasts = false
		}
	})
}

func (f *front) Cursor(ctx context.Context, c store.CursorName) (p store.Position, found bool, err error) {
	err = f.change(ctx, func() {
		if a := f.b.cursors[c]; a != nil {
			p, found = a.saved.Position, true
		}
	})
	return p, found, err
}

func (f *front) Reset(ctx context.Context, c store.CursorName, p store.Position) (err error) {
	return cmp.Or(f.change(ctx, func() {
		if err = f.b.within(p); err != nil {
			return
		}
		a := f.b.cursors[c]
		if a == nil {
			a = &account{saved: store.SavedCursor{CursorName: c}}
			f.b.cursors[c] = a
		}
		a.lasts = false
		a.save(f, p)
		f.b.epoch++
		f.b.tell(event{fenced: c, epoch: f.b.epoch})
	}), err)
}

func (f *front) ForgetCursor(ctx context.Context, c store.CursorName) error {
	return f.change(ctx, func() {
		delete(f.b.cursors, c)
		f.b.epoch++
		f.b.tell(event{fenced: c, epoch: f.b.epoch})
	})
}

func (f *front) Cursors(ctx context.Context) (all []store.SavedCursor, err error) {
	err = f.change(ctx, func() {
		for _, a := range f.b.cursors {
			all = append(all, a.saved)
		}
	})
	slices.SortFunc(all, func(a, b store.SavedCursor) int { return a.Compare(b.CursorName) })
	return all, err
}

func (f *front) Saved(context.Context) iter.Seq2[store.SavedProducer, error] {
	return func(yield func(store.SavedProducer, error) bool) {
		var all []store.SavedProducer
		f.do(func() {
			for p, a := range f.b.producers {
				if a.Known(time.Now()) {
					all = append(all, store.SavedProducer{Producer: p, ProducerState: a.ProducerState})
				}
			}
		})
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (f *front) Imported(context.Context) (is store.Copied, err error) {
	f.do(func() { is = f.b.copied })
	return is, nil
}

func (f *front) Import(ctx context.Context, was, to store.Copied, what store.Import) (err error) {
	return cmp.Or(f.change(ctx, func() {
		if f.b.copied != was {
			err = store.ErrFenced
			return
		}
		for _, batch := range what.Blocks {
			f.b.tell(event{topic: batch.Block.Topic, block: batch.Block.AppendEncoded(nil, nil), at: f.b.head, time: batch.Time.UnixNano()})
			f.b.head += step
		}
		for _, p := range what.Producers {
			f.b.epoch++
			a := &account{ProducerState: p.ProducerState, rejected: p.Rejected}
			a.Epoch = f.b.epoch
			f.b.producers[p.Producer] = a
		}
		for _, c := range what.Cursors {
			f.b.cursors[c.CursorName] = &account{saved: c}
		}
		f.b.copied = to
	}), err)
}
