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

// A Subscriber is the client's end of a reader. One goroutine reads its
// connections into a queue.
type Subscriber struct {
	c       *Client
	req     Request
	life    context.Context //nolint:containedctx // of reading, which no call spans
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	arrived chan struct{} // holds one when Next is to look at the queue
	asked   chan struct{} // holds one when run is to look at what it waits for

	mu        sync.Mutex
	queue     []*Batch
	finished  error          // what comes after the queue
	bytes     int            // of the records in queue
	spare     []space        // of batches that are done with
	kept      int            // bytes of spare
	begun     bool           // the first connection was accepted
	first     string         // where reading began
	next      string         // after what has come
	ended     bool           // all has come
	conn      net.Conn       // nil between connections
	told      store.Position // the highest that this connection has told
	commits   []*commit
	commitErr error // why no commit succeeds any more
}

// Beyond maxQueued bytes or maxEvents in the queue nothing more is read, unless a
// commit waits for its answer.
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

// String says what is read.
func (s *Subscriber) String() string { return fmt.Sprintf("subscription to %v", s.req.Topics) }

// Close ends reading. Commits and rejections that wait fail with err.
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

// Next returns what comes next: io.EOF after the last record, unless the request
// follows. One goroutine calls it at a time.
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

// put puts a batch into the queue. Of progress that nobody has seen, the last
// counts.
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

// finish says that nothing more comes after the queue, and why.
func (s *Subscriber) finish(err error) {
	s.mu.Lock()
	if s.finished == nil {
		s.finished = err
	}
	s.mu.Unlock()
	signal(s.arrived)
}

// run reads until the end, over as many connections as it takes.
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

// wanted waits, where all has come, until a commit needs a connection.
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

// room waits until there is room in the queue, or a commit waits for its answer,
// which lies after what comes next.
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
