package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// n is the record n.
func n(i int) *dict.Dict { return dict.Of("n", i) }

// line is the record n as it is sent.
func line(i int) string { return fmt.Sprintf(`{"n":%d}`, i) }

// sum is the CRC-32C of a record in hex.
func sum(record string) string { return fmt.Sprintf("%08x", crc(record)) }

func crc(record string) uint32 {
	return crc32.Checksum([]byte(record), crc32.MakeTable(crc32.Castagnoli))
}

// sendAsync sends the records 1 to count.
func sendAsync(t *testing.T, c *dictwire.Client, count int) {
	t.Helper()
	for i := 1; i <= count; i++ {
		if err := c.SendAsync(t.Context(), "t", n(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// flush flushes in the background.
func flush(c *dictwire.Client) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Flush(context.Background()) }()
	synctest.Wait()
	return done
}

// settled closes a client whose records are settled.
func settled(t *testing.T, c *dictwire.Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The whole of a session: the greeting, records, a reply, a rejection, an ack.
func TestSession(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Producer: "till-7", Token: "secret"})
		a := send(c, "orders", dict.Of("a", 1))
		p := srv.accept()
		g := p.welcome(1)
		if g.Topic != "orders" || g.Producer != c.Producer() || !strings.HasPrefix(g.Producer, "till-7.") ||
			g.Format != "json" || g.Token != "secret" || g.Attempt == 0 || g.Acked != 0 || g.First != 1 || g.AcceptLost {
			t.Errorf("greeting %+v", g)
		}
		p.want(`{"a":1}`)
		b := send(c, "orders", map[string]any{"b": 2})
		p.want(`{"b":2}`)
		p.say(`{"reply":1,"length":11}`)
		p.raw(`{"ok":true}`)
		p.say(`{"rejected":2,"code":"schema","error":"/b: want a string"}`)
		synctest.Wait()
		if len(a) > 0 || len(b) > 0 {
			t.Error("Send returned before the ack")
		}
		p.ack(2)
		if r := <-a; r.err != nil || r.reply != "{'ok': True}" {
			t.Errorf("Send = %+v", r)
		}
		var rejected *dictwire.RejectedError
		if r := <-b; !errors.As(r.err, &rejected) || rejected.Topic != "orders" || rejected.Number != 2 || rejected.Code != "schema" ||
			rejected.Text != "/b: want a string" || string(rejected.Record) != `{"b":2}` {
			t.Errorf("Send = %+v", r)
		}
		settled(t, c)
		p.ended()
		if _, err := c.Send(t.Context(), "orders", n(1)); !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Send behind Close = %v", err)
		}
		if err := c.Flush(t.Context()); err != nil && !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Flush behind Close = %v", err)
		}
	})
}

// What a server answers to a client that has sent 5 records, of which 2 were
// acknowledged, when it connects again.
func TestResume(t *testing.T) {
	for name, test := range map[string]struct {
		next   int
		sum    string
		resent []string
		err    error
	}{
		"all is there":                 {6, sum(line(5)), nil, nil},
		"some are there":               {4, sum(line(3)), []string{line(4), line(5)}, nil},
		"none came":                    {3, sum(line(2)), []string{line(3), line(4), line(5)}, nil},
		"the sum is not known":         {4, "", []string{line(4), line(5)}, nil},
		"another record in flight":     {4, sum(line(4)), nil, dictwire.ErrConflict},
		"another record that is acked": {3, sum(line(1)), nil, dictwire.ErrConflict},
		"the beginning of a record":    {4, sum(line(3)[:4]) + `","of":4,"x":"`, []string{line(4), line(5)}, nil},
		"of more than was sent":        {4, sum(line(3)) + `","of":99,"x":"`, []string{line(4), line(5)}, nil},
		"another beginning":            {4, sum(line(3)[1:4]) + `","of":4,"x":"`, nil, dictwire.ErrConflict},
		"a beginning that is acked":    {3, sum(line(1)[:4]) + `","of":4,"x":"`, []string{line(3), line(4), line(5)}, nil},
		"a sum that is none":           {3, "what", nil, dictwire.ErrConflict},
		"a record that was not sent":   {7, "", nil, dictwire.ErrConflict},
		"less than was acked":          {2, "", nil, dictwire.ErrLost},
		"no number":                    {0, "", nil, dictwire.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				sendAsync(t, c, 5)
				done := flush(c)
				p := srv.accept()
				before := p.welcome(1)
				p.want(line(1), line(2), line(3), line(4), line(5))
				p.ack(2)
				_ = p.conn.Close()
				p = srv.accept()
				g := p.greeting()
				if g.Acked != 2 || g.First != 3 || g.Attempt <= before.Attempt || g.Producer != before.Producer {
					t.Errorf("greeting %+v", g)
				}
				m := `{"dictwire":1,"next":` + itoa(test.next)
				if test.sum != "" {
					m += `,"sum":"` + test.sum + `"`
				}
				p.say(m + "}")
				if test.err != nil {
					if err := <-done; !errors.Is(err, test.err) {
						t.Errorf("Flush = %v, want %v", err, test.err)
					}
					if _, err := c.Send(t.Context(), "t", n(6)); !errors.Is(err, test.err) {
						t.Errorf("Send = %v, want %v", err, test.err)
					}
					if err := c.Close(); err == nil || !strings.Contains(err.Error(), "3 records not settled") {
						t.Errorf("Close = %v", err)
					}
					p.ended()
					return
				}
				p.want(test.resent...)
				synctest.Wait()
				if len(done) > 0 {
					t.Error("next settled something")
				}
				p.ack(test.next - 1)
				p.ack(5)
				if err := <-done; err != nil {
					t.Error(err)
				}
				settled(t, c)
				p.ended()
			})
		})
	}
}

