package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/fault"
)

// batch is a message with records, and their bytes.
func batch(at, next string, first int, records ...string) string {
	lengths := make([]string, len(records))
	for i, r := range records {
		lengths[i] = fmt.Sprint(len(r))
	}
	return fmt.Sprintf(`{"at":%q,"next":%q,"topic":"t","producer":"p","first":%d,"time":"2026-11-23T10:00:00.5Z","format":"json","lengths":[%s]}`,
		at, next, first, strings.Join(lengths, ",")) + "\n" + strings.Join(records, "")
}

// read runs a loop in the background. It reports what the loop sees, and calls do for each
// batch.
func read(ctx context.Context, c *dictwire.Client, req dictwire.SubscribeRequest, do func(*dictwire.Batch) error) <-chan string {
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		for b, err := range c.Subscribe(ctx, req) {
			switch {
			case b == nil:
				seen <- err.Error()
				continue
			case err != nil:
				seen <- b.Next + " " + err.Error()
			case len(b.Records) == 0:
				seen <- b.Next
			}
			i := 0
			for d, err := range b.All() {
				seen <- fmt.Sprint(b.Record(i).Position(), " ", d, " ", err)
				i++
			}
			if do != nil {
				if err := do(b); err != nil {
					seen <- err.Error()
				}
			}
		}
	}()
	synctest.Wait()
	return seen
}

// ready reads a reader's greeting, and answers with the beginning of the read.
func (p *peer) ready(next string) {
	p.t.Helper()
	p.say(`{"dictwire":1,"next":"` + next + `"}`)
}

func wantSeen(t *testing.T, seen <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got, ok := <-seen:
			if !ok || !strings.Contains(got, w) {
				t.Fatalf("%q, %v, want %q", got, ok, w)
			}
		case <-time.After(time.Hour):
			t.Fatalf("nothing, want %q", w)
		}
	}
}

// Everything that a server can send to a reader.
func TestSubscribe(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Token: "secret"})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{
			Topics: []string{"t", "u.*"}, From: "10m", Codec: cbor.Codec{}, Lossy: true,
		}, func(b *dictwire.Batch) error { return b.Commit(t.Context()) })
		p := srv.accept()
		g := p.greeting()
		if !slices.Equal(g.Subscribe, []string{"t", "u.*"}) || g.From != "10m" || g.Format != "cbor" || !g.Lossy || g.Follow ||
			g.Cursor != "" || g.Token != "secret" {
			t.Errorf("greeting %+v", g)
		}
		p.ready("a.1.0")
		p.raw(batch("a.1.0", "a.2.0", 7, line(1), line(2)))
		no := "the subscription has no cursor"
		wantSeen(t, seen, "a.1.0", no, "a.1.0 {'n': 1} <nil>", "a.1.1 {'n': 2} <nil>", no)
		p.say(`{"skipped":{"from":"a.2.0","to":"a.4.0","topic":"t"},"next":"a.4.0"}`)
		wantSeen(t, seen, "a.4.0 dictwire: records of topic t between a.2.0 and a.4.0 were trimmed", no)
		p.say(`{"damaged":{"from":"a.4.0","to":"a.5.0","error":"checksum"},"next":"a.5.0"}`)
		wantSeen(t, seen, "a.5.0 dictwire: records between a.4.0 and a.5.0 can't be read: checksum", no)
		p.say(`{"next":"a.9.0"}`)
		wantSeen(t, seen, "a.9.0", no)
		p.say(`{"end":"a.9.0"}`)
		wantSeen(t, seen, "a.9.0", no)
		if got, ok := <-seen; ok {
			t.Errorf("%q after the end", got)
		}
		settled(t, c)
		p.ended()
	})
}

