package dictwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A subscription is a loop of [Client.Subscribe]. One goroutine reads the
// connection into a queue, from which the loop takes.
type subscription struct {
	c       *Client
	req     SubscribeRequest
	arrived chan struct{} // holds one when the loop is to look at the queue
	asked   chan struct{} // holds one when run is to look at what it waits for

	mu      sync.Mutex
	queue   []event
	bytes   int            // of the records in queue
	spare   []space        // of batches that the loop is done with
	kept    int            // bytes of spare
	begun   bool           // the first connection was accepted
	first   string         // where reading began
	next    string         // behind what has come
	ended   bool           // all has come
	conn    net.Conn       // nil between connections
	told    store.Position // the highest that this connection has told
	commits []*commit
	err     error // why no commit succeeds any more
}

// A space is what a batch is made of.
type space struct {
	bytes   []byte
	records [][]byte
}

// An event is what the loop yields, or its end.
type event struct {
	batch *Batch
	err   error
	done  bool
}

func (e event) isProgress() bool { return e.batch != nil && e.err == nil && e.batch.Len() == 0 }

// A commit waits until the cursor stands at a position.
type commit struct {
	text     string
	position store.Position
	sent     bool       // on this connection
	at       time.Time  // when
	beats    int        // how often the server had nothing else to say since
	done     chan error // holds the outcome
}

// Beyond maxQueued bytes or maxEvents in the queue nothing more is read, unless a
// commit waits for its answer.
const (
	maxQueued = 1 << 20
	maxEvents = 4096
)

func newSubscription(c *Client, req SubscribeRequest) *subscription {
	if len(req.Topics) == 0 {
		req.Topics = []string{"*"}
	}
	return &subscription{c: c, req: req, arrived: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take waits for the next event. It returns false when ctx ends.
func (s *subscription) take(ctx context.Context) (event, bool) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			e := s.queue[0]
			s.queue[0] = event{}
			s.queue = s.queue[1:]
			if e.batch != nil {
				s.bytes -= len(e.batch.space.bytes)
			}
			s.mu.Unlock()
			signal(s.asked)
			return e, true
		}
		s.mu.Unlock()
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return event{}, false
		}
	}
}

// recycle takes back the memory of a batch that the loop is done with.
func (s *subscription) recycle(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := cap(b.space.bytes); n > 0 && s.kept+n <= 2*maxQueued {
		s.spare = append(s.spare, b.space)
		s.kept += n
	}
	b.Records, b.space = nil, space{}
}

// put puts an event into the queue. Of progress that nobody has seen, the last
// counts.
func (s *subscription) put(e event) {
	s.mu.Lock()
	if n := len(s.queue); n > 0 && e.isProgress() && s.queue[n-1].isProgress() {
		s.queue[n-1] = e
	} else {
		s.queue = append(s.queue, e)
	}
	if e.batch != nil {
		s.bytes += len(e.batch.space.bytes)
	}
	s.mu.Unlock()
	signal(s.arrived)
}

// end makes all commits fail.
func (s *subscription) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	for _, c := range s.commits {
		c.done <- s.err
	}
	s.commits = nil
}

// commit moves the cursor.
func (s *subscription) commit(ctx context.Context, text string) error {
	p, err := store.ParsePosition(text)
	if err != nil {
		return fmt.Errorf("dictwire: commit: %w", err)
	}
	c := &commit{text: text, position: p, done: make(chan error, 1)}
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	s.commits = append(s.commits, c)
	s.mu.Unlock()
	s.sendCommits()
	signal(s.asked)
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.commits = slices.DeleteFunc(s.commits, func(other *commit) bool { return other == c })
		return fmt.Errorf("dictwire: commit: %w", context.Cause(ctx))
	}
}

// sendCommits sends what can be committed on this connection: what it has told.
func (s *subscription) sendCommits() {
	s.mu.Lock()
	conn := s.conn
	var lines []byte
	for _, c := range s.commits {
		if conn != nil && !c.sent && c.position.Tag == s.told.Tag && c.position.Compare(s.told) <= 0 {
			c.sent, c.at, c.beats = true, time.Now(), 0
			lines = wire.AppendCommit(lines, c.text)
		}
	}
	s.mu.Unlock()
	if len(lines) > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(wire.BeatWithin))
		if _, err := conn.Write(lines); err != nil {
			_ = conn.Close() // reading will say so, and they are sent again
		}
	}
}

// unanswered reports whether the server has passed over a commit: it had nothing
// to send for a while, and did not say that the cursor stands there. What was said
// is progress, or else a batch.
func (s *subscription) unanswered(progress bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commits {
		if c.beats++; !progress {
			c.beats = 0
		}
		if c.sent && c.beats >= maxBeats && time.Since(c.at) > wire.BeatWithin {
			return true
		}
	}
	return false
}

// maxBeats is how often a server may have nothing to say before it answers a
// commit.
const maxBeats = 3

var errUnanswered = errors.New("dictwire: the server did not answer a commit")