// A record that ended within is sent again.
func TestCutRecord(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		if _, err := p.in.ReadByte(); err != nil {
			t.Fatal(err)
		}
		_ = p.conn.Close()
		p = srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		settled(t, c)
	})
}

// What ends a session, and what the client does about it.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name, line string
		greeted    bool // it comes behind the greeting's answer
		err        error
		pause      [2]time.Duration // until the next connection, where err is nil
	}{
		{"lost", `{"error":"less","code":"lost","next":1}`, false, dictwire.ErrLost, [2]time.Duration{}},
		{"conflict", `{"error":"other","code":"conflict"}`, false, dictwire.ErrConflict, [2]time.Duration{}},
		{"stale", `{"error":"late","code":"stale"}`, false, dictwire.ErrFenced, [2]time.Duration{}},
		{"fenced", `{"error":"newer","code":"fenced"}`, true, dictwire.ErrFenced, [2]time.Duration{}},
		{"forbidden", `{"error":"no","code":"forbidden"}`, false, new(fault.Error), [2]time.Duration{}},
		{"unauthenticated", `{"error":"who","code":"unauthenticated"}`, false, new(fault.Error), [2]time.Duration{}},
		{"greeting", `{"error":"/topic: want a string","code":"malformed"}`, false, new(fault.Error), [2]time.Duration{}},
		{"unavailable", `{"error":"disk full","code":"unavailable","retry_ms":500}`, true, nil, [2]time.Duration{500 * time.Millisecond, 625 * time.Millisecond}},
		{"unavailable at once", `{"error":"disk full","code":"unavailable","retry_ms":700}`, false, nil, [2]time.Duration{700 * time.Millisecond, 875 * time.Millisecond}},
		{"shutdown", `{"error":"ends","code":"shutdown"}`, true, nil, [2]time.Duration{25 * time.Millisecond, 50 * time.Millisecond}},
		{"malformed", `{"error":"/a","code":"malformed","at":7}`, true, nil, [2]time.Duration{25 * time.Millisecond, 50 * time.Millisecond}},
		{"an ack above", `{"ack":2}`, true, dictwire.ErrProtocol, [2]time.Duration{}},
		{"a rejection above", `{"rejected":2,"code":"schema","error":""}`, true, dictwire.ErrProtocol, [2]time.Duration{}},
		{"a reply above", `{"reply":2,"length":0,"code":"loss","error":""}`, true, nil, [2]time.Duration{}},
		{"not a message", `{"hello":1}`, true, dictwire.ErrProtocol, [2]time.Duration{}},
		{"not JSON", `HTTP/1.1 400 Bad Request`, false, dictwire.ErrProtocol, [2]time.Duration{}},
		{"a reader's message", `{"next":"a.1.0"}`, true, dictwire.ErrProtocol, [2]time.Duration{}},
		{"an ack in place of the greeting", `{"ack":0}`, false, dictwire.ErrProtocol, [2]time.Duration{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				done := send(c, "t", n(1))
				p := srv.accept()
				if test.greeted {
					p.welcome(1)
					p.want(line(1))
				} else {
					p.greeting()
				}
				p.say(test.line)
				synctest.Wait()
				at := time.Now()
				if test.err != nil {
					r := <-done
					if remote := (*fault.Error)(nil); !errors.Is(r.err, test.err) && !errors.As(r.err, &remote) {
						t.Errorf("Send = %v, want %v", r.err, test.err)
					}
					srv.silent()
					_ = c.Close()
					return
				}
				if test.pause[1] > 0 {
					_ = p.conn.Close()
					p = srv.accept()
					if d := time.Since(at); d < test.pause[0] || d > test.pause[1] {
						t.Errorf("again after %v", d)
					}
					p.welcome(1)
					p.want(line(1))
				}
				p.ack(1)
				if r := <-done; r.err != nil {
					t.Error(r.err)
				}
				settled(t, c)
			})
		})
	}
}