// After a broken connection, reading resumes where it was.
func TestSubscribeAgain(t *testing.T) {
	for _, cursor := range []bool{false, true} {
		scriptedTest(t, func(t *testing.T, srv *scripted) {
			c := srv.dial(dictwire.Dialer{})
			ctx, cancel := context.WithCancel(t.Context())
			req := dictwire.SubscribeRequest{Follow: true, From: "latest"}
			if cursor {
				req.Cursor = "billing"
			}
			seen := read(ctx, c, req, nil)
			p := srv.accept()
			if g := p.greeting(); g.From != "latest" || !slices.Equal(g.Subscribe, []string{"*"}) || !g.Follow {
				t.Errorf("greeting %+v", g)
			}
			p.ready("a.5.0")
			_ = p.conn.Close()
			p = srv.accept()
			if g := p.greeting(); g.From != "a.5.0" {
				t.Errorf("greeting %+v", g)
			}
			p.ready("a.5.0")
			p.raw(batch("a.5.0", "a.5.2", 1, line(1), line(2)))
			wantSeen(t, seen, "a.5.0", "a.5.0 {'n': 1}", "a.5.1 {'n': 2}")
			p.raw(batch("a.6.0", "a.7.0", 9, line(3))[:30])
			at := time.Now()
			p.ended() // after 15 s
			if d := time.Since(at); d != 15*time.Second {
				t.Errorf("ended after %v", d)
			}
			p = srv.accept()
			if g := p.greeting(); g.From != "a.5.2" {
				t.Errorf("greeting %+v", g)
			}
			if cursor { // it has not moved
				p.ready("a.5.0")
				p.raw(batch("a.5.0", "a.6.0", 1, line(1), line(2), line(3)))
			} else {
				p.ready("a.5.2")
				p.raw(batch("a.5.2", "a.6.0", 3, line(3)))
			}
			wantSeen(t, seen, "a.5.2 {'n': 3}")
			p.say(`{"error":"disk","code":"unavailable","retry_ms":3000}`)
			at = time.Now()
			p.ended()
			p = srv.accept()
			if d := time.Since(at); d < 3*time.Second || d > 3750*time.Millisecond {
				t.Errorf("again after %v", d)
			}
			p.greeting()
			if cursor {
				p.ready("a.5.0")
				p.raw(batch("a.5.0", "a.6.0", 1, line(1), line(2), line(3)))
				p.say(`{"next":"a.6.0"}`)
			} else {
				p.ready("a.6.0")
			}
			p.say(`{"next":"a.8.0"}`)
			wantSeen(t, seen, "a.8.0")
			cancel()
			wantSeen(t, seen, "canceled")
			settled(t, c)
			p.ended()
		})
	}
}

// Commit waits until the cursor is saved, over several connections if necessary, and
// commits only positions that the connection has sent.
func TestCommit(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Topics: []string{"t"}, Cursor: "billing"}, func(b *dictwire.Batch) error {
			if b.Next == "a.1.0" {
				return nil
			}
			if len(b.Records) == 0 {
				time.Sleep(40 * time.Second) // the last commit may take a while
			}
			err := b.Commit(t.Context())
			if err == nil && len(b.Records) > 0 {
				err = errors.New("done")
			}
			return err
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.raw(batch("a.1.0", "a.2.0", 1, line(1)))
		p.want(`{"commit":"a.2.0"}`)
		wantSeen(t, seen, "a.1.0", "a.1.0 {'n': 1}")
		p.raw(batch("a.2.0", "a.3.0", 2, line(2)))
		synctest.Wait()
		if len(seen) > 0 {
			t.Fatal("Commit did not wait")
		}
		p.say(`{"committed":"a.2.0"}`)
		wantSeen(t, seen, "done", "a.2.0 {'n': 2}")
		p.want(`{"commit":"a.3.0"}`)
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.ready("a.2.0")
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q: a commit above what was told", b)
		}
		p.raw(batch("a.2.0", "a.3.0", 2, line(2)))
		p.want(`{"commit":"a.3.0"}`)
		p.say(`{"committed":"a.3.0"}`, `{"end":"a.4.0"}`)
		wantSeen(t, seen, "done")
		wantSeen(t, seen, "a.4.0")
		p.want(`{"commit":"a.4.0"}`)
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.ready("a.3.0")
		p.say(`{"end":"a.4.0"}`)
		p.want(`{"commit":"a.4.0"}`)
		p.say(`{"committed":"a.4.0"}`)
		if got, ok := <-seen; ok {
			t.Errorf("%q after the end", got)
		}
		settled(t, c)
		p.ended()
	})
}

