package nats

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Read implements [store.Log].
//
// A reader requests one window of messages at a time, and has no state at the broker in
// between. From the headers that its server follows it knows whether there is more to read.
func (s *Store) Read(ctx context.Context, from store.Position, o store.ReadOptions) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		r := &reader{s: s, o: o, patterns: store.NewPatterns(o.Topics), at: from, told: map[string]uint64{}}
		if o.Room != nil {
			defer o.Room.Want(ctx, 0)
		}
		if r.o.Progress == 0 {
			r.o.Progress = 5 * time.Second
		}
		if !o.Producer.IsZero() {
			r.pid = producerID(o.Producer)
		}
		if err := r.read(ctx, yield); err != nil {
			yield(store.ReadBatch{}, err)
		}
	}
}

// A reader is a call of Read.
type reader struct {
	s        *Store
	o        store.ReadOptions
	patterns *store.Patterns
	pid      string            // of the producer whose blocks are read, or ""
	at       store.Position    // everything before it is done
	end      uint64            // where a read that does not follow ends
	told     map[string]uint64 // the trims that were reported, by topic
	time     time.Time         // of the last batch
	block    store.Block
	queue    []parcel // fetched blocks, by position
	held     int64    // bytes of the messages in queue
}

// A parcel is a fetched block, still encoded.
type parcel struct {
	at, next uint64
	topic    string
	pid      string
	mark     mark
	time     time.Time
	data     []byte
}

// begin checks the position at which the read begins.
func (r *reader) begin(ctx context.Context) error {
	for _, p := range r.o.Topics {
		if err := store.CheckPattern(p); err != nil {
			return err
		}
	}
	if err := r.s.CheckPosition(ctx, r.at); err != nil {
		return err
	}
	if r.at.IsZero() { // a read from the beginning misses nothing
		r.s.mu.Lock()
		for name, t := range store.Named(r.patterns, r.s.topics) {
			if t.to > 0 {
				r.told[name] = t.to
			}
		}
		r.s.mu.Unlock()
	}
	r.at.Tag = r.s.tag
	r.at.Block = max(r.at.Block, 1)
	if err := r.s.settled(ctx); err != nil {
		return err
	}
	r.s.mu.Lock()
	r.end = r.s.head
	r.s.mu.Unlock()
	return nil
}

func (r *reader) read(ctx context.Context, yield func(store.ReadBatch, error) bool) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	var said store.Position
	saidAt := time.Now()
	tries := pace{}
	for {
		if err := r.s.settled(ctx); err != nil {
			if r.s.open(ctx) != nil || !r.o.Follow {
				return err
			}
			continue // a read that follows waits until the broker is back
		}
		batch, more, changed, err := r.next()
		switch {
		case err != nil || batch.Block != nil:
			if batch.Block != nil {
				if err := r.room(ctx, r.held+int64(r.mark().cost)); err != nil {
					return err
				}
				if err := r.decode(&batch); err != nil {
					if !yield(store.ReadBatch{At: batch.At, Next: batch.Next}, err) {
						return nil
					}
					continue
				}
			}
			said, saidAt = batch.Next, time.Now()
			if !yield(batch, err) {
				return nil
			}
			continue
		case more:
			if time.Since(saidAt) >= r.o.Progress && r.at != said {
				said, saidAt = r.at, time.Now()
				if !yield(store.ReadBatch{At: r.at, Next: r.at}, nil) {
					return nil
				}
			}
			got, err := r.fetch(ctx)
			if err != nil {
				return err
			}
			if got {
				tries = pace{}
			} else if !tries.wait(ctx) {
				return context.Cause(ctx)
			}
			continue
		}
		if r.o.Room != nil {
			r.o.Room.Want(ctx, 0)
		}
		if batch.Next != said {
			said, saidAt = batch.Next, time.Now()
			if !yield(batch, nil) {
				return nil
			}
		}
		if !r.o.Follow {
			return nil
		}
		timer := time.NewTimer(r.o.Progress)
		select {
		case <-changed:
		case <-timer.C:
			said = store.Position{}
		case <-ctx.Done():
		case <-r.s.ctx.Done():
		}
		timer.Stop()
		if err := r.s.open(ctx); err != nil {
			return err
		}
	}
}