// Where the loss is accepted, the next greeting says so, and no other.
func TestAcceptLost(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		var log logBuffer
		c := srv.dial(dictwire.Dialer{AcceptLost: true, Logger: log.logger()})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.ack(2)
		_ = p.conn.Close()
		p = srv.accept()
		if g := p.greeting(); g.AcceptLost {
			t.Error("the loss was accepted before there was one")
		}
		p.say(`{"error":"less","code":"lost","next":2}`)
		p.ended()
		p = srv.accept()
		if g := p.welcome(3); !g.AcceptLost || g.Acked != 2 || g.First != 3 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(3))
		_ = p.conn.Close()
		p = srv.accept()
		if g := p.welcome(3); g.AcceptLost {
			t.Error("the loss was accepted twice")
		}
		p.want(line(3))
		p.ack(3)
		synctest.Wait()
		settled(t, c)
		if !strings.Contains(log.String(), "what is lost is accepted") {
			t.Errorf("logged %s", log.String())
		}
	})
}

// A rejection that comes twice, because the ack behind it was lost, is told once.
func TestRejectedTwice(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		var got []string
		c := srv.dial(dictwire.Dialer{OnRejected: func(e *dictwire.RejectedError) {
			got = append(got, fmt.Sprintf("%d %s %s", e.Number, e.Code, e.Record))
		}})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":2,"code":"schema","error":"no"}`)
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.say(`{"dictwire":1,"next":4,"sum":"`+sum(line(3))+`"}`, `{"rejected":2,"code":"schema","error":"no"}`, `{"ack":3}`)
		p.say(`{"rejected":2,"code":"schema","error":"no"}`, `{"ack":3}`)
		done := send(c, "t", n(4))
		p.want(line(4))
		p.ack(4)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if want := []string{"2 schema " + line(2)}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		settled(t, c)
	})
}

// A bad record ends the session, and the client goes on behind it at once.
func TestPoison(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":2,"code":"too_deep","error":"deep"}`, `{"ack":2}`, `{"error":"deep","code":"too_deep"}`)
		at := time.Now()
		_ = p.conn.Close()
		p = srv.accept()
		p.welcome(3)
		if d := time.Since(at); d > 0 {
			t.Errorf("again after %v", d)
		}
		p.want(line(3))
		p.ack(3)
		var rejected *dictwire.RejectedError
		if err := c.Flush(t.Context()); !errors.As(err, &rejected) || rejected.Number != 2 {
			t.Errorf("Flush = %v", err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("the second Flush = %v", err)
		}
		settled(t, c)
	})
}

// A server is heard every 15 seconds, or the connection is made again.
func TestHeartbeat(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		for range 10 {
			time.Sleep(5 * time.Second)
			p.ack(0)
		}
		at := time.Now()
		p.ended()
		if d := time.Since(at); d != 15*time.Second {
			t.Errorf("ended after %v", d)
		}
		p = srv.accept()
		p.welcome(2)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		settled(t, c)
	})
}

