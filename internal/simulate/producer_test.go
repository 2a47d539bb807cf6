package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store"
)

// A producer is a writer that keeps its numbers and records as in a file: durably, before a
// record's first byte is sent.
type producer struct {
	*book
	ledger *ledger
	host   *memnet.Host
	server string
	seed   uint64
	rng    *rand.Rand // of the goroutine that runs the producer
	traits traits
	spoke  [2]int64 // bytes up and down in its last session
	rivals bool     // another one uses the same name, and being told so is right

	count   uint64 // how many records it will bind
	bound   uint64 // how many it has bound
	attempt uint64
	kept    uint64 // the highest number that it knows is settled
	saved   uint64 // the same, durably
	accept  bool   // it accepts a loss
	told    span   // by the last lost, with the number of lives then
	lives   int
}

// traits are how producers differ.
type traits struct {
	window   uint64 // the most in flight
	holds    uint64 // settled records that it keeps
	uncounts bool   // it sends no attempt
	bad      int    // one of so many records must be rejected; 0: none
	poison   int    // one of so many is invalid; 0: none
	size     int    // of a record, approximately
	pause    time.Duration
	lazy     bool // it does not half-close
}

func (p *producer) String() string { return p.writer }

// bind makes the record of a number, unless there is one.
func (p *producer) bind(n uint64) []byte {
	if n <= p.bound {
		return p.record(n).bytes
	}
	rng := rand.New(rand.NewPCG(p.seed, n))
	t := p.traits
	r := record{whole: true}
	text := fmt.Sprintf(`{"w":%q,"n":%d,"x":%q}`, p.writer, n, strings.Repeat("x", rng.IntN(t.size+1)))
	switch {
	case t.poison > 0 && rng.IntN(t.poison) == 0:
		text = fmt.Sprintf(`{"w":%q,"n":%d,"x" 7}`, p.writer, n)
		r.code, r.whole = "malformed", false
	case t.bad > 0 && rng.IntN(t.bad) == 0:
		text = fmt.Sprintf(`{"w":%q,"n":%d,"bad":true}`, p.writer, n)
		r.code = "handler"
	}
	r.bytes = []byte(text)
	p.ledger.do(func() { p.sent[n] = r })
	p.bound = n
	return r.bytes
}

func (p *producer) record(n uint64) (r record) {
	p.ledger.do(func() { r = p.sent[n] })
	return r
}

// first returns the oldest record that it keeps.
func (p *producer) first() uint64 {
	if p.kept <= p.traits.holds {
		return 1
	}
	return p.kept - p.traits.holds + 1
}

