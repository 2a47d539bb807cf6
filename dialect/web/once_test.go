package web_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// A repeated request with a key is stored once, and gets the same answer.
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
	// The same key in another topic is a different key.
	r, text = do(t, addr, ask{path: "/v1/topics/u", body: `{"a":2}`, header: key("a")})
	check(t, "another topic", r, text, 200, `\{"accepted":1,.*`)
	// A session's producer can't have the name of a key.
	c, err := dictwire.Dialer{Producer: "_key.x"}.Dial(t.Context(), addr)
	if err == nil {
		_, err = c.Send(t.Context(), "t", dict.Of("a", 1))
		_ = c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the server's own") {
		t.Error(err)
	}
}

// While a request is in progress, another one with its key is refused.
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
	check(t, "at once", r, text, 409, `.*is in progress.*`)
	close(goOn)
	r, again := do(t, addr, ask{body: `{"b":1}`, header: "Idempotency-Key: other"})
	check(t, "another key", r, again, 200, `\{"accepted":1,.*`)
	if got, want := <-first, again+"<nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// One append settles all records of a request, the rejected ones included, or none: whether
// the store fails, the handler can't decide, or the rejections take too much memory.
// Repeating the request then settles all of them.
func TestOnceWhole(t *testing.T) {
	var body, want strings.Builder
	body.WriteString("[")
	for i := range 20_000 {
		fmt.Fprintf(&body, "{\"n\":%d},", i)
		fmt.Fprintf(&want, "{\"n\":%d} ", i)
		if i%5000 == 0 {
			body.WriteString("0,")
		}
	}
	body.WriteString("false]")
	a := ask{body: body.String(), header: "Idempotency-Key: k\nContent-Type: application/json"}
	const all = `\{"accepted":20000,"rejections":5,"rejected":\[\{"index":1,.*\{"index":20004,.*`
	for name, broken := range map[string]func(s *failing) dictwire.Handler{
		"the store": func(s *failing) dictwire.Handler { s.fails = 1; return nil },
		"the handler": func(*failing) dictwire.Handler {
			var once atomic.Bool
			return dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
				if string(r.Bytes) == `{"n":7000}` && once.CompareAndSwap(false, true) {
					return nil, dictwire.ErrUnavailable
				}
				return dict.Of("seen", 1), nil
			})
		},
	} {
		s := &failing{Store: memory.New(nil)}
		addr := start(t, &dictwire.Server{Store: s, Handler: broken(s)})
		r, text := do(t, addr, a)
		check(t, name+" at first", r, text, 503, `.*"code":"unavailable","retry_ms":\d+\}`+"\n")
		if got := stored(t, s, "t") + stored(t, s, store.Rejected); got != "" {
			t.Errorf("%s: %d bytes are stored", name, len(got))
		}
		before := s.n.Load()
		r, text = do(t, addr, a)
		check(t, name+" then", r, text, 200, all)
		if n := s.n.Load() - before; n != 1 {
			t.Errorf("%s: %d appends", name, n)
		}
		if got := stored(t, s, "t"); got+" " != want.String() {
			t.Errorf("%s: stored %d bytes, want %d", name, len(got)+1, want.Len())
		}
	}
	s := &failing{Store: memory.New(nil)}
	addr := start(t, &dictwire.Server{Store: s})
	r, text := do(t, addr, ask{body: "[{}" + strings.Repeat(",1", 65_000) + "]", header: a.header})
	check(t, "too much is rejected", r, text, 413, `.*need more memory.*nothing was taken.*`)
	if n := s.n.Load(); n != 0 {
		t.Errorf("too much is rejected: %d appends", n)
	}
	// A handler that fails on a record is called again before anything is settled.
	var calls atomic.Int64
	addr = start(t, &dictwire.Server{Store: s, Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if calls.Add(1) == 2 {
			return nil, errors.New("not yet")
		}
		if string(r.Bytes) == `{"n":3}` {
			return nil, dictwire.Reject("odd", "three")
		}
		return nil, nil //nolint:nilnil // nothing to say
	})})
	for range 2 {
		r, text = do(t, addr, ask{body: `[{"n":1},{"n":2},{"n":3}]`, header: a.header})
		check(t, "a handler that fails", r, text, 200, `\{"accepted":2,"rejections":1,"rejected":\[\{"index":2,"code":"handler","error":"three","reason":"odd"\}\]\}`+"\n")
	}
	if n, calls := s.n.Load(), calls.Load(); n != 1 || calls != 4 {
		t.Errorf("a handler that fails: %d appends, %d calls", n, calls)
	}
}

// A failing store fails the first few appends.
type failing struct {
	*memory.Store
	fails int64
	n     atomic.Int64 // appends
}

func (s *failing) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	if s.n.Add(1) > s.fails {
		return s.Store.Append(ctx, blocks...)
	}
	results := make([]store.Result, len(blocks))
	for i := range results {
		results[i].Err = store.ErrUnavailable
	}
	return results
}