// A connection is closed when all is settled for a while, and the next record
// makes another.
func TestIdle(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{IdleTimeout: time.Minute})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		for range 12 {
			time.Sleep(5 * time.Second)
			p.ack(1)
		}
		at := time.Now()
		if p.ended(); time.Since(at) > 0 {
			t.Errorf("ended %v behind the time", time.Since(at))
		}
		done = send(c, "t", n(2))
		p = srv.accept()
		if g := p.welcome(2, sum(line(1))); g.Acked != 1 || g.First != 2 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(2))
		p.ack(2)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		settled(t, c)
	})
}

// Pauses between connections grow up to a bound, and begin anew behind a session
// that settled something.
func TestBackoff(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second})
		sendAsync(t, c, 2)
		pause := 100 * time.Millisecond
		for range 8 {
			p := srv.accept()
			p.greeting()
			at := time.Now()
			_ = p.conn.Close()
			synctest.Wait()
			next := srv.accept()
			if d := time.Since(at); d < pause/2 || d > pause {
				t.Errorf("a pause of %v, want %v to %v", d, pause/2, pause)
			}
			pause = min(2*pause, time.Second)
			next.greeting()
			at = time.Now()
			_ = next.conn.Close()
			srv.conns <- (<-srv.conns)
			if d := time.Since(at); d < pause/2 || d > pause {
				t.Errorf("a pause of %v, want %v to %v", d, pause/2, pause)
			}
			pause = min(2*pause, time.Second)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2))
		p.ack(1)
		at := time.Now()
		_ = p.conn.Close()
		p = srv.accept()
		if d := time.Since(at); d > 100*time.Millisecond {
			t.Errorf("a pause of %v behind a session", d)
		}
		p.welcome(3)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// SendAsync waits while the window is full, and no longer than its context.
func TestWindow(t *testing.T) {
	for name, d := range map[string]dictwire.Dialer{
		"records": {WindowRecords: 3},
		"bytes":   {WindowBytes: 3 * int64(len(line(1))+1)},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(d)
				sendAsync(t, c, 3)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.SendAsync(ctx, "other", n(4)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("SendAsync = %v", err)
				}
				p := srv.accept()
				p.welcome(1)
				p.want(line(1), line(2), line(3))
				waiting := make(chan error, 1)
				go func() { waiting <- c.SendAsync(context.Background(), "t", n(4)) }()
				synctest.Wait()
				if len(waiting) > 0 {
					t.Fatal("the window has no bound")
				}
				p.ack(1)
				if err := <-waiting; err != nil {
					t.Error(err)
				}
				p.want(line(4))
				p.ack(4)
				synctest.Wait()
				settled(t, c)
			})
		})
	}
}

// Negative bounds are none.
func TestNoBounds(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: -1, WindowBytes: -1, IdleTimeout: -1, MinBackoff: -1, MaxBackoff: -1})
		sendAsync(t, c, 100_000)
		p := srv.accept()
		p.greeting()
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		if err := c.Close(); err == nil || !strings.Contains(err.Error(), "100000 records not settled") {
			t.Errorf("Close = %v", err)
		}
		p.ended()
	})
}

// No more is in flight than the server's window.
func TestServersWindow(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		sendAsync(t, c, 7)
		p := srv.accept()
		p.greeting()
		p.say(`{"dictwire":1,"next":1,"window":3}`, `{"ack":0}`)
		p.want(line(1), line(2), line(3))
		synctest.Wait()
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q above the window", b)
		}
		p.ack(2)
		p.want(line(4), line(5))
		p.ack(5)
		p.want(line(6), line(7))
		p.ack(7)
		synctest.Wait()
		settled(t, c)
	})
}

// Records of another format need another session; those before are settled first.
func TestFormats(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		ctx := t.Context()
		two, err := cbor.Codec{}.Append(nil, n(2))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{n(1), dictwire.Record{Codec: cbor.Codec{}, Bytes: two}, dictwire.Record{Bytes: []byte(" {\"n\":3} ")}} {
			if err := c.SendAsync(ctx, "t", v); err != nil {
				t.Fatal(err)
			}
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		p.ended()
		p = srv.accept()
		if g := p.welcome(2, sum(line(1))); g.Format != "cbor" || g.Acked != 1 {
			t.Errorf("greeting %+v", g)
		}
		got := make([]byte, len(two))
		if _, err := p.in.Read(got); err != nil || string(got) != string(two) {
			t.Fatalf("%x, %v", got, err)
		}
		p.say(`{"rejected":2,"code":"schema","error":"no"}`, `{"ack":2}`)
		p.ended()
		p = srv.accept()
		if g := p.welcome(3, sum(string(two))); g.Format != "json" {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(3))
		p.ack(3)
		var rejected *dictwire.RejectedError
		if err := c.Flush(ctx); !errors.As(err, &rejected) || string(rejected.Record) != string(two) {
			t.Errorf("Flush = %v", err)
		}
		settled(t, c)
	})
}

