package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/spool"
	spooldisk "github.com/dictwire/dictwire/spool/disk"
)

// A clientProducer is a program that sends with the project's own client, with or without a
// spool. It can die and be restarted.
type clientProducer struct {
	name   string
	ledger *ledger
	net    *memnet.Network
	rng    *rand.Rand // of the goroutine that runs the client
	habits habits
	rivals bool // an old copy of its spool, or another one, is or was in use

	// Guarded by the ledger's mutex:
	count    uint64 // how many records it will send
	sent     map[uint64]*parcel
	last     uint64 // the last record that it sent
	stopped  error  // why it gave up
	restored bool   // its spool is an old copy
	trouble  bool   // it was told that the server has less than it promised
	dead     bool   // the current process is dead
	unnamed  int    // rejections of records that the client no longer had
	disk     *disk  // of the spool, or nil
	finished bool   // nothing is left to do

	process *process
}

// A process is the state of a client's process.
type process struct {
	host   *memnet.Host
	disk   *disk
	ctx    context.Context //nolint:containedctx // the lifetime of the process
	cancel context.CancelFunc
	died   chan struct{}
	done   chan struct{}
}

// A parcel is a record that a client sent.
type parcel struct {
	text     string
	bad      bool
	promised bool      // it was settled, or is in the spool
	spooled  bool      // it is only in the spool, as far as the client knows
	rejected bool      // the client was told so
	at       time.Time // when it was sent
	process  *process
}

// habits are how clientProducers differ.
type habits struct {
	spool   bool
	atSpool bool // it only waits for the spool
	accepts bool // it accepts losses
	flushes int  // how many records it sends at most before it waits
	window  int
	bad     int // one of so many records must be rejected; 0: none
	size    int
	pause   time.Duration
}

// start starts a new process.
func (c *clientProducer) start(ctx context.Context) {
	p := &process{host: c.net.Host(c.name), died: make(chan struct{}), done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(ctx)
	c.ledger.do(func() { c.dead, c.finished, p.disk = false, false, c.disk })
	c.process = p
	go func() {
		defer close(p.done)
		c.run(p)
	}()
}

// die ends a process at once.
func (c *clientProducer) die(p *process, power bool) {
	gone := false
	c.ledger.do(func() {
		gone = c.dead || c.process != p
		c.dead = true
	})
	if gone {
		return
	}
	p.host.Kill(power)
	if p.disk != nil {
		left := p.disk.left(power, rand.New(rand.NewPCG(uint64(len(c.name)), uint64(time.Since(c.ledger.began)))))
		c.ledger.do(func() { c.disk = left })
	}
	c.ledger.say(c.name, "dies, power %v", power)
	close(p.died)
	p.cancel()
}

// Handle receives the log of the client, which says what is lost. See [slog.Handler].
func (c *clientProducer) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	if !strings.Contains(text, "connection refused") {
		c.ledger.say(c.name, "log: %.200s", text)
	}
	if strings.Contains(r.Message, "is accepted") {
		c.ledger.do(func() { c.trouble = true })
	}
	return nil
}

func (c *clientProducer) Enabled(context.Context, slog.Level) bool { return true }
func (c *clientProducer) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *clientProducer) WithGroup(string) slog.Handler            { return c }

// run sends until everything is sent and settled, or the producer must stop.
func (c *clientProducer) run(p *process) {
	d := dictwire.Dialer{
		Producer: c.name, AtSpool: c.habits.atSpool, AcceptLost: c.habits.accepts, WindowRecords: c.habits.window,
		MaxBackoff: time.Second, OnRejected: func(e *dictwire.RejectedError) { c.rejected(p, e) }, Logger: slog.New(c),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.host.Dial(ctx, server) },
	}
	if p.disk != nil {
		s, err := spooldisk.Open(p.ctx, "spool", &spooldisk.Options{Name: "s", FS: p.disk, Reserve: -1})
		if err != nil {
			c.ledger.say(c.name, "can't open its spool: %v", err)
			return
		}
		defer s.Close()
		d.Spool = s
	}
	var client *dictwire.Client
	for client == nil {
		var err error
		if client, err = d.Dial(p.ctx, server+":1"); err != nil {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				c.ledger.say(c.name, "dials: %v", err)
			}
			if !c.sleep(p, 300*time.Millisecond) {
				return
			}
		}
	}
	defer client.Close()
	for c.work(p, client) {
		c.ledger.do(func() { c.finished = c.last == c.count })
		if !c.isDone(p, d.Spool) {
			c.ledger.do(func() { c.finished = false })
		}
		if !c.sleep(p, 200*time.Millisecond) {
			return
		}
	}
}

// sleep waits for up to d, unless the process ends.
func (c *clientProducer) sleep(p *process, d time.Duration) bool {
	select {
	case <-time.After(time.Duration(c.rng.Int64N(int64(d)))):
		return true
	case <-p.ctx.Done():
		return false
	}
}

// isDone reports whether all that was in the spool has been settled.
func (c *clientProducer) isDone(p *process, s spool.Spool) bool {
	if s == nil {
		return true
	}
	topics, err := s.Topics(p.ctx)
	return err == nil && !slices.ContainsFunc(topics, func(t spool.Topic) bool { return t.Acked+1 < t.Next })
}

