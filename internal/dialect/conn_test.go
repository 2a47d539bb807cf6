package dialect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
)

func newRules() *dialect.Rules {
	return &dialect.Rules{
		Memory: lease.NewBudget(8<<20, 2<<20), Building: lease.NewPot(8 << 20), Reading: lease.NewBudget(8<<20, 2<<20), Turns: lease.NewTurns(), MaxRecord: 1 << 20,
		FirstTimeout: time.Minute, OpenTimeout: 10 * time.Second, IdleTimeout: time.Hour, RecordTimeout: time.Minute, WriteTimeout: 10 * time.Second,
	}
}

// Bytes that arrive in pieces of any size are kept until they are discarded, and Offset is
// their offset in the connection.
func TestConnReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		c := dialect.NewConn(server, newRules())
		sent := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%7919)
				if _, err := client.Write(rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
			_ = client.Close()
		}()
		var got []byte
		for kept := 0; ; {
			err := c.More(t.Context(), kept > 0, nil)
			b := c.Buffered()
			if int(c.Offset()) != len(got) || !bytes.Equal(b, sent[len(got):len(got)+len(b)]) {
				t.Fatalf("at %d stand %d other bytes than were sent at %d", c.Offset(), len(b), len(got))
			}
			if err == io.EOF {
				got = append(got, b...)
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			take := len(b) * 2 / 3 // the rest is seen again
			got = append(got, b[:take]...)
			c.Discard(take)
			kept = len(b) - take
		}
		if !bytes.Equal(got, sent) {
			t.Error("something else was read than sent")
		}
		_ = c.Abort()
	})
}

// Replies in quick succession are written together; those of a quiet connection at once.
func TestConnReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		c := dialect.NewConn(server, newRules())
		var writes []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 64<<10)
			for {
				n, err := client.Read(b)
				if err != nil {
					return
				}
				writes = append(writes, string(b[:n]))
			}
		}()
		reply := func(d *dict.Dict) {
			if err := c.Reply(json.Codec{}, d); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		reply(dict.Of("a", 1))
		reply(dict.Of("a", 2))
		reply(dict.Of("a", 3))
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		reply(dict.Of("text", strings.Repeat("x", 5000))) // too much to buffer
		if err := c.Reply(json.Codec{}, dict.Of("set", dict.Bytes(nil))); err == nil {
			t.Error("bytes were written as JSON")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-done
		want := []string{"{\"a\":1}\n", "{\"a\":2}\n{\"a\":3}\n", `{"text":"` + strings.Repeat("x", 5000) + "\"}\n"}
		if strings.Join(writes, "|") != strings.Join(want, "|") {
			t.Errorf("written: %.100q, want %.100q", writes, want)
		}
	})
}

// A speaker says two things when its connection gives its memory back, as another goroutine
// may do at that moment.
type speaker struct{ c *dialect.Conn }

func (speaker) Scratch() int { return 0 }

func (s speaker) Release() {
	for _, b := range []string{"one ", "two"} { // the second waits for a flush
		_, _ = s.c.Write([]byte(b))
	}
}

// What is said while a connection gives its memory back is not lost.
func TestConnReleaseKeepsOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		c := dialect.NewConn(server, newRules())
		heard := make(chan string, 1)
		go func() {
			_, _ = client.Write([]byte("x"))
			b, _ := io.ReadAll(client)
			heard <- string(b)
		}()
		if err := c.More(t.Context(), false, nil); err != nil {
			t.Fatal(err)
		}
		c.Discard(1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(5 * time.Second); cancel(); c.End(context.Canceled) }()
		if err := c.More(ctx, false, speaker{c}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		_ = c.Flush()
		_ = c.Abort()
		if got := <-heard; got != "one two" {
			t.Errorf("the peer heard %q", got)
		}
	})
}

// A context ends the wait for memory, and also the wait for bytes if the connection is
// closed with it.
func TestConnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		why := errors.New("the server ends")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := dialect.NewConn(server, newRules())
		go func() {
			time.Sleep(time.Second)
			cancel(why)
			_ = c.Abort()
		}()
		if err := c.More(ctx, false, nil); !errors.Is(err, why) {
			t.Errorf("More = %v", err)
		}
	})
}