// mark returns the mark of the next block.
func (r *reader) mark() mark { return r.queue[0].mark }

// next returns the next batch, whose block the caller decodes; or more, if blocks have to
// be fetched; or an empty batch up to the head, and a channel that is closed when the head
// has moved.
func (r *reader) next() (b store.ReadBatch, more bool, changed <-chan struct{}, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := r.trimmed(); t != nil {
		return store.ReadBatch{At: r.at, Next: r.at}, false, nil, t
	}
	ended := !r.o.Follow && r.at.Block >= r.end
	for len(r.queue) > 0 && !ended {
		p := r.queue[0]
		if !r.o.Follow && p.at >= r.end {
			ended = true
			break
		}
		t := s.topics[p.topic]
		if p.at < r.at.Block || t != nil && p.at < t.to || !r.wants(p) {
			r.at = max2(r.at, s.position(p.next))
			r.drop()
			continue
		}
		at := s.position(p.at)
		if p.at == r.at.Block {
			at.Index = r.at.Index
		}
		if at.Index >= p.mark.records {
			r.at = s.position(p.next)
			r.drop()
			continue
		}
		return store.ReadBatch{At: at, Next: s.position(p.next), Time: p.time, Block: &r.block}, false, nil, nil
	}
	head := s.head
	if !r.o.Follow {
		head = r.end
	}
	if !ended && r.at.Block <= r.last() && r.at.Block < head {
		return b, true, nil, nil
	}
	r.at = max2(r.at, s.position(head))
	return store.ReadBatch{At: r.at, Next: r.at}, false, s.changed, nil
}

func max2(p, q store.Position) store.Position {
	if p.Compare(q) < 0 {
		return q
	}
	return p
}

// drop removes the first block of the queue.
func (r *reader) drop() {
	r.held -= int64(len(r.queue[0].data))
	r.queue[0] = parcel{}
	r.queue = r.queue[1:]
}

// last returns the position of the last block that the reader may want. s.mu is held.
func (r *reader) last() (last uint64) {
	for _, t := range store.Named(r.patterns, r.s.topics) {
		if t.last >= t.to {
			last = max(last, t.last)
		}
	}
	return last
}

func (r *reader) wants(p parcel) bool {
	return r.patterns.Match(p.topic) && (r.pid == "" || r.pid == p.pid)
}

// decode decodes the next block.
func (r *reader) decode(b *store.ReadBatch) error {
	p := r.queue[0]
	r.drop()
	r.at = b.Next
	err := r.block.Decode(p.data)
	if err == nil && (r.block.Topic != p.topic) {
		err = fmt.Errorf("a block of %q on the subject of %q", r.block.Topic, p.topic)
	}
	if err != nil {
		return &store.DamageError{From: b.At, To: b.Next, Topic: p.topic, Err: err}
	}
	if b.Time.Before(r.time) {
		b.Time = r.time
	}
	r.time = b.Time
	return nil
}

// trimmed returns an error if blocks were trimmed that the reader had yet to read. s.mu is
// held.
func (r *reader) trimmed() error {
	if r.s.trimmed <= r.at.Block {
		return nil
	}
	name, to := "", uint64(0)
	for n, t := range store.Named(r.patterns, r.s.topics) {
		if t.to > max(r.at.Block, r.told[n]) && (name == "" || n < name) {
			name, to = n, t.to
		}
	}
	if name == "" {
		return nil
	}
	r.told[name] = to
	return &store.TrimmedError{From: r.at, To: r.s.position(to), Topic: name}
}

// window is how many bytes a reader requests at once, if it has room for them.
const window = 4 << 20

