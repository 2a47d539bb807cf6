package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/store"
)

// A Request says what is read, and from where: see the public SubscribeRequest.
type Request struct {
	Topics []string
	Cursor string
	From   string
	Follow bool
	Codec  codec.Codec
	Lossy  bool
}

// A Subscriber is the client's side of a reader. One goroutine reads from its connections into
// a queue.
type Subscriber struct {
	c       *Client
	req     Request
	life    context.Context //nolint:containedctx // of reading, which no call spans
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	arrived chan struct{} // holds one element when Next must look at the queue
	asked   chan struct{} // holds one element when run must look at what it waits for

	mu        sync.Mutex
	queue     []*Batch
	finished  error          // returned after the queue is empty
	bytes     int            // of the records in queue
	spare     []space        // memory of batches, to be reused
	kept      int            // bytes of spare
	begun     bool           // the first connection was accepted
	first     string         // the position where reading began
	next      string         // the position after all that was read
	ended     bool           // everything was read
	conn      net.Conn       // nil between connections
	told      store.Position // the highest that this connection has reached
	commits   []*commit
	commitErr error // final: all commits fail
}

// The subscriber stops reading when the queue has maxQueued bytes or maxEvents, unless a commit
// waits for its answer.
const (
	maxQueued = 1 << 20
	maxEvents = 4096
)

// Subscribe begins to read.
func (c *Client) Subscribe(req Request) *Subscriber {
	if len(req.Topics) == 0 {
		req.Topics = []string{"*"}
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	s := &Subscriber{c: c, req: req, life: ctx, cancel: cancel, arrived: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	s.running.Go(func() { s.run(ctx) })
	return s
}

// String names the subscription for error texts.
func (s *Subscriber) String() string { return fmt.Sprintf("subscription to %v", s.req.Topics) }

// Close ends reading. Waiting commits and rejections fail with err.
func (s *Subscriber) Close(err error) {
	s.failCommits(err)
	s.cancel(err)
	s.running.Wait()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Next returns the next batch, or io.EOF after the last record unless the request follows. Only
// one goroutine may call it at a time.
func (s *Subscriber) Next(ctx context.Context) (*Batch, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			b := s.queue[0]
			s.queue[0] = nil
			s.queue = s.queue[1:]
			s.bytes -= len(b.space.bytes)
			s.mu.Unlock()
			signal(s.asked)
			return b, nil
		}
		err := s.finished
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Recycle takes back the memory of a batch.
func (s *Subscriber) Recycle(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := cap(b.space.bytes); n > 0 && s.kept+n <= 2*maxQueued {
		s.spare = append(s.spare, b.space)
		s.kept += n
	}
	b.Records, b.space = nil, space{}
}

// put adds a batch to the queue. Progress replaces progress that is still in the queue.
func (s *Subscriber) put(b *Batch) {
	s.mu.Lock()
	if n := len(s.queue); n > 0 && b.isProgress() && s.queue[n-1].isProgress() {
		s.queue[n-1] = b
	} else {
		s.queue = append(s.queue, b)
	}
	s.bytes += len(b.space.bytes)
	s.mu.Unlock()
	signal(s.arrived)
}

// finish sets the error that Next returns after the queue.
func (s *Subscriber) finish(err error) {
	s.mu.Lock()
	if s.finished == nil {
		s.finished = err
	}
	s.mu.Unlock()
	signal(s.arrived)
}

// run reads to the end, and replaces broken connections.
func (s *Subscriber) run(ctx context.Context) {
	again := backoff{min: s.c.o.MinBackoff, max: s.c.o.MaxBackoff}
	quiet := true
	for ctx.Err() == nil {
		heard, err := s.connect(ctx)
		if heard {
			again.next, quiet = 0, true
		}
		var (
			stopped *stopError
			later   *retryError
		)
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &stopped):
			s.finish(stopped.err)
			s.failCommits(stopped.err)
			return
		case !s.wanted(ctx):
		default:
			pause := again.pause()
			if errors.As(err, &later) {
				pause = later.pause()
			}
			if !heard {
				s.c.servers.next()
			}
			if quiet {
				s.c.changed(State{Topics: s.req.Topics, Reads: true, Err: err})
				s.c.logSession(slog.LevelWarn, "no session for now", "topics", s.req.Topics, "error", err)
			}
			quiet = false
			wait(ctx, pause)
		}
	}
	s.finish(context.Cause(ctx))
	s.failCommits(context.Cause(ctx))
}

// wanted waits, after everything was read, until a commit needs a connection.
func (s *Subscriber) wanted(ctx context.Context) bool {
	for {
		s.mu.Lock()
		wanted := !s.ended || len(s.commits) > 0
		s.mu.Unlock()
		if wanted {
			return true
		}
		select {
		case <-s.asked:
		case <-ctx.Done():
			return false
		}
	}
}

// room waits until the queue has room, or a commit waits for its answer, which the server sends
// after the batches in flight.
func (s *Subscriber) room(ctx context.Context) error {
	for {
		s.mu.Lock()
		room := s.bytes < maxQueued && len(s.queue) < maxEvents || len(s.commits) > 0
		s.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-s.asked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
