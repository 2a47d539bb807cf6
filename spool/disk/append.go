package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dictwire/dictwire/spool"

	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
)

const (
	maxBlock = 1 << 20 // limit of the records of a block, in bytes, unless a single record is larger
	maxBatch = 4 << 20 // limit of the records that are written at once, in bytes, unless a single call has more
	maxFree  = 4       // blocks that are kept for reuse
)

// A call is an Append in progress.
type call struct {
	topic   string
	format  string
	records [][]byte
	size    int64

	part  int    // index in the batch
	first uint64 // the result
	err   error
	turn  chan bool // of capacity 1: true if the call must write the pending calls, false if it is done
}

func newCall() any { return &call{turn: make(chan bool, 1)} }

// Append implements [spool.Spool]. After an error that wraps spool.ErrFull or the cause of ctx,
// nothing was kept.
func (s *Spool) Append(ctx context.Context, topic, format string, records ...[]byte) (uint64, error) {
	size, err := s.check(topic, format, records)
	if err != nil {
		return 0, err
	}
	c := s.idle.Get().(*call)
	defer s.recycle(c)
	c.topic, c.format, c.records, c.size = topic, format, records, size
	first, err := s.begin(ctx, c)
	if err != nil {
		return 0, err
	}
	defer s.calls.Done()
	for first || <-c.turn {
		s.writePending(context.WithoutCancel(ctx)) // a write must not be cut short
		first = false
	}
	return c.first, c.err
}

// MaxAppend returns the limit of one Append, in bytes of records: the spool never has room for
// more.
func (s *Spool) MaxAppend() int64 { return min(s.opts.MaxBytes, store.MaxBlockBytes) }

func (s *Spool) recycle(c *call) {
	*c = call{turn: c.turn}
	s.idle.Put(c)
}

// check returns the size of the records in bytes, or why they can't be kept.
func (s *Spool) check(topic, format string, records [][]byte) (size int64, err error) {
	if err := store.CheckTopic(topic); err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	if strings.HasPrefix(topic, "_") {
		return 0, fmt.Errorf("spool: topic %q: names that begin with _ are the server's", topic)
	}
	if format == "" || len(format) > 64 {
		return 0, fmt.Errorf("spool: format %.70q, want the name of a codec", format)
	}
	if len(records) == 0 {
		return 0, errors.New("spool: no records")
	}
	for i, r := range records {
		if len(r) == 0 {
			return 0, fmt.Errorf("spool: record %d of %d has no bytes", i+1, len(records))
		}
		size += int64(len(r))
	}
	if size > store.MaxBlockBytes {
		return 0, fmt.Errorf("spool: %d bytes at once, want at most %d", size, store.MaxBlockBytes)
	}
	if size > s.opts.MaxBytes {
		return 0, fmt.Errorf("%w: %d bytes never fit, it holds %d", spool.ErrFull, size, s.opts.MaxBytes)
	}
	return size, nil
}

// begin waits for room and reserves it. It reports whether the call must write the pending
// calls.
func (s *Spool) begin(ctx context.Context, c *call) (first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return false, errClosed
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		again, full := s.full(c.size)
		if full == nil {
			break
		}
		if s.unsaved {
			wake(s.hurry)
		} else if s.opts.NoWait {
			s.refused++
			return false, full
		}
		s.wait(ctx, again)
	}
	s.bytes += c.size
	s.calls.Add(1)
	s.pending = append(s.pending, c)
	first, s.writing = !s.writing, true
	return first, nil
}

// writePending writes the pending calls. If more have come meanwhile, it makes one of them write
// those.
func (s *Spool) writePending(ctx context.Context) {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	n := 0
	for size := int64(0); n < len(s.pending) && (n == 0 || size+s.pending[n].size <= maxBatch); n++ {
		size += s.pending[n].size
	}
	b := &s.batch
	b.calls = append(b.calls[:0], s.pending[:n]...)
	s.pending = append(s.pending[:0], s.pending[n:]...)
	s.mu.Unlock()

	b.write(ctx, s)

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 {
		s.pending[0].turn <- true
	} else {
		s.writing = false
		s.pending = nil
	}
	for _, c := range b.calls {
		c.turn <- false
	}
	b.recycle()
}

