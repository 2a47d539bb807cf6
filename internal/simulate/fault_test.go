package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
)

// inWorld runs a test in a world with a running server, in which nothing happens by itself.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, 1)
		if err := w.machine.start(ctx); err != nil {
			t.Fatal(err)
		}
		test(t, w)
		w.machine.die(w.machine.run, false)
		w.machine.bury(w.machine.run)
		w.machine.ghosts.Wait()
	})
}

// A chat is a session that a test controls.
type chat struct {
	*talk
	t *testing.T
}

func (w *world) greet(t *testing.T, from, greeting string) *chat {
	t.Helper()
	c, end, err := begin(w.ctx, w.net.Host(from), server, greeting)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return &chat{c, t}
}

func (c *chat) say(lines ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(lines, "\n")+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hears fails if the server says something else. The expected message has the form of said.
func (c *chat) hears(want ...string) {
	c.t.Helper()
	for _, want := range want {
		m, err := c.hear()
		if got := said(m, err); got != want {
			c.t.Fatalf("the server said %q, want %q", got, want)
		}
	}
}

// said returns a short form of a message.
func said(m *message, err error) string {
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.code == "lost":
		return fmt.Sprint("lost, next ", refused.next)
	case errors.As(err, &refused):
		return refused.code
	case err != nil:
		return err.Error()
	case m.Dictwire != 0 && m.Window != 0:
		return fmt.Sprint("welcome, next ", m.number())
	case m.Dictwire != 0:
		return "ready"
	case m.Ack != nil:
		return fmt.Sprint("ack ", *m.Ack)
	case m.Rejected != nil:
		return fmt.Sprint("rejected ", *m.Rejected, " ", m.Code)
	case m.At != nil:
		return fmt.Sprint("batch of ", m.First)
	}
	return "progress"
}

func greeting(attempt, acked int) string {
	return fmt.Sprintf(`{"dictwire":1,"topic":"orders","producer":"p","attempt":%d,"acked":%d}`, attempt, acked)
}

// A late greeting, after one with a higher attempt, fences nobody.
func TestLateGreeting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.net.SetLink(func(_, _ string) memnet.Link { return memnet.Link{Up: memnet.Direction{Latency: 3 * time.Second}} })
		late := w.greet(t, "a", greeting(1, 0))
		w.net.SetLink(func(_, _ string) memnet.Link { return memnet.Link{} })
		c := w.greet(t, "a", greeting(2, 0))
		c.hears("welcome, next 1", "ack 0")
		time.Sleep(4 * time.Second)
		late.hears("stale")
		c.say(`{"n":1}`)
		c.hears("ack 1")
	})
}

// Of two sessions of one producer with equal attempts, the newer connection wins, and the
// other one is told.
func TestTwoSessions(t *testing.T) {
	for _, attempts := range [][2]int{{1, 2}, {7, 7}} {
		inWorld(t, func(t *testing.T, w *world) {
			a := w.greet(t, "a", greeting(attempts[0], 0))
			a.hears("welcome, next 1", "ack 0")
			a.say(`{"n":1}`)
			a.hears("ack 1")
			b := w.greet(t, "b", greeting(attempts[1], 1))
			b.hears("welcome, next 2", "ack 1")
			a.hears("fenced", "EOF")
			b.say(`{"n":2}`)
			b.hears("ack 2")
		})
	}
}

// A session takes over while the other one's records are being synced: it is told about
// them, and they are stored once.
func TestFencedInFlight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.greet(t, "a", greeting(1, 0))
		a.hears("welcome, next 1", "ack 0")
		going := make(chan struct{})
		w.machine.run.disk.after(1, func() { <-going })
		a.say(`{"n":1}`, `{"n":2}`, `{"n":3}`)
		synctest.Wait()
		b := w.greet(t, "b", greeting(2, 0))
		time.Sleep(time.Second)
		close(going)
		b.hears("welcome, next 4", "ack 3")
		b.say(`{"n":4}`)
		b.hears("ack 4")
		all, err := contents(w.ctx, w.machine.run.store, "orders")
		if err != nil || len(all) != 4 {
			t.Errorf("%d records are stored, %v, want 4", len(all), err)
		}
		for {
			m, err := a.hear()
			if got := said(m, err); got == "fenced" {
				break
			} else if got != "ack 3" {
				t.Fatalf("the older session was told %q", got)
			}
		}
	})
}

