package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// Records of another format need another session; earlier ones are settled first.
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
		p := srv.takes()
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

// What is not a single dictionary is not sent.
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
		srv.takes()
		synctest.Wait()
		settled(t, c)
	})
}

// Each topic has its own session and numbers.
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
			ok(t, done)
		}
		settled(t, c)
	})
}

type panickingCodec struct{ json.Codec }

// A codec that panics ends the call but not the topic, for programs that recover.
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
		srv.takes()
		ok(t, done)
		settled(t, c)
	})
}

// When its context ends, Send gives up and says what it was waiting for. A later outcome of
// the record is not lost.
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

// A lateContext ends once something waits for it.
type lateContext struct {
	context.Context //nolint:containedctx // it is a context
	late            func()
}

func (c lateContext) Done() <-chan struct{} {
	c.late()
	return c.Context.Done()
}

// Whoever gives up at the moment at which its record is rejected is told of the rejection,
// since nobody else is.
func TestGiveUpLate(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		var p *peer
		for i := 1; i <= 20; i++ { // select picks one of two at random
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

// A call whose context has already ended accepts no record, however the context ended.
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
					for range 20 { // select picks at random if two cases are ready
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
					p.want(line(3)) // as the first and only one
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

// ErrNotSent distinguishes records that were not accepted from those that may reach the
// server.
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
		// A record that waits to be settled may reach the server; one that waits for room
		// does not.
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
		srv.takes()
		settled(t, c)
		if err := c.SendAsync(t.Context(), "t", n(3)); !errors.Is(err, dictwire.ErrClientClosed) || !errors.Is(err, dictwire.ErrNotSent) {
			t.Errorf("SendAsync = %v", err)
		}
	})
}

// Names of the server's own topics are refused before anything is sent.
func TestReservedTopics(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		for _, topic := range []string{"_", "_relay", "_audit.x"} {
			if _, err := c.Send(t.Context(), topic, n(1)); !errors.Is(err, dictwire.ErrNotSent) || !strings.Contains(err.Error(), "begin with _") {
				t.Errorf("Send to %s = %v", topic, err)
			}
		}
		srv.silent()
		_ = c.Close()
	})
}