// A batch is a group of calls that are written together.
type batch struct {
	calls  []*call
	parts  []part
	blocks []*store.Block
	free   []*store.Block // for the next batch
}

// A part is a topic's share of a batch.
type part struct {
	topic *topic
	next  uint64       // the number after its records
	last  *store.Block // receives its next records
	err   error
}

// write makes the records of calls durable, and sets the calls' results. s.write is held.
func (b *batch) write(ctx context.Context, s *Spool) {
	for _, c := range b.calls {
		c.part = b.part(ctx, s, c.topic)
		if p := &b.parts[c.part]; p.err == nil {
			c.first = p.next
			b.add(s, p, c)
		}
	}
	s.mu.Lock()
	for _, p := range b.parts {
		p.topic.given = max(p.topic.given, p.next)
	}
	s.mu.Unlock()
	for i, r := range s.store.Append(ctx, b.blocks...) {
		if r.Err != nil {
			b.parts[b.part(ctx, s, b.blocks[i].Topic)].err = fmt.Errorf("spool: %w", r.Err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range b.calls {
		p := &b.parts[c.part]
		t := p.topic
		if p.err != nil {
			// A new claim must find out the next number.
			c.err, t.claimed = p.err, false
			s.bytes -= c.size
			continue
		}
		t.next = p.next
		t.bytes += c.size
		if t.oldest.IsZero() {
			t.oldest = s.opts.Now()
			s.older(t.oldest)
		}
	}
}

// part returns the index of a topic's part of the batch.
func (b *batch) part(ctx context.Context, s *Spool, name string) int {
	for i := range b.parts {
		if b.parts[i].topic.name == name {
			return i
		}
	}
	t, err := s.topic(ctx, name)
	b.parts = append(b.parts, part{topic: t, next: t.next, err: err})
	return len(b.parts) - 1
}

// topic returns a topic, after it has claimed it so that its next number is known. It creates
// the topic if there is none. s.write is held.
func (s *Spool) topic(ctx context.Context, name string) (*topic, error) {
	s.mu.Lock()
	t := s.topics[name]
	if t == nil {
		t = &topic{name: name, first: 1, next: 1}
		s.topics[name] = t
	}
	s.mu.Unlock()
	if t.claimed {
		return t, nil
	}
	claim, err := ledger.Claim(ctx, s.store, s.producer(name))
	if err != nil {
		return t, fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.claimed, t.epoch, t.next = true, claim.Epoch, claim.Next
	return t, nil
}

// add adds a call's records to its topic's blocks.
func (b *batch) add(s *Spool, p *part, c *call) {
	for _, r := range c.records {
		if p.last == nil || p.last.Codec != c.format || len(p.last.Data)+len(r) > maxBlock {
			p.last = b.block()
			p.last.Topic, p.last.Codec, p.last.Received = c.topic, c.format, s.opts.Now()
			p.last.Producer, p.last.Epoch, p.last.First = s.producer(c.topic), p.topic.epoch, p.next
			b.blocks = append(b.blocks, p.last)
		}
		p.last.Add(r)
		p.next++
	}
}

func (b *batch) block() *store.Block {
	if n := len(b.free); n > 0 {
		last := b.free[n-1]
		b.free = b.free[:n-1]
		return last
	}
	return new(store.Block)
}

// recycle clears the batch, and keeps some of its memory for the next one.
func (b *batch) recycle() {
	for _, block := range b.blocks {
		if len(b.free) < maxFree && cap(block.Data) <= 2*maxBlock {
			block.Reset()
			b.free = append(b.free, block)
		}
	}
	clear(b.calls)
	clear(b.parts)
	clear(b.blocks)
	b.calls, b.parts, b.blocks = b.calls[:0], b.parts[:0], b.blocks[:0]
}