// What is not one dictionary is not sent.
func TestNotRecords(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Limits: codec.Limits{RecordBytes: 100}})
		for name, v := range map[string]any{
			"nothing":          dictwire.Record{},
			"half":             dictwire.Record{Bytes: []byte(`{"a":`)},
			"a list":           dictwire.Record{Bytes: []byte(`[]`)},
			"two":              dictwire.Record{Bytes: []byte(`{}{}`)},
			"one and a half":   dictwire.Record{Bytes: []byte(`{} {`)},
			"too long":         dictwire.Record{Bytes: []byte(`{"a":"` + strings.Repeat("x", 100) + `"}`)},
			"too long a value": dict.Of("a", strings.Repeat("x", 100)),
			"a loss":           dict.Of("a", []byte{1}),
			"a channel":        make(chan int),
		} {
			if err := c.SendAsync(t.Context(), "t", v); err == nil {
				t.Errorf("%s was sent", name)
			}
		}
		if err := c.SendAsync(t.Context(), "no topic", n(1)); err == nil {
			t.Error("a topic that is none")
		}
		if err := c.SendAsync(t.Context(), "t", dictwire.Record{Bytes: []byte(" {\"n\":1}\n\n")}); err != nil {
			t.Error(err)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		synctest.Wait()
		settled(t, c)
	})
}

// Each topic has a session and numbers of its own.
func TestTopics(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		a, b := send(c, "a", n(1)), send(c, "b", n(2))
		topics := map[string]string{"a": line(1), "b": line(2)}
		for range 2 {
			p := srv.accept()
			g := p.welcome(1)
			p.want(topics[g.Topic])
			delete(topics, g.Topic)
			p.ack(1)
		}
		for _, done := range []<-chan result{a, b} {
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
		}
		settled(t, c)
	})
}

// Replies are for those who wait, or for OnReply.
func TestReplies(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		for _, listen := range []bool{false, true} {
			var got []string
			d := dictwire.Dialer{}
			if listen {
				d.OnReply = func(topic string, number uint64, reply *dict.Dict) {
					got = append(got, fmt.Sprint(topic, " ", number, " ", reply))
				}
			}
			c := srv.dial(d)
			sendAsync(t, c, 1)
			done := send(c, "t", n(2))
			p := srv.accept()
			p.welcome(1)
			p.want(line(1), line(2))
			p.say(`{"reply":1,"length":7}`)
			p.raw(line(1))
			p.say(`{"reply":2,"length":0,"code":"loss","error":"/a: no"}`, `{"ack":2}`)
			var remote *fault.Error
			if r := <-done; !errors.As(r.err, &remote) || remote.Code != "loss" {
				t.Errorf("Send = %+v", r)
			}
			settled(t, c)
			if want := []string{"t 1 {'n': 1}"}; listen && !slices.Equal(got, want) {
				t.Errorf("replies %q", got)
			}
		}
	})
}

// A reply beyond the client's limits costs no more than itself.
func TestReplyBeyondLimits(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Limits: codec.Limits{Depth: 2, RecordBytes: 100}})
		var p *peer
		for i, reply := range []string{`{"a":[[1]]}`, `{"a":"` + strings.Repeat("x", 100) + `"}`, `{"n":3}`} {
			done := send(c, "t", n(i+1))
			if i == 0 {
				p = srv.accept()
				p.welcome(1)
			}
			p.want(line(i + 1))
			p.say(fmt.Sprintf(`{"reply":%d,"length":%d}`, i+1, len(reply)))
			_, _ = io.WriteString(p.conn, reply)
			_, _ = fmt.Fprintf(p.conn, `{"ack":%d}`+"\n", i+1)
			bad := (*codec.SyntaxError)(nil)
			if r := <-done; errors.As(r.err, &bad) != (i < 2) || errors.Is(r.err, dictwire.ErrProtocol) || i == 2 && r.reply != "{'n': 3}" {
				t.Fatalf("Send = %+v", r)
			}
		}
		settled(t, c)
	})
}

