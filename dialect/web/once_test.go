package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// A request that comes again with its key is stored once, and told the same.
func TestOnce(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	key := func(name string) string { return "Idempotency-Key: " + name }
	for _, c := range []struct {
		name   string
		ask    ask
		status int
		answer string
	}{
		{"an array", ask{body: `[{"a":1},2,{"a":3}]`, header: key("a")}, 200, `\{"accepted":2,"rejections":1,"rejected":\[\{"index":1,"code":"not_a_dictionary","error":".*wrap it.*"\}\]\}` + "\n"},
		{"in quotes", ask{body: `{"b":1}`, header: key(`"b"`)}, 200, `\{"accepted":1,"rejections":0,"rejected":\[\]\}` + "\n"},
		{"the only one is bad", ask{body: `{"a":1,"a":2}`, header: key("c")}, 422, `.*comes twice.*"code":"duplicate_key"\}` + "\n"},
		{"it ends early", ask{body: "{\"a\":4}\n{\"b\":\ntru}\n{\"c\":3}", header: key("d")}, 400, `.*"code":"malformed","at":14,"accepted":1,"rejections":1,.*`},
		{"a pickle that calls, and one that does not", ask{body: "\x80\x04cos\nsystem\n(S'true'\ntR.\x80\x04}.", header: key("e")}, 422, `.*"code":"unsafe_pickle"\}` + "\n"},
		{"gzip", ask{body: gzipped(t, `{"a":5}`), header: key("f") + "\nContent-Encoding: gzip"}, 200, `\{"accepted":1,.*`},
		{"chunked", ask{body: `{"a":6}`, header: key("g") + "\nContent-Type: application/json"}, 200, `\{"accepted":1,.*`},
	} {
		first := ""
		for range 3 {
			r, text := do(t, addr, c.ask)
			check(t, c.name, r, text, c.status, c.answer)
			if first == "" {
				first = text
			}
			if text != first {
				t.Errorf("%s: %s\nat first %s", c.name, text, first)
			}
		}
	}
	const want = `{"a":1} {"a":3} {"b":1} {"a":4} {"a":5} {"a":6}`
	if got := stored(t, s, "t"); got != want {
		t.Errorf("stored %s", got)
	}
	for name, a := range map[string]ask{
		"another body":   {body: `{"a":2}`, header: key("a")},
		"another format": {body: `{"a":6}`, header: key("g") + "\nContent-Type: text/x-python"},
	} {
		r, text := do(t, addr, a)
		check(t, name, r, text, 422, `.*was used for another body.*"code":"conflict"\}`+"\n")
	}
	for name, a := range map[string]ask{
		"no key": {body: `{}`, header: key(`""`)}, "two keys": {body: `{}`, header: key("x") + "\n" + key("y")}, "a long one": {body: `{}`, header: key(strings.Repeat("x", 256))},
	} {
		r, text := do(t, addr, a)
		check(t, name, r, text, 400, `.*want one Idempotency-Key.*`)
	}
	r, text := do(t, addr, ask{body: strings.Repeat(" ", 8<<20) + "{}", header: key("large")})
	check(t, "a large body", r, text, 413, `.*more than 8388608 bytes.*`)
	r, text = do(t, addr, ask{body: strings.Repeat("{}", 65537), header: key("many")})
	check(t, "many records", r, text, 413, `.*more than 65536 records.*`)
	if got := stored(t, s, "t"); got != want {
		t.Errorf("stored %s", got)
	}
	// The same key in another topic is another one.
	r, text = do(t, addr, ask{path: "/v1/topics/u", body: `{"a":2}`, header: key("a")})
	check(t, "another topic", r, text, 200, `\{"accepted":1,.*`)
	// No producer of a session has a key's name.
	c, err := dictwire.Dialer{Producer: "_key.x"}.Dial(t.Context(), addr)
	if err == nil {
		_, err = c.Send(t.Context(), "t", dict.Of("a", 1))
		_ = c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the server's own") {
		t.Error(err)
	}
}

