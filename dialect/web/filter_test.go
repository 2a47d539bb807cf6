package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/filter"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// startFiltering runs a server that allows 8 filters, 4 of them for this host.
func startFiltering(t *testing.T, srv *dictwire.Server) string {
	t.Helper()
	d, err := web.New(&web.Options{Filters: filter.New(8)})
	if err != nil {
		t.Fatal(err)
	}
	srv.Dialects = []dictwire.Dialect{d}
	return start(t, srv)
}

// workers returns the child processes that are running or were not waited for.
func workers(t *testing.T) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal("there is no /proc, by which this test counts processes")
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if parent, _ := strconv.Atoi(fields[1]); parent != os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if fields[0] == "Z" || strings.HasSuffix(string(line), "\x00"+filter.Command+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noWorkers waits until all workers are gone.
func noWorkers(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(workers(t)) > 0; {
		if time.Now().After(end) {
			t.Fatalf("workers %v are still there", workers(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// aWorker waits until there is a worker.
func aWorker(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(workers(t)) == 0; {
		if time.Now().After(end) {
			t.Fatal("there is no worker")
		}
		time.Sleep(time.Millisecond)
	}
}

// filtered is a request that reads through a filter.
func filtered(expression, more string) ask {
	return ask{path: "/v1/topics/t?filter=" + url.QueryEscape(expression) + more}
}

// Every format can carry the results of a filter, and faults are reported.
func TestFilter(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	for i := range 6 {
		post(t, addr, "t", fmt.Sprintf(`{"n":%d,"name":"n%d","in":{"x":[%d]}}`, i, i, i))
	}
	post(t, addr, "t", `[{"n":6,"name":7},{"n":7,"name":"n7"},{"n":8,"name":"n8"}]`)
	for _, c := range []struct {
		expression, more string
		status           int
		want             string
	}{
		{"select(.n > 6)", "", 200, `{"n":7,"name":"n7"}` + "\n" + `{"n":8,"name":"n8"}` + "\n"},
		{"select(.n == 2) | {name, n}", "", 200, `{"n":2,"name":"n2"}` + "\n"},
		{"select(.n > 6) | .n", "", 200, "7\n8\n"},
		{"select(.n > 6) | .n, .name", "&format=json", 200, "[\n7,\n\"n7\",\n8,\n\"n8\"\n]\n"},
		{"select(.n > 60)", "&format=json", 200, "[\n]\n"},
		{"select(.n > 6) | .n", "&format=python", 200, "7\n8\n"},
		{"select(.n > 6)", "&format=python", 200, "{'n': 7, 'name': 'n7'}\n{'n': 8, 'name': 'n8'}\n"},
		{"select(.n == 7) | .n, .", "&format=cbor", 200, "\x07\xa2an\x07dnameb" + "n7"},
		{"select(.n > 6) | {n}", "&format=csv", 200, "n\n7\n8\n"},
		{"select(.n > 6) | ., .", "&format=csv&columns=name", 200, "name\nn7\nn7\nn8\nn8\n"},
		{"select(.n > 6) | ., .", "&format=csv", 200, "n,name\n7,n7\n7,n7\n8,n8\n8,n8\n"},
		{"select(.n > 6) | .n", "&format=csv", 406, "the filter returned 7, and a CSV row needs a dictionary"},
		{"select(.n > 6) | .n", "&format=sse", 200, "data: 7\n\n"},
		{".n", "&limit=2", 200, "0\n1\n"},
		{".n, .n", "&limit=2", 200, "0\n0\n1\n1\n"}, // two records
		{"select(.n > 6) | .n, .n", "&limit=1", 200, "7\n7\n"},
		{"select(.n > 6)", "&limit=0", 200, ""},
		{"empty", "&to=latest&follow=1", 200, ""},
		{".name | ltrimstr(\"n\") | test(\"7\")", "&limit=1&from=1h", 200, "false\n"},
		{".in.x[0] * 2", "&from=1h&limit=3", 200, "0\n2\n4\n"},
		// A record for which the expression fails is left out, is reported in its envelope,
		// or ends the answer.
		{".name.x", "", 200, ""},
		{"select(.n > 5) | .name | test(\"n\")", "", 200, "true\ntrue\n"},
		{"select(.n > 5) | .name | test(\"n\")", "&format=csv&envelope=1&exact=1", 406, "filter: "},
		{"select(.n > 5) | .name | test(\"n\")", "&exact=1", 406, `filter: test(\"n\"; null) cannot be applied to: number (7); an expression that can fail has a ?, as .a.b?`},
		{"select(.n > 5) | .name | test(\"n\")", "&cursor=c", 406, `filter: test(`},
		// Invalid expressions are refused.
		{".n |", "", 400, `"filter: unexpected EOF, at byte 4","code":"malformed","offset":4}`},
		{".a ) .b", "", 400, `unexpected token \")\", at byte 4`},
		{"nope", "", 400, `"filter: function not defined: nope/0","code":"malformed"}`},
		{"input", "", 400, "input(s)/0 is not allowed"},
		{`import "a" as a; .`, "", 400, "cannot load module"},
		{strings.Repeat(".n|", 1366), "", 400, "filter: 4098 bytes, want at most 4096"},
		{"", "", 400, "filter: want a jq expression"},
		{".", "&topic=x", 400, "at most once"},
		{"env", "&limit=1", 200, "{}\n"},
		{"$ENV.HOME", "&limit=1", 200, "null\n"},
	} {
		r, text := do(t, addr, filtered(c.expression, c.more))
		ok := text == c.want
		if r.StatusCode != http.StatusOK || strings.Contains(c.more, "sse") {
			ok = strings.Contains(text, c.want)
		}
		if r.StatusCode != c.status || !ok {
			t.Errorf("%.60s %s: %d %q\nwant %d %q", c.expression, c.more, r.StatusCode, text, c.status, c.want)
		}
	}
	_, text := do(t, addr, filtered("select(.n > 5) | .name | test(\"n\")", "&envelope=1"))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `,"error":"test(`) || strings.Contains(lines[0], `"record"`) ||
		!strings.HasSuffix(lines[1], `,"record":true}`) || !strings.Contains(lines[1], `.7.1","topic":"t"`) {
		t.Errorf("in envelopes: %s", text)
	}
	// A new cursor is saved after the records that were given.
	_, text = do(t, addr, filtered("select(.n > 6)", "&cursor=d&envelope=1&limit=1"))
	if !strings.Contains(text, `.7.1","next":"`) || !strings.Contains(text, `.7.2"`) {
		t.Errorf("with a cursor: %s", text)
	}
	noWorkers(t)

	// A server without filters says so.
	r, text := do(t, start(t, &dictwire.Server{Store: memory.New(nil)}), filtered(".", ""))
	if r.StatusCode != http.StatusNotImplemented || !strings.Contains(text, "this server runs no filters") || !strings.Contains(text, "with dictwire tail") {
		t.Errorf("without filters: %d %s", r.StatusCode, text)
	}
}

// A selected dictionary keeps all its types, in whichever format it was stored.
func TestFilterKeepsKinds(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	const rich = "{'n': 1, 'when': datetime.datetime(2026, 11, 30, 8, 1, 2, 123456, tzinfo=datetime.timezone.utc), 'b': b'\\x00\\xff', 's': {1}, 't': (1, 2.0), 'big': 170141183460469231731687303715884105728, 2: Decimal('1.10'), 'd': datetime.timedelta(days=1), 'f': 1.0}"
	if r, text := do(t, addr, ask{body: rich, header: "Content-Type: text/x-python"}); r.StatusCode != http.StatusOK {
		t.Fatal(text)
	}
	post(t, addr, "t", `{"n":1,"f":1.0,"big":170141183460469231731687303715884105728}`)
	_, text := do(t, addr, filtered("select(.n == 1 and .big > 5)", "&format=cbor"))
	n := 1
	for ; n <= len(text); n++ {
		if d, err := (cbor.Codec{}).Decode([]byte(text[:n]), codec.Limits{}); err == nil {
			if got := d.String(); got != rich {
				t.Errorf("%s\nwant %s", got, rich)
			}
			break
		}
	}
	d, err := cbor.Codec{}.Decode([]byte(text[n:]), codec.Limits{})
	if err != nil || d.String() != "{'n': 1, 'f': 1.0, 'big': 170141183460469231731687303715884105728}" {
		t.Error(d, err)
	}
}

// Thousands of records in blocks of all sizes pass a filter, over both versions of HTTP and
// with follow. The answer has every selected record once and in order.
func TestFilterOfMany(t *testing.T) {
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1, Durability: "os"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := &dictwire.Server{Store: s}
	addr := startFiltering(t, srv)
	defer srv.Close()
	const n = 8000
	var want strings.Builder
	blocks := 0
	for i := 0; i < n; {
		size := 1 + i%7 // blocks of all sizes
		if i == 0 {
			size = 3000
		}
		size = min(size, n-i)
		blocks++
		post(t, addr, "t", numbered(i, i+size))
		i += size
	}
	for i := 0; i < n; i += 3 {
		fmt.Fprintln(&want, i)
	}
	for _, more := range []string{"", "&follow=1&to=" + url.QueryEscape(time.Now().Add(2*time.Second).UTC().Format(time.RFC3339Nano))} {
		began := time.Now()
		if _, text := do(t, addr, filtered("select(.n % 3 == 0) | .n", more)); text != want.String() {
			t.Errorf("%s: %d bytes, want %d", more, len(text), want.Len())
		}
		t.Logf("%d records in %d blocks %s in %v", n, blocks, more, time.Since(began).Round(time.Millisecond))
	}
	if _, text := do(t, addr, filtered("select(.n % 3 == 0) | .n", "&limit=10")); strings.Count(text, "\n") != 10 {
		t.Errorf("limit=10: %q", text)
	}
	noWorkers(t)
}

// A reader that follows through a filter which selects nothing hears from the server,
// whether the topic is silent or busy. When it leaves, the worker ends.
func TestFilterFollows(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "t", numbered(0, 10))
	for _, busy := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		var posts sync.WaitGroup
		if busy {
			posts.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					post(t, addr, "t", numbered(i, i+1))
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+filtered("select(.n < 0)", "&follow=1&format=sse").path, nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if pids := workers(t); len(pids) != 1 {
			t.Errorf("workers %v", pids)
		}
		began := time.Now()
		line, err := bufio.NewReader(response.Body).ReadString('\n')
		if line != ": nothing\n" || time.Since(began) > 20*time.Second {
			t.Errorf("busy %v: %q, %v after %v", busy, line, err, time.Since(began))
		}
		cancel()
		_ = response.Body.Close()
		posts.Wait()
		noWorkers(t)
	}
}

// The same is true for a reader that does not follow, and for which nothing is written.
func TestFilterLeft(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "t", numbered(0, 1000))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _, _ = try(ctx, addr, filtered("select(reduce range(1000000) as $i (0; . + $i) < 0)", ""))
	}()
	aWorker(t)
	cancel()
	<-left
	noWorkers(t)
}

// Killing a worker ends its own answer only, and reports the position. Other requests and
// the server continue.
func TestFilterKilled(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "t", numbered(0, 3))
	open := func() (*bufio.Reader, func()) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+filtered(".", "&follow=1").path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r) //nolint:bodyclose // whoever opens it closes it
		if err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(response.Body)
		for i := range 3 {
			if line, err := out.ReadString('\n'); line != fmt.Sprintf("{\"n\":%d}\n", i) {
				t.Fatal(line, err)
			}
		}
		return out, func() { _ = response.Body.Close() }
	}
	out, end := open()
	defer end()
	pids := workers(t)
	other, endOther := open()
	defer endOther()
	if len(pids) != 1 {
		t.Fatal(pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	post(t, addr, "t", numbered(3, 5))
	line, _ := out.ReadString('\n')
	if !strings.Contains(line, `"code":"unavailable"`) || !strings.Contains(line, "the filter's process has ended; from=") || !strings.Contains(line, ".2.0: ") {
		t.Errorf("the killed one's reader: %s", line)
	}
	for i := 3; i < 5; i++ {
		if line, err := other.ReadString('\n'); line != fmt.Sprintf("{\"n\":%d}\n", i) {
			t.Errorf("the other reader: %q, %v", line, err)
		}
	}
}

// A server does not wait for filters when it shuts down, and the reader is told that its
// answer is incomplete.
func TestFilterShutdown(t *testing.T) {
	srv := &dictwire.Server{Store: memory.New(nil)}
	addr := startFiltering(t, srv)
	post(t, addr, "t", numbered(0, 1000))
	answered := make(chan string, 1)
	go func() {
		r, text, err := try(t.Context(), addr, filtered("select(reduce range(100000) as $i (0; . + $i) < 0)", ""))
		answered <- fmt.Sprint(r.StatusCode, text, err)
	}()
	aWorker(t)
	time.Sleep(100 * time.Millisecond)
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-answered; !strings.HasPrefix(got, "503") || !strings.Contains(got, `"code":"shutdown"`) {
		t.Error(got)
	}
	noWorkers(t)
}

// Of a hundred simultaneous readers, as many are served as the limit allows. The others are
// told at once to try again, and other requests are served meanwhile. Nothing is left
// behind, and a filter that never ends does not keep its place.
func TestFiltersAtOnce(t *testing.T) {
	s := memory.New(nil)
	addr := startFiltering(t, &dictwire.Server{Store: s})
	post(t, addr, "t", numbered(0, 3))
	before := runtime.NumGoroutine()
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan int, 100)
	var all sync.WaitGroup
	for range cap(answered) {
		all.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+filtered("select(.n < 0)", "&follow=1").path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err != nil {
				t.Error(err)
				answered <- 0
				return
			}
			defer response.Body.Close()
			answered <- response.StatusCode
			if response.StatusCode == http.StatusOK {
				<-ctx.Done()
				return
			}
			if text, err := io.ReadAll(response.Body); err != nil || response.Header.Get("Retry-After") != "1" || !strings.Contains(string(text), "all 4 of your filters are in use") {
				t.Errorf("%v %s %v", response.Header, text, err)
			}
		})
	}
	statuses := map[int]int{}
	for range cap(answered) {
		statuses[<-answered]++
	}
	if statuses[200] != 4 || statuses[503] != 96 {
		t.Errorf("statuses %v, want 4 of 200 and 96 of 503", statuses)
	}
	for range 10 {
		if _, text := do(t, addr, ask{path: "/v1/topics/t"}); text != numbered(0, 3) {
			t.Error(text)
		}
	}
	if n := len(workers(t)); n != 4 {
		t.Errorf("%d workers", n)
	}
	leave()
	all.Wait()
	noWorkers(t)
	if r, text := do(t, addr, filtered("def f: f; f", "")); r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "the filter takes longer than 2s; from=") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	noWorkers(t)
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// Attacks use up neither the server's memory nor more than a worker's limit.
func TestFilterAttacks(t *testing.T) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "t", `{"a":"`+strings.Repeat("x", 900_000)+`"}`)
	rss := func(pid int) (mib int) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &mib); err == nil {
				return mib >> 10
			}
		}
		return 0
	}
	before, server, worker := rss(os.Getpid()), 0, 0
	done := make(chan struct{})
	var watch, all sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			server = max(server, rss(os.Getpid()))
			for _, pid := range workers(t) {
				worker = max(worker, rss(pid))
			}
		}
	})
	for _, expression := range []string{
		"[range(1e9)]", `[.a * 1000]`, "def f: [., f]; f", "., ., ., .", "[limit(900; repeat(.))]", `.a * 120 | [., .] | @text`, "[splits(\"\")]?, [.a | splits(\"\")]", ". as $x | reduce range(1e9) as $i ([]; . + [$x.a + ($i | tostring)])",
	} {
		all.Go(func() {
			for range 2 {
				r, text, err := try(t.Context(), addr, filtered(expression, ""))
				for r.StatusCode == http.StatusServiceUnavailable {
					time.Sleep(50 * time.Millisecond)
					r, text, err = try(t.Context(), addr, filtered(expression, ""))
				}
				if err != nil || r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadRequest {
					t.Errorf("%s: %d %.200s %v", expression, r.StatusCode, text, err)
				}
			}
		})
	}
	all.Wait()
	close(done)
	watch.Wait()
	t.Logf("the server had %d MiB before and %d MiB at most, a worker %d MiB", before, server, worker)
	if server > before+150 || worker > filter.Memory>>20+110 /* what it has at its start, and one arena */ {
		t.Errorf("the server had %d MiB before and %d MiB at most, a worker %d MiB", before, server, worker)
	}
	if _, text := do(t, addr, filtered(".a | length", "")); text != "900000\n" {
		t.Error(text)
	}
	noWorkers(t)
}