type panickingCodec struct{ json.Codec }

func (panickingCodec) Append([]byte, *dict.Dict) ([]byte, error) { panic("oh") }

// A codec that panics ends the call, and not the topic, for programs that recover.
func TestCodecPanics(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Codec: panickingCodec{}, WindowRecords: 1})
		for range 2 {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				_ = c.SendAsync(t.Context(), "t", n(1))
			}()
		}
		done := send(c, "t", dictwire.Record{Codec: json.Codec{}, Bytes: []byte(line(1))})
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		settled(t, c)
	})
}

// Send gives up with its context and says why it waited; what is said of its
// record later is not lost.
func TestGiveUp(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		go func() { _ = srv.accept().conn.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.Send(ctx, "t", n(1)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "closed") {
			t.Errorf("Send = %v", err)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.say(`{"rejected":1,"code":"handler","error":"no"}`, `{"ack":1}`)
		var rejected *dictwire.RejectedError
		if err := c.Flush(t.Context()); !errors.As(err, &rejected) {
			t.Errorf("Flush = %v", err)
		}
		settled(t, c)
	})
}

// A lateContext ends when it is waited for.
type lateContext struct {
	context.Context //nolint:containedctx // it is one
	late            func()
}

func (c lateContext) Done() <-chan struct{} {
	c.late()
	return c.Context.Done()
}

// Whoever gives up at the moment in which its record is rejected is told, since
// nobody else is.
func TestGiveUpLate(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		var p *peer
		for i := 1; i <= 20; i++ { // a select of two takes one of them
			ending, cancel := context.WithCancel(t.Context())
			ctx := lateContext{ending, func() {
				if i == 1 {
					p = srv.accept()
					p.welcome(1)
				}
				p.want(line(i))
				p.say(fmt.Sprintf(`{"rejected":%d,"code":"handler","error":"no"}`, i), fmt.Sprintf(`{"ack":%d}`, i))
				synctest.Wait()
				cancel()
			}}
			_, err := c.Send(ctx, "t", n(i))
			if rejected := (*dictwire.RejectedError)(nil); !errors.As(err, &rejected) {
				t.Errorf("Send = %v", err)
			}
		}
		settled(t, c)
	})
}

// Flushes that give up leave nothing behind.
func TestFlushGivesUp(t *testing.T) {
	for _, spool := range []*memorySpool{nil, newSpool()} {
		scriptedTest(t, func(t *testing.T, srv *scripted) {
			d := dictwire.Dialer{}
			if spool != nil {
				spool.delay = time.Second
				d.Spool = spool
			}
			c := srv.dial(d)
			sendAsync(t, c, 1)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			for range 20_000 {
				if err := c.Flush(ended); !errors.Is(err, context.Canceled) {
					t.Fatalf("Flush = %v", err)
				}
			}
			if after := heap(); after > before+1<<20 {
				t.Errorf("%d bytes are left", after-before)
			}
			done := flush(c)
			p := srv.accept()
			p.welcome(1)
			p.want(line(1))
			p.ack(1)
			if err := <-done; err != nil {
				t.Error(err)
			}
			settled(t, c)
		})
	}
}

// Flush waits until what it is to return has been told.
func TestFlushWhileToldOf(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		hold := make(chan struct{})
		c := srv.dial(dictwire.Dialer{OnReply: func(string, uint64, *dict.Dict) { <-hold }})
		sendAsync(t, c, 2)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2))
		p.say(`{"reply":1,"length":7}`)
		p.raw(line(1))
		p.say(`{"rejected":2,"code":"handler","error":"no"}`, `{"ack":2}`)
		done := flush(c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush = %v", err)
		}
		close(hold)
		if rejected, err := (*dictwire.RejectedError)(nil), <-done; !errors.As(err, &rejected) {
			t.Errorf("Flush = %v", err)
		}
		settled(t, c)
	})
}