// An answered request survives a kill, and a request that is repeated until it is answered
// is stored once, its rejected records included.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n := 0
	var want strings.Builder
	for range testrand.Many(6) {
		addr, kill := servertest.Spawn(t, dir)
		// The server is killed during the last request of the round.
		for last := n + 3; n < last; n++ {
			var body strings.Builder
			for i := range 300 {
				if i == 150 {
					body.WriteString("{\"a\":1,\"a\":2}\n")
				}
				fmt.Fprintf(&body, "{\"n\":%d,\"i\":%d}\n", n, i)
				fmt.Fprintf(&want, "{\"n\":%d,\"i\":%d} ", n, i)
			}
			a := ask{body: body.String(), header: fmt.Sprintf("Idempotency-Key: %d\nContent-Type: application/x-ndjson", n)}
			if n == last-1 {
				told := make(chan error, 1)
				go func() {
					_, _, err := try(t.Context(), addr, a)
					told <- err
				}()
				time.Sleep(time.Duration(n*n*7919%3000) * time.Microsecond) // in the middle of storing or answering
				kill()
				<-told
				addr, kill = servertest.Spawn(t, dir)
				_, got := do(t, addr, ask{path: "/v1/topics/t"})
				if some := strings.Count(got, fmt.Sprintf("{\"n\":%d,", n)); some != 0 && some != 300 {
					t.Errorf("after a kill %d records of a request are there", some)
				}
			}
			r, text := do(t, addr, a)
			check(t, "a request", r, text, http.StatusOK, `\{"accepted":300,"rejections":1,"rejected":\[\{"index":150,"code":"duplicate_key",.*`)
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

// After a power failure or a kill at any write of the store, a request is stored as a whole
// or not at all, and as a whole if it was answered. A repeated request, even over two
// connections at once, gets the same answer and is stored once.
func TestOncePowerLoss(t *testing.T) {
	seed := testrand.Seed(t)
	for range testrand.Many(30) {
		seed++
		w := &lives{rng: rand.New(rand.NewPCG(seed, 1)), fs: crashfs.New(seed), answers: map[int]string{}}
		for range 3 {
			w.live(t)
		}
		w.end(t)
		if t.Failed() {
			return
		}
	}
}

// lives runs servers on a store, one after another, to which the same requests are sent.
type lives struct {
	rng *rand.Rand
	fs  *crashfs.FS

	mu      sync.Mutex
	answers map[int]string // by request
	before  map[int]string // before the crash
}

const keyed = 12 // requests

// request returns the body of a request, and how many of its records are good and bad.
func request(n int) (body string, good, bad int) {
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	var b strings.Builder
	for i := range rng.IntN(200) + 1 {
		if rng.IntN(4) == 0 {
			b.WriteString("{\"a\":1,\"a\":2}\n")
			bad++
			continue
		}
		fmt.Fprintf(&b, "{\"n\":%d,\"i\":%d}\n", n, i)
		good++
	}
	return b.String(), good, bad
}

func (w *lives) open(t *testing.T) *log.Store {
	s, err := log.Open(t.Context(), "store", &log.Options{FS: w.fs, Reserve: -1, KeepEvery: -1, MaxSegment: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// live sends the requests until the crash.
func (w *lives) live(t *testing.T) {
	w.fs.CrashAfter(w.rng.IntN(80)+1, w.rng.IntN(2) == 0, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.before = maps.Clone(w.answers)
	})
	s := w.open(t)
	w.compare(t, s)
	t.Run("life", func(t *testing.T) {
		addr := start(t, &dictwire.Server{Store: s})
		for n := 0; n < keyed || !w.fs.Crashed(); n++ {
			var both sync.WaitGroup
			for range w.rng.IntN(2) + 1 {
				both.Go(func() { w.send(t, addr, n%keyed) })
			}
			both.Wait()
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	w.fs, w.answers = w.fs.After(), w.before
}

// send sends a request and compares its answer with the one before.
func (w *lives) send(t *testing.T, addr string, n int) {
	body, good, bad := request(n)
	r, text, err := try(t.Context(), addr, ask{body: body, header: fmt.Sprintf("Idempotency-Key: %d\nContent-Type: application/x-ndjson", n)})
	w.mu.Lock()
	defer w.mu.Unlock()
	switch before := w.answers[n]; {
	case err != nil:
		t.Error(err)
	case r.StatusCode == http.StatusConflict: // the request on the other connection is in progress
	case before != "" && text != before:
		t.Errorf("request %d is answered %s, before %s", n, text, before)
	case good+bad == 1 && bad == 1:
		check(t, "a bad record alone", r, text, http.StatusUnprocessableEntity, `.*duplicate_key.*`)
		w.answers[n] = text
	default:
		check(t, "a request", r, text, http.StatusOK, fmt.Sprintf(`\{"accepted":%d,"rejections":%d,.*`, good, bad))
		w.answers[n] = text
	}
}

// compare compares a store with the answers.
func (w *lives) compare(t *testing.T, s store.Store) {
	all, rejected := stored(t, s, "t"), strings.Count(stored(t, s, store.Rejected), "duplicate_key")
	for n := range keyed {
		_, good, bad := request(n)
		got := strings.Count(all, fmt.Sprintf("{\"n\":%d,", n))
		if got != good && (got != 0 || w.answers[n] != "") {
			t.Errorf("%d of %d records of request %d are there; it was answered %q", got, good, n, w.answers[n])
		}
		if got == good && (good > 0 || w.answers[n] != "") {
			rejected -= bad
		}
	}
	if rejected != 0 && rejected != 1 { // for a request without good records
		t.Errorf("%d rejections are there beyond those of the requests that are", rejected)
	}
}

// end sends all requests once more, and checks that each is stored once.
func (w *lives) end(t *testing.T) {
	s := w.open(t)
	t.Run("end", func(t *testing.T) {
		addr := start(t, &dictwire.Server{Store: s})
		for n := range keyed {
			w.send(t, addr, n)
		}
	})
	w.compare(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