// A store that has less than it promised says so, and continues when told to.
func TestLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.machine
		a := w.greet(t, "a", greeting(1, 0))
		a.hears("welcome, next 1", "ack 0")
		a.say(`{"n":1}`)
		a.hears("ack 1")
		old := m.backup()
		a.say(`{"n":2}`, `{"n":3}`)
		for got := ""; got != "ack 3"; {
			message, err := a.hear()
			if got = said(message, err); got != "ack 2" && got != "ack 3" {
				t.Fatal(got)
			}
		}
		attempt := 1
		for _, c := range []struct {
			backup
			lost string
		}{{old, "lost, next 2"}, {backup{disk: newDisk()}, "lost, next 1"}} {
			m.die(m.run, true)
			m.restore(c.backup)
			w.restart(w.machine)
			attempt++
			b := w.greet(t, "a", greeting(attempt, 3))
			b.hears(c.lost, "EOF")
			accepted := strings.TrimSuffix(greeting(attempt+1, 3), "}") + `,"accept_lost":true}`
			b = w.greet(t, "a", accepted)
			b.hears("welcome, next 4", "ack 3")
			attempt++
		}
	})
}

// If a store was replaced, the sum of the record before the next one shows it.
func TestReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.machine.die(w.machine.run, true)
		w.machine.restore(w.foreign())
		w.restart(w.machine)
		a := w.addProducer("p0", traits{window: 9}, 3)
		a.producer.bind(1)
		w.live(a)
		<-a.done
		if !errors.Is(a.producer.stopped, errConflict) {
			t.Errorf("it stopped with %v", a.producer.stopped)
		}
	})
}

// Invalid records end their session, and affect nothing else.
func TestPoison(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.greet(t, "a", greeting(1, 0))
		a.hears("welcome, next 1", "ack 0")
		a.say(`{"n":1}`)
		a.hears("ack 1")
		a.say(`{"n":}`)
		a.hears("rejected 2 malformed", "ack 2", "malformed", "EOF")
		b := w.greet(t, "a", greeting(2, 1))
		b.hears("welcome, next 3", "rejected 2 malformed", "ack 2")
		b.say(`{"n":3,"bad":true}`)
		b.hears("rejected 3 handler", "ack 3")
		b.say(`{"n":4,` + strings.Repeat(" ", 2<<20) + `}`)
		b.hears("rejected 4 too_large", "ack 4", "too_large")
		c := w.greet(t, "a", greeting(3, 4))
		c.hears("welcome, next 5", "ack 4")
		c.say(`{"n":5}`)
		c.hears("ack 5")
	})
}

// While the disk is full, nothing is acknowledged, and reads continue. Writing resumes when
// there is room.
func TestDiskFull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.greet(t, "a", greeting(1, 0))
		a.hears("welcome, next 1", "ack 0")
		a.say(`{"n":1}`)
		a.hears("ack 1")
		w.machine.run.disk.full.Store(true)
		time.Sleep(2 * time.Second)
		a.say(`{"n":2}`)
		m, err := a.hear()
		var refused *refusal
		if !errors.As(err, &refused) || refused.code != "unavailable" || refused.retry <= 0 {
			t.Fatalf("the server said %+v, %v", m, err)
		}
		reads(t, w, 1)
		w.machine.run.disk.full.Store(false)
		time.Sleep(2 * time.Second)
		b := w.greet(t, "a", greeting(2, 1))
		b.hears("welcome, next 2", "ack 1")
		b.say(`{"n":2}`)
		b.hears("ack 2")
		reads(t, w, 2)
	})
}

// After the disk has failed, nothing is acknowledged, and reads continue as long as the
// process runs.
func TestDiskFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.machine.undying = true
		a := w.greet(t, "a", greeting(1, 0))
		a.hears("welcome, next 1", "ack 0")
		a.say(`{"n":1}`)
		a.hears("ack 1")
		w.machine.run.disk.broken.Store(true)
		a.say(`{"n":2}`)
		a.hears("unavailable", "EOF")
		reads(t, w, 1)
		w.machine.run.disk.broken.Store(false)
		w.greet(t, "a", greeting(2, 1)).hears("unavailable", "EOF")
		reads(t, w, 1)
	})
}

// reads reads everything, and expects n records.
func reads(t *testing.T, w *world, n int) {
	t.Helper()
	r := w.greet(t, "r", `{"dictwire":1,"subscribe":"orders"}`)
	r.hears("ready")
	for got := 0; ; {
		m, err := r.hear()
		if err != nil {
			t.Fatal(err)
		}
		if m.End != nil {
			if got != n {
				t.Fatalf("%d records were read, want %d", got, n)
			}
			return
		}
		for _, length := range m.Lengths {
			got++
			if _, err := io.CopyN(io.Discard, r.r, int64(length)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