// What was read on a broken connection is committed once the next one has sent it, too.
func TestCommitLate(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		commit := make(chan struct{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Cursor: "c"}, func(b *dictwire.Batch) error {
			if len(b.Records) == 0 {
				return nil
			}
			<-commit
			return b.Commit(t.Context())
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.raw(batch("a.1.0", "a.2.0", 1, line(1)))
		wantSeen(t, seen, "a.1.0", "a.1.0 {'n': 1}")
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.ready("a.1.0")
		close(commit)
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q: a commit above what was told", b)
		}
		p.say(`{"next":"a.3.0"}`)
		p.want(`{"commit":"a.2.0"}`)
		p.say(`{"committed":"a.2.0"}`, `{"end":"a.3.0"}`)
		wantSeen(t, seen, "a.3.0")
		settled(t, c)
	})
}

// A commit that a connection has lost is repeated on another one.
func TestCommitSwallowed(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Cursor: "c", Follow: true}, func(b *dictwire.Batch) error {
			if len(b.Records) == 0 {
				return nil
			}
			return b.Commit(t.Context())
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.raw(batch("a.1.0", "a.2.0", 1, line(1)))
		p.want(`{"commit":"a.2.0"}`)
		for range 4 {
			time.Sleep(5 * time.Second)
			p.say(`{"next":"a.2.0"}`)
		}
		said := time.Now()
		p.ended()
		if waited := time.Since(said); waited > time.Second {
			t.Errorf("the connection was kept for %v", waited)
		}
		p = srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.say(`{"next":"a.2.0"}`)
		p.want(`{"commit":"a.2.0"}`)
		p.say(`{"committed":"a.2.0"}`, `{"end":"a.2.0"}`)
		wantSeen(t, seen, "a.1.0", "a.1.0 {'n': 1}")
		settled(t, c)
	})
}

// The answer to a commit may come after more records than are read ahead.
func TestCommitBehindMuch(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Cursor: "c"}, func(b *dictwire.Batch) error {
			if b.Next != "a.1.0" {
				return nil
			}
			return b.Commit(t.Context())
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.want(`{"commit":"a.1.0"}`)
		big := `{"a":"` + strings.Repeat("x", 150_000) + `"}`
		for i := 1; i <= 10; i++ {
			p.raw(batch(fmt.Sprintf("a.%d.0", i), fmt.Sprintf("a.%d.0", i+1), i, big))
		}
		p.say(`{"committed":"a.1.0"}`, `{"end":"a.11.0"}`)
		for range 11 {
			<-seen
		}
		wantSeen(t, seen, "a.11.0")
		settled(t, c)
	})
}

// Errors that a new connection can't help end the loop and the commits.
func TestSubscribeEnds(t *testing.T) {
	for name, test := range map[string]struct {
		line string
		err  error
	}{
		"fenced":        {`{"error":"newer","code":"fenced"}`, dictwire.ErrFenced},
		"loss":          {`{"error":"the record at a.1.0","code":"loss"}`, new(fault.Error)},
		"internal":      {`{"error":"the record at a.1.0","code":"internal"}`, new(fault.Error)},
		"an ack":        {`{"ack":1}`, dictwire.ErrProtocol},
		"not a message": {`{"hello":1}`, dictwire.ErrProtocol},
		"lengths":       {`{"at":"a.1.0","next":"a.2.0","topic":"t","time":"2026-11-23T10:00:00Z","format":"json","lengths":[4000000000]}`, dictwire.ErrProtocol},
		"format":        {`{"at":"a.1.0","next":"a.2.0","topic":"t","time":"2026-11-23T10:00:00Z","format":"xml","lengths":[4]}`, errors.New("")},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				committed := make(chan error, 1)
				ended := make(chan error, 1)
				go func() {
					for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Cursor: "c", Follow: true}) {
						if err != nil {
							ended <- err
							continue
						}
						committed <- b.Commit(t.Context())
					}
				}()
				p := srv.accept()
				p.greeting()
				p.ready("a.1.0")
				p.want(`{"commit":"a.1.0"}`)
				p.say(test.line)
				for _, err := range []error{<-committed, <-ended} {
					remote := (*fault.Error)(nil)
					if !errors.Is(err, test.err) && !errors.As(err, &remote) && test.err.Error() != "" {
						t.Errorf("%v, want %v", err, test.err)
					}
				}
				synctest.Wait()
				srv.silent()
				settled(t, c)
			})
		})
	}
}