// committed ends the waiting for a position and those before it.
func (s *subscription) committed(text string) {
	p, err := store.ParsePosition(text)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = slices.DeleteFunc(s.commits, func(c *commit) bool {
		done := c.sent && c.position.Compare(p) <= 0
		if done {
			c.done <- nil
		}
		return done
	})
}

// run reads until the end, over as many connections as it takes.
func (s *subscription) run(ctx context.Context) {
	again := backoff{min: s.c.d.MinBackoff, max: s.c.d.MaxBackoff}
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
			s.put(event{err: stopped.err})
			s.end(stopped.err)
			return
		case !s.wanted(ctx):
		default:
			pause := again.pause()
			if errors.As(err, &later) {
				pause = later.pause()
			}
			if quiet {
				s.c.session(err)
				s.c.logSession(slog.LevelWarn, "no session for now", "topics", s.req.Topics, "error", err)
			}
			quiet = false
			wait(ctx, pause)
		}
	}
	s.end(context.Cause(ctx))
}

// wanted waits, where all has come, until a commit needs a connection.
func (s *subscription) wanted(ctx context.Context) bool {
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

// A beat is a connection on which a server is heard in time, as long as it is
// expected to say something.
type beat struct {
	net.Conn
	s *subscription
}

func (b beat) Read(p []byte) (int, error) {
	b.s.mu.Lock()
	ended := b.s.ended
	b.s.mu.Unlock()
	var deadline time.Time
	if !ended {
		deadline = time.Now().Add(wire.BeatWithin)
	}
	_ = b.SetReadDeadline(deadline)
	return b.Conn.Read(p)
}

// connect makes one connection and reads it to its end. heard says whether the
// server accepted the greeting.
func (s *subscription) connect(ctx context.Context) (heard bool, err error) {
	conn, err := s.c.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	in := wire.NewReader(beat{conn, s})
	g := wire.Greeting{
		Version: wire.Version, Token: s.c.d.Token, Subscribe: s.req.Topics, Subscription: s.req.Topics[0],
		Cursor: s.req.Cursor, From: s.req.From, Follow: s.req.Follow, Lossy: s.req.Lossy,
	}
	if s.req.Cursor != "" {
		g.Attempt = clockAttempt()
	}
	if s.req.Codec != nil {
		g.Format = s.req.Codec.Name()
	}
	s.mu.Lock()
	earliest := s.next == s.first && (s.req.From == "" || s.req.From == "earliest")
	if s.begun && !earliest { // which stays that, whatever is trimmed meanwhile
		g.From = s.next
	}
	s.mu.Unlock()
	_ = conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	if _, err := conn.Write(g.Append(nil)); err != nil {
		return false, explainReading(err)
	}
	m, err := in.Message()
	if err != nil {
		return false, explainReading(err)
	}
	switch m := m.(type) {
	case wire.Ready:
		if err := s.begin(conn, m.Next); err != nil {
			return false, err
		}
	case wire.Error:
		return false, s.remote(m.Fault, false)
	default:
		return false, stop("%w: want its greeting, got %T", ErrProtocol, m)
	}
	defer s.between()
	s.c.session(nil)
	for {
		m, err := in.Message()
		if err == nil {
			err = s.message(ctx, in, m)
		}
		if err != nil {
			return true, explainReading(err)
		}
		if _, progress := m.(wire.Progress); s.unanswered(progress) {
			return true, errUnanswered
		}
	}
}

func explainReading(err error) error {
	var bad *wire.MessageError
	switch {
	case errors.As(err, &bad):
		return stop("%w: %w", ErrProtocol, bad)
	case errors.As(err, new(*stopError)), errors.As(err, new(*remoteError)):
		return err
	case isTimeout(err):
		return fmt.Errorf("dictwire: nothing came from the server for %v", wire.BeatWithin)
	}
	return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(err))
}

// remote makes the error of what the server ended the session by.
func (s *subscription) remote(f *fault.Error, greeted bool) error {
	if f.Code == fault.Lost {
		return &stopError{&lostPositionError{&remoteError{f}}}
	}
	err := ended(f, "subscription to "+fmt.Sprint(s.req.Topics), greeted)
	if !f.Code.Retryable() || f.Code == fault.Internal { // else it would come again
		return &stopError{err}
	}
	if f.Retry > 0 {
		return &retryError{f.Retry, err}
	}
	return err
}

// begin takes note of a new connection. It is an error where the store is not the
// one that was read: what is to be committed means nothing there.
func (s *subscription) begin(conn net.Conn, next string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, _ := store.ParsePosition(next)
	if known, _ := store.ParsePosition(s.next); s.begun && known.Tag != told.Tag {
		return stop("%w (subscription to %v; the server goes on at %s, and %s was read)", ErrLost, s.req.Topics, next, s.next)
	}
	s.conn, s.told = conn, told
	if !s.begun {
		s.begun, s.first, s.next = true, next, next
		s.queue = append(s.queue, event{batch: &Batch{Next: next, sub: s}})
		signal(s.arrived)
	}
	for _, c := range s.commits {
		c.sent = false
	}
	return nil
}