// While a request is under way, another one with its key is told so.
func TestOnceAtOnce(t *testing.T) {
	came, goOn := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(ctx context.Context, _ *dictwire.Request) (*dict.Dict, error) {
		if calls.Add(1) == 1 {
			close(came)
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
		return dict.Of("reply", 1), nil
	})})
	a := ask{body: `{"a":1}`, header: "Idempotency-Key: k"}
	first := make(chan string, 1)
	go func() {
		_, text, err := try(t.Context(), addr, a)
		first <- fmt.Sprint(text, err)
	}()
	<-came
	r, text := do(t, addr, a)
	check(t, "at once", r, text, 409, `.*is under way.*`)
	close(goOn)
	r, again := do(t, addr, ask{body: `{"b":1}`, header: "Idempotency-Key: other"})
	check(t, "another key", r, again, 200, `\{"accepted":1,.*`)
	if got, want := <-first, again+"<nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A store that fails in the middle settles a part, and the same request settles the
// rest.
func TestOnceInParts(t *testing.T) {
	s := &failing{Store: memory.New(nil), after: 1}
	addr := start(t, &dictwire.Server{Store: s})
	var body, want strings.Builder
	body.WriteString("[0")
	for i := range 20_000 {
		fmt.Fprintf(&body, ",{\"n\":%d}", i)
		fmt.Fprintf(&want, "{\"n\":%d} ", i)
	}
	body.WriteString(",false]")
	a := ask{body: body.String()[:1] + body.String()[3:], header: "Idempotency-Key: k\nContent-Type: application/json"}
	r, text := do(t, addr, a)
	check(t, "the first", r, text, 503, `.*"code":"unavailable",.*"accepted":\d{4},.*`)
	r, text = do(t, addr, a)
	check(t, "the second", r, text, 200, `\{"accepted":20000,"rejections":1,"rejected":\[\{"index":20000,.*`)
	if got := stored(t, s, "t"); got+" " != want.String() {
		t.Errorf("stored %d bytes, want %d", len(got)+1, want.Len())
	}
}

// A failing store can't write once, after some appends.
type failing struct {
	*memory.Store
	after int64
	n     atomic.Int64
}

func (s *failing) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	if s.n.Add(1) != s.after+1 {
		return s.Store.Append(ctx, blocks...)
	}
	results := make([]store.Result, len(blocks))
	for i := range results {
		results[i].Err = store.ErrUnavailable
	}
	return results
}

// What was answered is there after a kill, and a request that comes again until it is
// answered is there once, its rejected records among them.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n := 0
	var want strings.Builder
	for range testrand.Many(6) {
		addr, kill := servertest.Spawn(t, dir)
		// The server is killed while the last request of the round is under way.
		for last := n + 3; n < last; n++ {
			var body strings.Builder
			for i := range 300 {
				fmt.Fprintf(&body, "{\"n\":%d,\"i\":%d}\n", n, i)
				fmt.Fprintf(&want, "{\"n\":%d,\"i\":%d} ", n, i)
			}
			body.WriteString("{\"a\":1,\"a\":2}\n")
			a := ask{body: body.String(), header: fmt.Sprintf("Idempotency-Key: %d\nContent-Type: application/x-ndjson", n)}
			if n == last-1 {
				told := make(chan error, 1)
				go func() {
					_, _, err := try(t.Context(), addr, a)
					told <- err
				}()
				time.Sleep(time.Duration(n*n*7919%3000) * time.Microsecond) // a moment in which it is taken, or answered
				kill()
				<-told
				addr, kill = servertest.Spawn(t, dir)
			}
			r, text := do(t, addr, a)
			check(t, "a request", r, text, http.StatusOK, `\{"accepted":300,"rejections":1,"rejected":\[\{"index":300,"code":"duplicate_key",.*`)
		}
		kill()
	}
	s, err := log.Open(t.Context(), dir, &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	got := stored(t, s, "t")
	if got+" " != want.String() {
		t.Errorf("%d bytes are stored, want %d", len(got)+1, want.Len())
	}
	if rows := strings.Count(stored(t, s, store.Rejected), "duplicate_key"); rows != n {
		t.Errorf("%d rejections are kept, want %d", rows, n)
	}
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
}