// Close ends loops and commits, and so does leaving the loop.
func TestSubscribeCloses(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Cursor: "c"}, func(b *dictwire.Batch) error { return b.Commit(t.Context()) })
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.want(`{"commit":"a.1.0"}`)
		settled(t, c)
		wantSeen(t, seen, "a.1.0", "the client is closed", "the client is closed")
	})
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		left := make(chan *dictwire.Batch, 1)
		go func() {
			for b := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Cursor: "c"}) {
				left <- b
				return
			}
		}()
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.ended()
		synctest.Wait()
		if err := (<-left).Commit(t.Context()); err == nil {
			t.Error("a commit after the loop")
		}
		settled(t, c)
	})
}

// Progress that a loop was too slow to see does not accumulate.
func TestSubscribeProgress(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		release := make(chan struct{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{}, func(*dictwire.Batch) error { <-release; return nil })
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		wantSeen(t, seen, "a.1.0")
		for i := 2; i <= 9; i++ {
			p.say(fmt.Sprintf(`{"next":"a.%d.0"}`, i))
		}
		p.raw(batch("a.9.0", "a.10.0", 1, line(1)))
		p.say(`{"end":"a.11.0"}`)
		close(release)
		wantSeen(t, seen, "a.9.0", "a.9.0 {'n': 1}", "a.11.0")
		settled(t, c)
	})
}

// A slow loop slows down the server: the client reads ahead only up to a limit, both for
// large records and for single small ones.
func TestSubscribeSlow(t *testing.T) {
	big := `{"a":"` + strings.Repeat("x", 100_000) + `"}`
	for _, test := range []struct {
		name            string
		record          string
		batches         int
		atLeast, atMost int
	}{
		{"large", big, 100, 10, 15},
		{"small", line(1), 10_000, 4000, 6000},
	} {
		t.Run(test.name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				release := make(chan struct{})
				seen := read(t.Context(), c, dictwire.SubscribeRequest{Follow: true}, func(*dictwire.Batch) error { <-release; return nil })
				p := srv.accept()
				p.greeting()
				p.ready("a.0.0")
				written := 0
				for i := range test.batches {
					_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := fmt.Fprint(p.conn, batch(fmt.Sprintf("a.%d.0", i), fmt.Sprintf("a.%d.0", i+1), i, test.record)); err != nil {
						break
					}
					written++
				}
				if written < test.atLeast || written > test.atMost {
					t.Errorf("%d batches were read", written)
				}
				close(release)
				go func() {
					for range seen {
					}
				}()
				settled(t, c)
			})
		})
	}
}

// Trimmed records are reported even if other topics are read meanwhile and the position
// stays the same.
func TestSubscribeSkips(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		ctx, cancel := context.WithCancel(t.Context())
		seen := read(ctx, c, dictwire.SubscribeRequest{Follow: true}, nil)
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		p.say(`{"skipped":{"from":"a.1.0","to":"a.4.0","topic":"t"},"next":"a.1.0"}`, `{"damaged":{"from":"a.1.0","to":"a.4.0","topic":"u"},"next":"a.1.0"}`)
		wantSeen(t, seen, "a.1.0", "a.1.0 dictwire: records of topic t between a.1.0 and a.4.0 were trimmed", "a.1.0 dictwire: records between a.1.0 and a.4.0 can't be read")
		cancel()
		wantSeen(t, seen, "canceled")
		settled(t, c)
	})
}

// A loop and its commits end if the store was replaced.
func TestSubscribeReplaced(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		seen := read(t.Context(), c, dictwire.SubscribeRequest{Follow: true, Cursor: "billing"}, func(b *dictwire.Batch) error {
			if len(b.Records) == 0 {
				return nil
			}
			return b.Commit(t.Context())
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.5.0")
		p.raw(batch("a.5.0", "a.6.0", 1, line(1)))
		wantSeen(t, seen, "a.5.0", "a.5.0 {'n': 1}")
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.ready("b.5.0")
		lost := "the server has less than it acknowledged"
		wantSeen(t, seen, lost, lost)
		settled(t, c)
	})
}