// isOwn reports whether the server's sum matches the producer's record, or its first bytes.
// Without a sum there is nothing to compare.
func (p *producer) isOwn(n uint64, sum string, of int) bool {
	data := p.record(n).bytes
	if sum == "" || of > len(data) {
		return true
	}
	if of > 0 {
		data = data[:of]
	}
	return sum == fmt.Sprintf("%08x", crc32.Checksum(data, castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errConflict says that another log uses the producer's name.
var errConflict = errors.New("conflict: record next-1 is not its own")

// run sends until everything is settled, ctx ends or the producer must stop.
func (p *producer) run(ctx context.Context) {
	for ctx.Err() == nil && p.stopped == nil && (p.kept < p.count) {
		p.attempt++
		err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := time.Duration(p.rng.IntN(300)) * time.Millisecond
		var refused *refusal
		var broke *violation
		switch {
		case errors.As(err, &broke):
			p.ledger.fail(p.writer, "%v", err)
			p.stop(err)
		case errors.Is(err, errConflict):
			p.stop(err)
		case errors.As(err, &refused):
			wait = max(wait, refused.retry)
			switch refused.code {
			case "fenced":
				if !p.traits.uncounts {
					p.stop(err)
				}
			case "stale", "conflict":
				p.stop(err)
			case "lost":
				p.accept = true
				p.ledger.do(func() { p.lives = p.ledger.lives })
				p.told = span{min(refused.next, p.kept+1), 0}
				if p.lives == 0 {
					p.ledger.fail(p.writer, "lost, of a store that lost nothing: %v", err)
				}
			case "unavailable", "shutdown", "malformed", "truncated", "idle", "rate":
				if refused.code == "unavailable" && strings.Contains(refused.Error(), "connect again") {
					// A claim on the only server: nobody else has moved the producer.
					p.ledger.fail(p.writer, "the store is not where its claim said: %v", err)
				}
			default:
				p.ledger.fail(p.writer, "a refusal for no reason: %v", err)
				p.stop(err)
			}
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			p.ledger.say(p.writer, "session ends: acked %d, bound %d, %v", p.kept, p.bound, err)
		}
		if p.stopped == nil && p.kept < p.count {
			time.Sleep(wait)
		}
	}
}

// stop gives up. Only a producer with a rival, or whose store was damaged, may do that.
func (p *producer) stop(err error) {
	lives := 0
	p.ledger.do(func() { p.stopped, lives = err, p.ledger.lives })
	if !p.rivals && lives == 0 {
		p.ledger.fail(p.writer, "it stops for no reason: %v", err)
	}
}

// die is the death of the process: what was not saved is forgotten.
func (p *producer) die() { p.kept = p.saved }

func (p *producer) greeting() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"dictwire":1,"topic":%q,"producer":%q,"acked":%d,"first":%d`, p.topic, p.producer, p.kept, p.first())
	if !p.traits.uncounts {
		fmt.Fprintf(&b, `,"attempt":%d`, p.attempt)
	}
	b.WriteString(p.token())
	if p.accept {
		b.WriteString(`,"accept_lost":true`)
	}
	return b.String() + "}"
}

// token returns the token for a greeting: see machine.authorize.
func (p *producer) token() string {
	if p.principal == store.Anonymous {
		return ""
	}
	return fmt.Sprintf(`,"token":%q`, p.principal)
}

func (p *producer) session(ctx context.Context) error {
	greeting := p.greeting()
	t, end, err := begin(ctx, p.host, p.server, greeting)
	if err != nil {
		return err
	}
	p.ledger.say(p.writer, "has greeted: %s", greeting)
	if p.accept && p.rivals { // the server may not tell the others about the loss, even if its answer is lost
		p.ledger.do(func() { p.lost = append(p.lost, span{1, p.kept + 1}) })
	}
	defer end()
	defer func() { p.spoke = t.spoke() }()
	m, err := t.hear()
	if err != nil {
		return err
	}
	if m.Dictwire != 1 {
		return &violation{"no welcome"}
	}
	next := m.number()
	p.ledger.do(func() { maps.DeleteFunc(p.rejected, func(n uint64, _ string) bool { return n > p.kept }) })
	if err := p.resume(m); err != nil {
		return err
	}
	p.ledger.say(p.writer, "welcome: next %d, sum %q", next, m.Sum)

	f := &flow{window: min(p.traits.window, m.Window), acked: next - 1, sent: next - 1}
	f.cond = sync.NewCond(&f.mu)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer f.end()
	defer t.Close()
	for settled := false; ; {
		m, err := t.hear()
		switch {
		case err == io.EOF && p.kept == p.count:
			return nil
		case err != nil:
			return err
		}
		switch {
		case m.Rejected != nil:
			if err := p.reject(*m.Rejected, m.Code, f.sentUpTo()); err != nil {
				return err
			}
		case m.Ack != nil:
			if err := p.settle(*m.Ack, f.sentUpTo()); err != nil {
				return err
			}
			if !settled {
				if *m.Ack != next-1 {
					return &violation{fmt.Sprintf("next %d, then ack %d", next, *m.Ack)}
				}
				settled = true
				p.accept = false
				writing.Go(func() { p.write(ctx, t, f, next) })
			}
			f.ack(*m.Ack)
			if p.kept == p.count && p.traits.lazy {
				return nil
			}
		case m.Reply != nil:
			if _, err := io.CopyN(io.Discard, t.r, int64(m.Length)); err != nil {
				return err
			}
		default:
			return &violation{fmt.Sprintf("said to a writer: %+v", m)}
		}
	}
}

// resume compares the server's welcome with what the producer has.
func (p *producer) resume(m *message) error {
	next := m.number()
	last := next - 1
	if last > p.bound || last > 0 && !p.isOwn(last, m.Sum, m.Of) {
		return errConflict
	}
	if p.accept {
		from := min(p.told.from, next)
		p.ledger.do(func() {
			if p.ledger.foreign || p.rivals || p.ledger.lives != p.lives {
				from = 1 // that store may have another's records, or was damaged again
			}
			p.lost = append(p.lost, span{from, next})
			p.acked = min(p.acked, last)
		})
		p.kept = min(p.kept, last)
		p.saved = p.kept
	}
	if next <= p.kept {
		return &violation{fmt.Sprintf("next %d, where %d was acknowledged", next, p.kept)}
	}
	return nil
}

// reject records a rejection.
func (p *producer) reject(n uint64, code string, sent uint64) error {
	if n <= p.kept || n > sent {
		return &violation{fmt.Sprintf("%d is rejected, of (%d, %d]", n, p.kept, sent)}
	}
	if want := p.record(n).code; want != code {
		return &violation{fmt.Sprintf("%d is rejected: %s, want %q", n, code, want)}
	}
	p.ledger.do(func() { p.rejected[n] = code })
	return nil
}

// settle records that everything up to a number is settled.
func (p *producer) settle(n, sent uint64) error {
	if n > sent {
		return &violation{fmt.Sprintf("ack %d, of %d that were sent", n, sent)}
	}
	if n < p.kept {
		return &violation{fmt.Sprintf("ack %d, after %d", n, p.kept)}
	}
	for i := p.kept + 1; i <= n; i++ {
		if want := p.record(i).code; want != p.rejected[i] && !p.wasLost(i) {
			return &violation{fmt.Sprintf("ack %d, and %d was not rejected: want %q", n, i, want)}
		}
	}
	p.ledger.do(func() { p.acked = max(p.acked, n) })
	p.kept = n
	if p.rng.IntN(3) > 0 {
		p.saved = p.kept
	}
	return nil
}

// write sends the records from a number on.
func (p *producer) write(ctx context.Context, t *talk, f *flow, next uint64) {
	rng := rand.New(rand.NewPCG(next, p.attempt))
	for n := next; n <= p.count; n++ {
		if !f.admit(n) {
			return
		}
		if p.traits.pause > 0 && rng.IntN(4) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(rng.Int64N(int64(p.traits.pause)))):
			}
		}
		line := append(bytes.Clone(p.bind(n)), '\n')
		_ = t.SetWriteDeadline(time.Now().Add(patience))
		if _, err := t.Write(line); err != nil {
			return
		}
	}
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok && !p.traits.lazy {
		_ = half.CloseWrite()
	}
}

// A flow is a session's window.
type flow struct {
	window uint64

	mu          sync.Mutex
	cond        *sync.Cond
	acked, sent uint64
	ended       bool
}

// admit waits until record n may be sent.
func (f *flow) admit(n uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ended && n > f.acked+f.window {
		f.cond.Wait()
	}
	if !f.ended {
		f.sent = n
	}
	return !f.ended
}

func (f *flow) ack(n uint64) { f.mu.Lock(); f.acked = n; f.cond.Broadcast(); f.mu.Unlock() }
func (f *flow) end()         { f.mu.Lock(); f.ended = true; f.cond.Broadcast(); f.mu.Unlock() }

func (f *flow) sentUpTo() uint64 { f.mu.Lock(); defer f.mu.Unlock(); return f.sent }