// A reply that is being written when the connection is ended arrives whole, also within a
// wrapper, and what follows it, too. A peer that reads nothing has little time left.
func TestEndWithinReply(t *testing.T) {
	for name, wrap := range map[string]func(*dialect.Conn){
		"bare": func(*dialect.Conn) {}, "wrapped": func(c *dialect.Conn) { c.Wrap(c.Hijack()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				c := dialect.NewConn(server, newRules())
				wrap(c)
				flush := func(s string) {
					_, err := c.Write([]byte(s)) // at once, since the connection was quiet
					if err = errors.Join(err, c.Flush()); err != nil {
						t.Errorf("%s: %v", s, err)
					}
				}
				heard := make(chan struct{})
				go func() {
					defer close(heard)
					synctest.Wait() // the welcome waits for the client
					c.End(errors.New("fenced"))
					synctest.Wait()
					b := make([]byte, len("welcome fenced"))
					if _, err := io.ReadFull(client, b); err != nil || string(b) != "welcome fenced" {
						t.Errorf("read %q, %v", b, err)
					}
				}()
				flush("welcome ")
				flush("fenced")
				_ = c.Abort()
				<-heard
			})
		})
		t.Run(name+", deaf", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				c := dialect.NewConn(server, newRules())
				wrap(c)
				began := time.Now()
				go func() {
					time.Sleep(time.Second)
					c.End(errors.New("fenced"))
				}()
				_, err := c.Write([]byte("welcome"))
				if err = errors.Join(err, c.Flush()); err == nil || time.Since(began) > 2*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				_, _ = client.Close(), c.Abort()
			})
		})
	}
}