// A read from the earliest record stays one until something has arrived, whatever is
// trimmed meanwhile.
func TestSubscribeEarliestAgain(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		ctx, cancel := context.WithCancel(t.Context())
		seen := read(ctx, c, dictwire.SubscribeRequest{Follow: true}, nil)
		for _, next := range []string{"a.1.0", "a.5.0"} {
			p := srv.accept()
			if g := p.greeting(); g.From != "" {
				t.Errorf("greeting %+v", g)
			}
			p.ready(next)
			if next == "a.5.0" {
				p.raw(batch("a.5.0", "a.6.0", 1, line(1)))
				wantSeen(t, seen, "a.1.0", "a.5.0 {'n': 1}")
			}
			_ = p.conn.Close()
		}
		p := srv.accept()
		if g := p.greeting(); g.From != "a.6.0" {
			t.Errorf("greeting %+v", g)
		}
		cancel()
		wantSeen(t, seen, "canceled")
		settled(t, c)
		p.ended()
	})
}

// OnState reports when sessions begin, and the first error in a row; the log is not used.
func TestOnState(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		told := make(chan string, 100)
		c := srv.dial(dictwire.Dialer{
			OnState: func(s dictwire.State) { told <- fmt.Sprint(s.Err) },
			Logger:  slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		seen := read(ctx, c, dictwire.SubscribeRequest{Topics: []string{"t"}, Follow: true}, nil)
		for range 3 {
			_ = srv.accept().conn.Close()
		}
		p := srv.accept()
		p.greeting()
		p.ready("a.1.0")
		wantSeen(t, told, "connection broke", "<nil>")
		_ = p.conn.Close()
		_ = srv.accept().conn.Close()
		p = srv.accept()
		p.greeting()
		p.ready("a.1.0")
		wantSeen(t, told, "server closed the connection", "<nil>")
		cancel()
		wantSeen(t, seen, "a.1.0", "canceled")
		p.ended()

		if err := c.SendAsync(t.Context(), "t", map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_ = srv.accept().conn.Close()
		}
		if n := c.Stats().Pending; n != 1 {
			t.Errorf("%d pending", n)
		}
		p = srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.say(`{"ack":1}`)
		wantSeen(t, told, "connection broke", "<nil>")
		if err := c.Flush(t.Context()); err != nil || c.Stats().Pending != 0 {
			t.Error(err, c.Stats())
		}
		if err := c.SendAsync(t.Context(), "t", map[string]int{"n": 2}); err != nil {
			t.Fatal(err)
		}
		p.want(line(2))
		p.say(`{"error":"no","code":"forbidden"}`)
		if err := c.Flush(t.Context()); err == nil || c.Stats().Lost != 1 {
			t.Error(err, c.Stats())
		}
		if len(told) > 0 {
			t.Error(<-told)
		}
		_ = c.Close()
	})
}

// A testWriter fails the test if anything is written.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Errorf("%s", b)
	return len(b), nil
}

// A batch may be cut before any of its records: Commit moves the cursor there.
func TestCutShort(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		ctx, cancel := context.WithCancel(t.Context())
		seen := read(ctx, c, dictwire.SubscribeRequest{Topics: []string{"t"}, Cursor: "c"}, func(b *dictwire.Batch) error {
			if len(b.Records) == 0 {
				return nil
			}
			b.Next, b.Records = b.Record(2).Position(), b.Records[:2]
			if last := b.Record(1); last.Next() != "a.1.4" {
				t.Errorf("the last record ends at %s", last.Next())
			}
			err := b.Commit(ctx)
			return err
		})
		p := srv.accept()
		p.greeting()
		p.ready("a.1.2")
		p.raw(batch("a.1.2", "a.2.0", 1, line(1), line(2), line(3)))
		p.want(`{"commit":"a.1.4"}`)
		p.say(`{"committed":"a.1.4"}`)
		wantSeen(t, seen, "a.1.2", "a.1.2 {'n': 1}", "a.1.3 {'n': 2}", "a.1.4 {'n': 3}")
		cancel()
		wantSeen(t, seen, "canceled")
		settled(t, c)
		p.ended()
	})
}