// work sends the remaining records, and waits. It reports whether it may continue.
func (c *clientProducer) work(p *process, client *dictwire.Client) bool {
	for {
		n := 0
		for range 1 + c.rng.IntN(c.habits.flushes) {
			if !c.hasMore() {
				break
			}
			if c.habits.pause > 0 && c.rng.IntN(4) == 0 && !c.sleep(p, c.habits.pause) {
				return false
			}
			n++
			v := c.bind(p)
			if err := client.SendAsync(p.ctx, "orders", v); err != nil {
				return c.goesOn(p, err)
			}
		}
		if err := client.Flush(p.ctx); err != nil {
			return c.goesOn(p, err)
		}
		c.promise(p)
		if n == 0 {
			return true
		}
	}
}

// goesOn reports whether the producer continues after an error.
func (c *clientProducer) goesOn(p *process, err error) bool {
	if p.ctx.Err() != nil {
		return false
	}
	for _, reason := range []error{dictwire.ErrLost, dictwire.ErrConflict, dictwire.ErrFenced} {
		if errors.Is(err, reason) {
			harmed := false
			c.ledger.do(func() {
				c.stopped = err
				harmed = c.rivals || c.ledger.lives > 0
			})
			c.ledger.say(c.name, "stops: %.200v", err)
			if !harmed {
				c.ledger.fail(c.name, "it stops for no reason: %v", err)
			}
			return false
		}
	}
	if p.disk != nil && p.disk.broken.Load() {
		c.ledger.say(c.name, "its disk fails: %.200v", err)
		c.die(p, false)
		return false
	}
	c.ledger.fail(c.name, "an error for no reason: %v", err)
	return false
}

func (c *clientProducer) hasMore() (is bool) {
	c.ledger.do(func() { is = c.last < c.count })
	return is
}

// bind makes the next record.
func (c *clientProducer) bind(p *process) dictwire.Record {
	bad := c.habits.bad > 0 && c.rng.IntN(c.habits.bad) == 0
	size := c.rng.IntN(c.habits.size + 1)
	var text string
	c.ledger.do(func() {
		c.last++
		text = fmt.Sprintf(`{"w":%q,"n":%d,"x":%q}`, c.name, c.last, strings.Repeat("x", size))
		if bad {
			text = fmt.Sprintf(`{"w":%q,"n":%d,"bad":true}`, c.name, c.last)
		}
		c.sent[c.last] = &parcel{text: text, bad: bad, at: time.Now(), process: p}
	})
	return dictwire.Record{Codec: json.Codec{}, Bytes: []byte(text)}
}

// promise records that everything that the process has sent is settled, or in the spool.
func (c *clientProducer) promise(p *process) {
	c.ledger.do(func() {
		if c.dead || c.process != p {
			return
		}
		for _, r := range c.sent {
			if r.process != p || r.promised {
				continue
			}
			r.promised, r.spooled = true, c.habits.atSpool
			switch {
			case !r.bad || r.rejected || r.spooled || c.ledger.lives > 0:
			case c.unnamed > 0:
				c.unnamed--
			default:
				c.ledger.sayLocked(c.name, "BROKEN: settled, and not rejected: %s", r.text)
				c.ledger.broken = fmt.Errorf("%s was told that %s is settled, and not that it is rejected", c.name, r.text)
			}
		}
	})
}

func (c *clientProducer) rejected(p *process, e *dictwire.RejectedError) {
	c.ledger.do(func() {
		if c.dead || c.process != p {
			return
		}
		if e.Record == nil {
			c.unnamed++
		}
		for _, r := range c.sent {
			if r.text == strings.TrimSpace(string(e.Record)) {
				r.rejected = true
			}
		}
	})
}

// audit compares an inventory with what the client sent and was promised.
func (c *clientProducer) audit(all []stored) error {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	prefix := fmt.Sprintf(`{"w":%q,`, c.name)
	found := map[string]int{}
	order := map[string]uint64{} // the last one, by producer
	for _, s := range all {
		if !strings.HasPrefix(string(s.bytes), prefix) {
			continue
		}
		var n uint64
		if _, err := fmt.Sscanf(string(s.bytes[len(prefix):]), `"n":%d,`, &n); err != nil {
			return err
		}
		r := c.sent[n]
		switch {
		case r == nil || r.text != string(s.bytes):
			return fmt.Errorf("%s did not send what is at %v: %.80s", c.name, s.at, s.bytes)
		case found[r.text] > 0:
			return fmt.Errorf("%s is stored twice, again at %v", r.text, s.at)
		case r.bad != (s.code == "handler"):
			return fmt.Errorf("%s is stored with the code %q", r.text, s.code)
		case n <= order[s.producer]:
			return fmt.Errorf("%s comes after number %d of its program", r.text, order[s.producer])
		}
		found[r.text]++
		order[s.producer] = n
	}
	for n := uint64(1); n <= c.last; n++ {
		r := c.sent[n]
		if !r.promised || found[r.text] > 0 {
			continue
		}
		told := c.stopped != nil || c.trouble
		switch {
		case r.at.Before(c.ledger.harmed.Add(patience)) && (told || c.restored || c.disk == nil && r.process != c.process):
			// The store has lost it, and whoever is alive and remembers it was told.
		case r.spooled && (c.stopped != nil || c.restored):
			// It is in the spool, or in the one that an old copy replaced.
		default:
			return fmt.Errorf("%s was promised to be settled, and is not stored: %.60s", c.name, r.text)
		}
	}
	return nil
}