// between takes note that a connection has ended.
func (s *subscription) between() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = nil
}

// message takes in what the server says.
func (s *subscription) message(ctx context.Context, in *wire.Reader, m wire.Message) error {
	switch m := m.(type) {
	case wire.Batch:
		return s.batch(ctx, in, m)
	case wire.Progress:
		if s.tell(m.Next) {
			s.put(event{batch: &Batch{Next: m.Next, sub: s}})
		}
	case wire.Skipped:
		if s.misses(m.To, m.Next) {
			s.put(event{&Batch{Next: m.Next, Topic: m.Topic, sub: s}, &SkippedError{From: m.From, To: m.To, Topic: m.Topic}, false})
		}
	case wire.Damaged:
		if s.misses(m.To, m.Next) {
			s.put(event{&Batch{Next: m.Next, Topic: m.Topic, sub: s}, &DamagedError{From: m.From, To: m.To, Topic: m.Topic, Text: m.Text}, false})
		}
	case wire.End:
		s.last(m.Position)
	case wire.Committed:
		s.committed(m.Position)
	case wire.Error:
		return s.remote(m.Fault, true)
	default:
		return stop("%w: a %T to one who reads", ErrProtocol, m)
	}
	return nil
}

// last takes note that all has come.
func (s *subscription) last(position string) {
	s.tell(position)
	s.mu.Lock()
	again := s.ended
	s.ended = true
	s.mu.Unlock()
	if !again {
		s.put(event{batch: &Batch{Next: position, sub: s}})
		s.put(event{done: true})
	}
}

// tell takes note of a position that this connection has told, and reports
// whether what lies before it is news.
func (s *subscription) tell(next string) bool {
	p, err := store.ParsePosition(next)
	s.mu.Lock()
	known, knownErr := store.ParsePosition(s.next)
	news := err != nil || knownErr != nil || known.Tag != p.Tag || p.Compare(known) > 0
	if news {
		s.next = next
	}
	s.told = p
	s.mu.Unlock()
	s.sendCommits()
	return news
}

// misses is tell for what can't be read up to a position. Where others are read
// meanwhile, next may stay where it is: news is what ends behind that.
func (s *subscription) misses(to, next string) bool {
	s.mu.Lock()
	known, knownErr := store.ParsePosition(s.next)
	s.mu.Unlock()
	p, err := store.ParsePosition(to)
	return s.tell(next) || err != nil || knownErr != nil || p.Compare(known) > 0
}

// batch reads the records of a batch.
func (s *subscription) batch(ctx context.Context, in *wire.Reader, m wire.Batch) error {
	b := &Batch{
		At: m.At, Next: m.Next, Topic: m.Topic, Producer: m.Producer, First: m.First, Time: m.Time,
		Codec: s.codec(m.Format), limits: s.c.d.Limits, sub: s,
	}
	size := uint64(0)
	for _, n := range m.Lengths {
		size += uint64(n)
	}
	if size > store.MaxBlockBytes {
		return stop("%w: a batch of %d bytes", ErrProtocol, size)
	}
	if b.Codec == nil {
		return stop("dictwire: records of topic %s are in format %q, which is not known here: ask for another one", m.Topic, m.Format)
	}
	if err := s.room(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if n := len(s.spare); n > 0 {
		b.space, s.spare = s.spare[n-1], s.spare[:n-1]
		s.kept -= cap(b.space.bytes)
	}
	old := s.next
	s.mu.Unlock()
	buf, err := in.Append(b.space.bytes[:0], size)
	if err != nil {
		return err
	}
	records, at := b.space.records[:0], 0
	for _, n := range m.Lengths {
		end := at + int(n)
		records = append(records, buf[at:end:end])
		at = end
	}
	b.space = space{buf, records}
	b.Records = records
	if s.tell(m.Next) && b.from(old) {
		s.put(event{batch: b})
	}
	return nil
}

// from leaves out the records below a position, and reports whether others are
// left.
func (b *Batch) from(position string) bool {
	p, err := store.ParsePosition(position)
	at, atErr := store.ParsePosition(b.At)
	if err != nil || atErr != nil || p.Tag != at.Tag || p.Block != at.Block || p.Index <= at.Index {
		return true
	}
	n := int(p.Index - at.Index)
	if n >= len(b.Records) {
		return false
	}
	b.At, b.Records = p.String(), b.Records[n:]
	if b.First > 0 {
		b.First += uint64(n)
	}
	return true
}

func (s *subscription) codec(format string) codec.Codec {
	if s.req.Codec != nil && s.req.Codec.Name() == format {
		return s.req.Codec
	}
	return s.c.codecs[format]
}

// room waits until there is room in the queue, or a commit waits for its answer,
// which lies behind what comes next.
func (s *subscription) room(ctx context.Context) error {
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