func TestFaultOf(t *testing.T) {
	_, err := json.Codec{}.Decode([]byte(`{"a": tru}`), codec.Limits{})
	f := dialect.FaultOf(err, 1000)
	if f.Code != fault.Malformed || f.At != 1006 || !errors.Is(f, err) || f.Error() != err.Error() {
		t.Errorf("%#v", f)
	}
	if got, want := f.Dict().String(), `{'error': "json: want a value, got 't' (at byte 6, in /a)", 'code': 'malformed', 'at': 1006}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if f := dialect.FaultOf(io.ErrUnexpectedEOF, 7); f.Code != fault.Internal || f.At != 7 {
		t.Errorf("%#v", f)
	}
}

// What a reader has taken makes it known and pays for turns of its host, and not what waits
// for it. If its records are bad, it has to take as much again to be known.
func TestKnownReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rules := newRules()
		c := dialect.NewConn(server, rules)
		chunk := make([]byte, 64<<10)
		go func() {
			for range 64 {
				if err := c.Own().Send(chunk); err != nil {
					return
				}
			}
		}()
		take := func(n int64) {
			if _, err := io.CopyN(io.Discard, client, n); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		host := rules.Turns.Host(c.Host())
		if take(64<<10 - 1); host.HasCredit() {
			t.Error("its host has credit before it has taken 64 KiB")
		}
		if take(1); !host.HasCredit() {
			t.Error("it has taken 64 KiB, and its host has no credit")
		}
		if take(15<<16 - 1); c.Known() {
			t.Error("it is known before it has taken 1 MiB")
		}
		if take(1); !c.Known() {
			t.Error("it has taken 1 MiB, and is not known")
		}
		if c.SetKnown(false); c.Known() {
			t.Error("its records were bad, and it is known")
		}
		if take(1<<20 - 1); c.Known() {
			t.Error("it has taken less than 1 MiB since, and is known")
		}
		if take(1); !c.Known() {
			t.Error("it has taken 1 MiB again, and is not known")
		}
		_ = client.Close()
		_ = server.Close()
	})
}

// A reader's turn ends when it waits for its peer, so that the others don't.
func TestSendRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := newRules()
		producer := rules.Turns.Host("producer")
		producer.Credit(1)
		// reader begins to read, and returns its end of the connection.
		reader := func() (*dialect.Worker, net.Conn) {
			client, server := net.Pipe()
			c := dialect.NewConn(server, rules)
			c.SetKnown(true)
			w := c.Worker()
			if err := w.Room().Need(t.Context(), 1); err != nil {
				t.Error(err)
			}
			return w, client
		}
		for range max(min(runtime.GOMAXPROCS(0), runtime.NumCPU())/2, 1) {
			w, client := reader()
			defer client.Close()
			go func() { _ = w.Send([]byte("nobody reads it")) }()
		}
		began := time.Now()
		if reader(); time.Since(began) == 0 || time.Since(began) >= 5*time.Millisecond {
			t.Errorf("another reader waits for %v; want the time after which a peer is slow", time.Since(began))
		}
	})
}

// pressed makes somebody wait for memory until the test ends.
func pressed(t *testing.T, rules *dialect.Rules) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	for range 3 {
		go func() { _ = rules.Memory.Lease(nil).Resize(ctx, 8<<20) }()
	}
	synctest.Wait()
	if !rules.Memory.Pressed() {
		t.Fatal("nobody waits")
	}
}

// spent is pressed, and also uses up the memory for small requests.
func spent(t *testing.T, rules *dialect.Rules) {
	t.Helper()
	pressed(t, rules)
	for rules.Memory.Lease(nil).TryResize(1 << 10) {
	}
}

// While others wait for memory, a record is given up after a second without progress,
// however much has arrived.
func TestSilentWithinRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rules := newRules()
		c := dialect.NewConn(server, rules)
		pressed(t, rules)
		go func() { _, _ = client.Write(make([]byte, 12<<10)) }()
		var (
			err    error
			silent time.Time
		)
		for err == nil {
			silent = time.Now()
			err = c.More(t.Context(), true, nil)
			c.Discard(0)
		}
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Rate || time.Since(silent) != time.Second {
			t.Errorf("after %v: %v", time.Since(silent), err)
		}
		_ = client.Close()
		_ = c.Close()
	})
}

// A scratch holds some memory.
type scratch int

func (s scratch) Scratch() int { return int(s) }
func (scratch) Release()       {}

// A buffer that is larger than its content gives way to other memory of its connection,
// without waiting: strangers may hold all the memory.
func TestBufferGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rules := newRules()
		c := dialect.NewConn(server, rules)
		read := func(n int, h dialect.Holder) {
			t.Helper()
			go func() { _, _ = client.Write(make([]byte, n)) }()
			for got := 0; got < n; {
				before := time.Now()
				if err := c.More(t.Context(), false, h); err != nil || time.Since(before) > 0 {
					t.Fatalf("after %v: %v", time.Since(before), err)
				}
				got += len(c.Buffered())
				c.Discard(len(c.Buffered()))
			}
		}
		read(1<<20, nil) // fast, so that the buffer grows
		spent(t, rules)
		read(1<<10, scratch(40<<10))
		_ = client.Close()
		_ = c.Close()
	})
}

// Waiting for memory for a body ends the turn, since those that wait for turns hold memory.
func TestBodyWaitsWithoutTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := net.Pipe()
		rules := newRules()
		c := dialect.NewConn(server, rules)
		ctx, cancel := context.WithCancel(t.Context())
		spent(t, rules)
		rules.Turns.Host("known").Turn().Known()
		for range max(runtime.GOMAXPROCS(0)/4, 1) {
			w := c.Worker()
			if err := w.BeginLong(ctx); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = w.NewBody(ctx, strings.NewReader(""), 64<<10, func(time.Time) error { return nil }) }()
		}
		synctest.Wait()
		if err := c.Worker().BeginLong(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		_ = c.Abort()
	})
}

// Waiting for a turn does not count against a record.
func TestTurnIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rules := newRules()
		c := dialect.NewConn(server, rules)
		pressed(t, rules)
		rules.Turns.Host("known").Turn().Known()
		for i := range 400 * max(runtime.GOMAXPROCS(0)/4, 1) { // 5 ms each
			crowd := rules.Turns.Host(fmt.Sprint(i)).Turn()
			go func() { _ = crowd.Begin(t.Context(), nil) }()
		}
		go func() {
			for range 4 { // known peers are always active
				rules.Turns.Host("known").Turn().Known()
				time.Sleep(500 * time.Millisecond)
			}
		}()
		synctest.Wait()
		go func() {
			_, _ = client.Write([]byte(`{"a":`))
			time.Sleep(500 * time.Millisecond) // the record's own time
			_, _ = client.Write([]byte(`1}`))
		}()
		began := time.Now()
		for range 2 {
			if err := c.More(t.Context(), true, nil); err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
		}
		if waited := time.Since(began); waited < 2*time.Second {
			t.Errorf("it waited for %v only", waited)
		}
		_ = client.Close()
		_ = c.Close()
		time.Sleep(time.Second)
	})
}
