package dictwire_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
)

// A caller is a connection that records all lines.
type caller struct {
	t *testing.T
	net.Conn
	lines chan string
	began time.Time
}

func call(t *testing.T, l *pipeListener) *caller {
	c := &caller{t: t, Conn: l.dial(), lines: make(chan string, 100), began: time.Now()}
	go func() {
		defer close(c.lines)
		for in := bufio.NewScanner(c); in.Scan(); {
			c.lines <- in.Text()
		}
	}()
	return c
}

func (c *caller) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// gaveWay reports whether the connection has been closed in favour of another one.
func (c *caller) gaveWay() bool {
	synctest.Wait()
	for last := ""; ; {
		select {
		case line, ok := <-c.lines:
			if !ok {
				if !strings.Contains(last, `"code":"idle"`) {
					c.t.Errorf("a connection ended with %q", last)
				}
				return true
			}
			last = line
		default:
			return false
		}
	}
}

// served waits until a native session is open.
func (c *caller) served() {
	c.t.Helper()
	c.say(`{"dictwire":1}` + "\n")
	for range 2 {
		if line := <-c.lines; !strings.HasPrefix(line, `{"dictwire":1`) && !strings.HasPrefix(line, `{"ack":`) {
			c.t.Fatalf("heard %q", line)
		}
	}
}

// With too many connections, those without a session give way first, and then the one that
// has been silent for the longest.
func TestSilentGiveWay(t *testing.T) {
	inBubble(t, &dictwire.Server{MaxConns: 4}, func(t *testing.T, l *pipeListener) {
		early, late := call(t, l), call(t, l)
		early.served()
		late.served()
		silent, half := call(t, l), call(t, l)
		time.Sleep(time.Minute)
		half.say("{")
		late.say(`{"a":1}`)
		early.say(" \n ") // does not count

		first := call(t, l)
		first.served()
		if !silent.gaveWay() || half.gaveWay() || early.gaveWay() || late.gaveWay() {
			t.Fatal("not the one that never said anything gave way")
		}
		second := call(t, l)
		second.served()
		if !half.gaveWay() || early.gaveWay() || late.gaveWay() {
			t.Fatal("not the one without a session gave way")
		}
		third := call(t, l)
		third.served()
		if !early.gaveWay() || late.gaveWay() {
			t.Fatal("not the one that has been silent for the longest gave way")
		}

		// Connections that send do not give way, and neither do new ones.
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for _, c := range []*caller{late, first, second, third} {
				c.say(`{"a":1}`)
			}
		}
		next := call(t, l)
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for _, c := range []*caller{late, first, second, third} {
				c.say(`{"a":1}`)
			}
		}
		for _, c := range []*caller{late, first, second, third} {
			if c.gaveWay() {
				t.Fatal("one that speaks gave way")
			}
		}
		began := time.Now()
		_ = late.Close()
		next.served()
		if waited := time.Since(began); waited > 10*time.Millisecond {
			t.Errorf("a place that was given back was taken after %v", waited)
		}
		for _, c := range []*caller{first, second, third, next} {
			_ = c.Close()
		}
	})
}

// A reader that reads nothing is silent, and one that receives records is not.
func TestStuckReaderGivesWay(t *testing.T) {
	st := records(t, 200, 1000)
	inBubble(t, &dictwire.Server{MaxConns: 2, Store: st}, func(t *testing.T, l *pipeListener) {
		stuck, reader := l.dial(), call(t, l)
		for _, c := range []net.Conn{stuck, reader} {
			if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t"}`+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		ready(t, stuck)
		taken := make(chan string, 1)
		go func() {
			last := ""
			for last = range reader.lines {
				time.Sleep(20 * time.Millisecond)
			}
			taken <- last
		}()
		time.Sleep(5 * time.Second)
		c := call(t, l)
		c.served()
		if _, err := io.ReadAll(stuck); err != nil {
			t.Error(err)
		}
		if last := <-taken; !strings.Contains(last, `{"end":`) {
			t.Errorf("the other one heard %s", last)
		}
		_ = c.Close()
	})
}