// room waits until the reader may use n bytes of memory.
func (r *reader) room(ctx context.Context, n int64) error {
	if r.o.Room == nil {
		return nil
	}
	if err := r.o.Room.Need(ctx, n); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fetch requests blocks from the reader's position on. It reports whether any came; a
// replica may be behind.
func (r *reader) fetch(ctx context.Context) (bool, error) {
	s := r.s
	most := s.nc.MaxPayload() // a request may exceed MaxBytes by one message
	ask := getRequest{Batch: 1, MaxBytes: 1}
	if r.o.Room == nil || r.o.Room.Want(ctx, window+most) {
		ask.Batch, ask.MaxBytes = 512, window
	} else if err := r.room(ctx, most); err != nil {
		return false, err
	}
	ask.NextFor = s.blocks("")
	if len(r.o.Topics) == 1 {
		ask.NextFor = s.blocks(r.o.Topics[0])
	}
	s.mu.Lock()
	head := s.head // messages from here on have not been processed yet
	s.mu.Unlock()
	from := r.at.Block
	ask.Seq = from
	var all []stored
	for {
		got, err := s.get(ctx, ask)
		if err != nil {
			return false, r.s.open(ctx) // the broker is gone, or the reader was stopped
		}
		all = append(all, got...)
		n := len(all)
		if n == 0 || len(got) == 0 {
			break
		}
		if all[n-1].mark != partMark {
			break
		}
		// The last message is not the end of its block: get the rest.
		ask.Seq = all[n-1].seq + 1
		var sum int64
		for _, m := range all {
			sum += int64(len(m.data))
		}
		if err := r.room(ctx, sum+max(int64(ask.MaxBytes), 1)+most); err != nil {
			return false, err
		}
	}
	if len(all) == 0 {
		return false, nil
	}
	if err := r.complete(ctx, from, all); err != nil {
		return false, err
	}
	return r.take(all, head), nil
}

var partMark = mark{kind: kindPart}.String()

// complete checks that fetch missed no blocks. If some may be missing, it waits until this
// server has processed the trims that deleted them: those were stored earlier. Only where
// recent lists every block can it rule that out.
func (r *reader) complete(ctx context.Context, from uint64, all []stored) error {
	s := r.s
	to := all[len(all)-1].seq
	s.mu.Lock()
	missing := from < s.recentAll
	if !missing {
		i, _ := slices.BinarySearchFunc(s.recent, from, func(b recent, at uint64) int {
			if b.at < at {
				return -1
			}
			return 1
		})
		n := 0
		for _, b := range s.recent[i:] {
			if b.at > to {
				break
			}
			if t := s.topics[b.topic]; t != nil && b.at < t.to || !r.patterns.Match(b.topic) {
				continue
			}
			for n < len(all) && all[n].seq < b.at {
				n++
			}
			if n == len(all) || all[n].seq != b.at {
				missing = true
				break
			}
		}
	}
	s.mu.Unlock()
	if !missing {
		return nil
	}
	tries := pace{}
	for tries.wait(ctx) {
		err := s.upToDate(ctx)
		if err == nil || s.open(ctx) != nil || !r.o.Follow {
			return err
		}
	}
	return context.Cause(ctx)
}

// take queues the blocks before head from fetched messages. It reports whether there were
// any messages before head.
func (r *reader) take(all []stored, head uint64) (some bool) {
	var parts []stored
	done := uint64(0)
	for _, m := range all {
		if m.seq >= head {
			break
		}
		some = true
		at, err := parseMark(m.mark, m.seq)
		topic, pid, ok := r.s.parse(m.subject)
		switch {
		case err != nil || !ok || at.kind == kindState:
			parts = parts[:0]
			done = m.seq
			continue
		case at.kind == kindPart:
			parts = append(parts, m)
			continue
		}
		p := parcel{at: m.seq - uint64(at.parts-1), next: m.seq + 1, topic: topic, pid: pid, mark: at, time: m.time, data: m.data}
		if at.parts > 1 {
			if len(parts) < at.parts-1 { // the parts before it are missing, as no position is inside a block
				parts, done = parts[:0], m.seq
				continue
			}
			parts = parts[len(parts)-(at.parts-1):]
			p.time, p.data = parts[0].time, nil
			for _, m := range parts {
				p.data = append(p.data, m.data...)
			}
			p.data = append(p.data, m.data...)
		}
		parts, done = parts[:0], m.seq
		r.queue = append(r.queue, p)
		r.held += int64(len(p.data))
	}
	if len(r.queue) == 0 && done > 0 { // only states
		r.at = max2(r.at, r.s.position(done+1))
	}
	return some
}