// AtSpool means nothing without a spool.
func TestAtNoSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{AtSpool: true})
		sendAsync(t, c, 1)
		done := flush(c)
		select {
		case err := <-done:
			t.Fatalf("Flush = %v before anything was settled", err)
		default:
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		if err := <-done; err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// Close ends all that waits, and says what is lost.
func TestClose(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: 2})
		sendAsync(t, c, 1)
		sent, flushed := send(c, "t", n(2)), flush(c)
		full := send(c, "t", n(3))
		if err := c.Close(); err == nil || err.Error() != "dictwire: close: 2 records not settled" {
			t.Errorf("Close = %v", err)
		}
		for _, err := range []error{(<-sent).err, <-flushed, (<-full).err} {
			if !errors.Is(err, dictwire.ErrClientClosed) {
				t.Errorf("%v", err)
			}
		}
		if err := c.Close(); err != nil {
			t.Errorf("the second Close = %v", err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	broken := errors.New("no network")
	_, err := dictwire.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, broken
	}}.Dial(t.Context(), "")
	if !errors.Is(err, broken) {
		t.Errorf("Dial = %v", err)
	}
	if _, err := (dictwire.Dialer{Producer: "two words"}).Dial(t.Context(), ""); err == nil {
		t.Error("a producer that is none")
	}
}

// A call whose context has ended takes no record, whatever way the context ended.
func TestSendWithFinishedContext(t *testing.T) {
	why := errors.New("the user left")
	ended := func(begin func(context.Context) (context.Context, context.CancelFunc)) context.Context {
		ctx, cancel := begin(context.Background())
		cancel()
		return ctx
	}
	for name, finish := range map[string]struct {
		how  func() context.Context
		want error
	}{
		"canceled": {func() context.Context { return ended(context.WithCancel) }, context.Canceled},
		"late": {func() context.Context {
			return ended(func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithTimeout(ctx, -time.Second)
				return ctx, cancel
			})
		}, context.DeadlineExceeded},
		"with a cause": {func() context.Context {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(why)
			return ctx
		}, why},
	} {
		for _, spool := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", spool ", spool), func(t *testing.T) {
				scriptedTest(t, func(t *testing.T, srv *scripted) {
					var d dictwire.Dialer
					if spool {
						d.Spool = newSpool()
					}
					c := srv.dial(d)
					ctx := finish.how()
					for range 20 { // a choice between two that are ready is random
						if _, err := c.Send(ctx, "t", n(1)); !errors.Is(err, finish.want) || !errors.Is(err, dictwire.ErrNotSent) {
							t.Fatalf("Send = %v", err)
						}
						if err := c.SendAsync(ctx, "t", n(2)); !errors.Is(err, finish.want) || !errors.Is(err, dictwire.ErrNotSent) {
							t.Fatalf("SendAsync = %v", err)
						}
					}
					if err := c.SendAsync(t.Context(), "t", n(3)); err != nil {
						t.Fatal(err)
					}
					p := srv.accept()
					p.welcome(1)
					p.want(line(3)) // as the first, and no other
					p.ack(1)
					if err := c.Flush(t.Context()); err != nil {
						t.Error(err)
					}
					settled(t, c)
				})
			})
		}
	}
}

// ErrNotSent tells what was not taken from what may get to the server.
func TestErrNotSent(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: 1, Limits: codec.Limits{RecordBytes: 100}})
		for name, err := range map[string]error{
			"a topic that is none":   c.SendAsync(t.Context(), "a b", n(1)),
			"a value that is none":   c.SendAsync(t.Context(), "t", make(chan int)),
			"a loss":                 c.SendAsync(t.Context(), "t", dict.Of("a", []byte("x"))),
			"a record beyond limits": c.SendAsync(t.Context(), "t", dict.Of("a", strings.Repeat("x", 100))),
		} {
			if !errors.Is(err, dictwire.ErrNotSent) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// One that waits to be settled may get there, one that waits for room does not.
		taken, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.Send(taken, "t", n(1))
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, dictwire.ErrNotSent) {
			t.Errorf("Send = %v", err)
		}
		waits, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := c.SendAsync(waits, "t", n(2)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, dictwire.ErrNotSent) {
			t.Errorf("SendAsync = %v", err)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		settled(t, c)
		if err := c.SendAsync(t.Context(), "t", n(3)); !errors.Is(err, dictwire.ErrClientClosed) || !errors.Is(err, dictwire.ErrNotSent) {
			t.Errorf("SendAsync = %v", err)
		}
	})
}
