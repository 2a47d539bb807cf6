package dictwire_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

// logged returns the records of a topic.
func logged(t *testing.T, c *dictwire.Client, topic string) []*dict.Dict {
	t.Helper()
	var all []*dict.Dict
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{topic}}) {
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range b.All() {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d.Clone())
		}
	}
	return all
}

func logHandler(t *testing.T, c *dictwire.Client, topic string, o *slog.HandlerOptions) *dictwire.LogHandler {
	t.Helper()
	h, err := dictwire.NewLogHandler(c, topic, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// toMap converts a dictionary for testing/slogtest.
func toMap(d *dict.Dict) map[string]any {
	m := make(map[string]any)
	for k, v := range d.All() {
		key, _ := k.Text()
		if group, ok := v.Dict(); ok {
			m[key] = toMap(group)
		} else {
			text, isText := v.Text()
			if !isText {
				text = v.String()
			}
			m[key] = text
		}
	}
	return m
}

// The handler conforms to package slog.
func TestLogHandler(t *testing.T) {
	c, err := dictwire.Dial(t.Context(), start(t, new(dictwire.Server)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	topics := 0
	var h *dictwire.LogHandler
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		topics++
		h = logHandler(t, c, fmt.Sprint("log.", topics), nil)
		return h
	}, func(t *testing.T) map[string]any {
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := logged(t, c, fmt.Sprint("log.", topics))
		if len(all) != 1 {
			t.Fatalf("%d records", len(all))
		}
		return toMap(all[0])
	})
}

// Values keep their types; those without one become text.
func TestLogValues(t *testing.T) {
	c, err := dictwire.Dial(t.Context(), start(t, new(dictwire.Server)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := logHandler(t, c, "log", &slog.HandlerOptions{AddSource: true, Level: slog.LevelDebug})
	l := slog.New(h)
	l.Debug("all", "int", 1, "float", 0.5, "nan", math.NaN(), "text", "x", "bytes", []byte("b"), "took", 1500*time.Microsecond,
		"error", errors.New("broken"), "struct", struct {
			A int `json:"a"`
		}{1}, "channel", make(chan int), "msg", "mine", slog.Group("g", "time", "mine"),
		"at", time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	l.Log(t.Context(), slog.LevelDebug-1, "not this one")
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := logged(t, c, "log")
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	got := all[0]
	for key, want := range map[string]string{
		"level": "'DEBUG'", "msg": "'all'", "int": "1", "float": "0.5", "nan": "nan", "text": "'x'", "bytes": "b'b'",
		"took": "datetime.timedelta(microseconds=1500)", "error": "'broken'", "struct": "{'a': 1}", "msg_": "'mine'",
		"g": "{'time': 'mine'}", "at": "datetime.datetime(2026, 11, 23, 10, 0, tzinfo=datetime.timezone.utc)",
	} {
		if v, ok := got.Get(key); !ok || v.String() != want {
			t.Errorf("%s: %v, want %s", key, v, want)
		}
	}
	at, _ := got.Get("time")
	channel, _ := got.Get("channel")
	source, _ := got.Get("source")
	if at.Kind() != dict.KindDateTime || !strings.HasPrefix(channel.String(), "'0x") || !strings.Contains(source.String(), "slog_test.go") {
		t.Errorf("%v", got)
	}
}

// ReplaceAttr sees and can change every attribute, as with the handlers of log/slog.
func TestLogReplaceAttr(t *testing.T) {
	c, err := dictwire.Dial(t.Context(), start(t, new(dictwire.Server)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	replace := func(groups []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey:
			return slog.Attr{}
		case slog.MessageKey:
			a.Key = "message"
		case "card":
			a.Value = slog.StringValue(strings.Join(append(groups, a.Key), "."))
		}
		return a
	}
	log := slog.New(logHandler(t, c, "log", &slog.HandlerOptions{ReplaceAttr: replace}))
	log.With("card", 1).WithGroup("http").With("card", 2).Info("paid", "card", 3, slog.Group("form", "card", 4), "n", 5)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = "[{'level': 'INFO', 'message': 'paid', 'card': 'card', 'http': {'card': 'http.card', 'form': {'card': 'http.form.card'}, 'n': 5}}]"
	if got := fmt.Sprint(logged(t, c, "log")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

type pointerError struct{ text string }

func (e *pointerError) Error() string { return e.text }

type panickingText struct{}

func (panickingText) MarshalText() ([]byte, error) { panic("oh") }

// A value whose methods panic affects only itself.
func TestLogPanics(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Codec: cbor.Codec{}})
		log := slog.New(logHandler(t, c, "t", nil))
		log.Error("no", "error", (*pointerError)(nil), "text", panickingText{}, "in", []any{panickingText{}})
		p := srv.accept()
		p.welcome(1)
		record := make([]byte, 1024)
		end, err := p.in.Read(record)
		if err != nil {
			t.Fatal(err)
		}
		d, err := cbor.Codec{}.Decode(record[:end], codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"error": "<nil>", "text": "!PANIC: oh", "in": "!PANIC: oh"} {
			if v, _ := d.Get(key); v.String() != "'"+want+"'" {
				t.Errorf("%s is %v, want %s", key, v, want)
			}
		}
		p.ack(1)
		synctest.Wait()
		settled(t, c)
	})
}

// If nobody takes the records, the handler drops them, reports that, and never blocks.
func TestLogDropped(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: 2})
		h := logHandler(t, c, "t", nil)
		l := slog.New(h)
		at := time.Now()
		for range 5 {
			l.Info("hello")
		}
		if d := time.Since(at); d > 0 || h.Dropped() != 3 {
			t.Errorf("%d dropped after %v", h.Dropped(), d)
		}
		p := srv.accept()
		p.welcome(1)
		records := func(count int) (text string) {
			buf := make([]byte, 1000)
			for strings.Count(text, "cmsg") < count { // the key in CBOR
				n, err := p.in.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				text += string(buf[:n])
			}
			return text
		}
		records(2)
		p.ack(2)
		synctest.Wait()
		l.Info("again")
		if got := records(2); !strings.Contains(got, "gdropped\x03") || strings.Index(got, "gdropped") > strings.Index(got, "again") {
			t.Errorf("%q", got)
		}
		l.Info("too much")
		flushed := make(chan error, 1)
		go func() { flushed <- h.Flush(t.Context()) }()
		synctest.Wait()
		if len(flushed) > 0 || h.Dropped() != 1 {
			t.Errorf("%d dropped", h.Dropped())
		}
		p.ack(4)
		if got := records(1); !strings.Contains(got, "gdropped\x01") {
			t.Errorf("%q", got)
		}
		p.ack(5)
		if err := <-flushed; err != nil || h.Dropped() != 0 {
			t.Error(err, h.Dropped())
		}
		_ = c.Close()
		if l.Handler().Handle(t.Context(), slog.Record{}) == nil {
			t.Error("a closed client takes records")
		}
		if _, err := dictwire.NewLogHandler(c, "no topic", nil); err == nil {
			t.Error("a topic that is none")
		}
	})
}
