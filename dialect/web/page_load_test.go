package web_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

var (
	loadFor   = flag.Duration("page.load", 6*time.Second, "how long TestPageLoad sends")
	loadTrace = flag.String("page.trace", "", "a file for what the browser did meanwhile, which its DevTools read")
	loadWall  = flag.Bool("page.wall", false, "long tasks are those of the clock, on a machine that does nothing else")
)

const (
	loadRate = 2000 // records per second
	longTask = 100 * time.Millisecond
	loadHeap = 48e6 // bytes of heap, at most: 100,000 of these records take about 28 MB
	loadRows = 100_000
)

// load sends records at a steady rate until it is stopped.
func load(t testing.TB, addr, topic string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		client := &http.Client{Transport: new(http.Transport)}
		defer client.CloseIdleConnections()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for n := 0; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			var b strings.Builder
			for due := int(time.Since(began).Seconds() * loadRate); n < due; n++ {
				fmt.Fprintf(&b, `{"id":%d,"device":"sensor-%d","temperature":%d.%d,"ok":%t,"tags":["a","b%d"],"note":"all is well with number %d","at":{"x":%d,"y":null}}`+"\n",
					n, n%37, 15+n%20, n%10, n%7 != 0, n%5, n, n*n)
			}
			r, err := client.Post("http://"+addr+"/v1/topics/"+topic, "application/x-ndjson", strings.NewReader(b.String()))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		sending.Wait()
	})
}

// trace returns the trace events of all browser threads during a call of while.
func (b *browser) trace(while func()) (events []json.RawMessage) {
	b.t.Helper()
	b.call("", "Tracing.start", map[string]any{"transferMode": "ReportEvents", "traceConfig": map[string]any{
		"excludedCategories": []string{"*"},
		"includedCategories": []string{"devtools.timeline", "disabled-by-default-devtools.timeline", "v8", "disabled-by-default-v8.gc"},
	}})
	while()
	b.call("", "Tracing.end", nil)
	b.until(func(r reply) bool {
		if r.Method == "Tracing.dataCollected" {
			var some struct{ Value []json.RawMessage }
			if err := json.Unmarshal(r.Params, &some); err != nil {
				b.t.Fatal(err)
			}
			events = append(events, some.Value...)
		}
		return r.Method == "Tracing.tracingComplete"
	})
	return events
}

// tasks returns the durations of the tasks on the page's main thread, longest first. It is
// the busiest thread; the browser's own pages have threads, too.
func (b *browser) tasks(events []json.RawMessage) (all []time.Duration) {
	b.t.Helper()
	type thread struct{ pid, tid int }
	by, busy := map[thread][]time.Duration{}, map[thread]time.Duration{}
	var most thread
	for _, text := range events {
		var e struct {
			Name     string
			Pid, Tid int
			Tdur     float64 // microseconds of CPU time
		}
		if err := json.Unmarshal(text, &e); err != nil {
			b.t.Fatal(err)
		}
		if e.Name != "RunTask" && e.Name != "FireAnimationFrame" {
			continue
		}
		at, took := thread{e.Pid, e.Tid}, time.Duration(e.Tdur)*time.Microsecond
		if e.Name == "RunTask" {
			by[at] = append(by[at], took)
		} else if busy[at] += took; busy[at] > busy[most] {
			most = at
		}
	}
	all = by[most]
	slices.SortFunc(all, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	if len(all) == 0 {
		b.t.Fatal("the trace has no tasks")
	}
	return all
}

// heap returns the bytes of a tab's objects, plus the buffers of records, which the browser
// counts separately.
func (t *tab) heap() float64 {
	t.t.Helper()
	t.call(t.session, "HeapProfiler.collectGarbage", nil)
	usage := t.call(t.session, "Runtime.getHeapUsage", nil).Result
	return usage.UsedSize + usage.BackingStorageSize
}

// rows returns how many records the page keeps.
func (t *tab) rows() (n int) {
	t.t.Helper()
	if _, err := fmt.Sscan(t.on(`return $('#count').textContent.replaceAll(',', '')`), &n); err != nil {
		t.t.Fatal(err)
	}
	return n
}

// The page keeps up with 2,000 records per second: no task takes longer than 100 ms, and
// once its buffer is full, its memory does not grow. Tasks are measured in CPU time unless
// the machine is otherwise idle, since other processes are not the page's fault.
func TestPageLoad(t *testing.T) {
	b := openBrowser(t)
	s := memory.New(&memory.Options{KeepBytes: 64 << 20})
	addr := start(t, &dictwire.Server{Store: s})
	for n := range 12 { // so that the buffer is full from the beginning
		var full strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&full, `{"id":%d,"device":"sensor-%d","ok":true,"note":"this was here before, at number %d"}`+"\n", -n*10_000-i, i%37, i)
		}
		post(t, addr, "sensors", full.String())
	}
	tab := b.open("about:blank")
	defer load(t, addr, "sensors")()
	var heaps []float64
	run := func() {
		tab.call(tab.session, "Page.navigate", map[string]any{"url": "http://" + addr + "/#from=earliest"})
		b.until(func(r reply) bool { return r.Method == "Page.loadEventFired" })
		tab.on(`
			window.long = [0]
			new PerformanceObserver((l) => { for (const e of l.getEntries()) long.push(Math.round(e.duration)) }).observe({type: 'longtask', buffered: true})
			let last = performance.now()
			window.frames_ = []
			const frame = (now) => { if (frames_.length < 1e5) frames_.push(now - last); last = now; requestAnimationFrame(frame) }
			requestAnimationFrame(frame)
			await until(() => parseInt($('#count').textContent.replace(',', '')) > 95000)`)
		for end := time.Now().Add(*loadFor); time.Now().Before(end); time.Sleep(max(time.Second, *loadFor/20)) {
			heaps = append(heaps, tab.heap())
			if n := tab.rows(); n < loadRows*9/10 || n > loadRows {
				t.Errorf("%d records are kept, want at most %d, and almost those", n, loadRows)
			}
		}
		tab.expect("all searched", `
			type('#find', 'note:number', 'input')
			await until(() => /^9[\d,]+ of [\d,]+$/.test($('#count').textContent))
			type('#find', '', 'input')
			await until(() => /records$/.test($('#count').textContent))
			return ''`, "")
	}
	var tasks []time.Duration
	if *loadFor > time.Minute { // too long for a trace
		run()
	} else {
		events := b.trace(run)
		if *loadTrace != "" {
			text, err := json.Marshal(events)
			if err == nil {
				err = os.WriteFile(*loadTrace, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tasks = b.tasks(events)
		t.Logf("the longest tasks, without what others did: %v", tasks[:min(8, len(tasks))])
	}
	var long []time.Duration
	for text := range strings.FieldsSeq(tab.on(`return long.sort((a, b) => b - a).join('ms ') + 'ms'`)) {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		long = append(long, d)
	}
	t.Logf("long tasks, by the clock: %v", long[:min(8, len(long))])
	t.Logf("%s; %s", tab.on(`return $('#count').textContent`), tab.on(`
		frames_.sort((a, b) => a - b)
		const of = (part) => frames_[Math.floor(part * (frames_.length - 1))].toFixed(1)
		return frames_.length + ' frames: half within ' + of(.5) + ' ms, 99 of 100 within ' + of(.99) + ', all within ' + of(1)`))
	if first, last := heaps[0], heaps[len(heaps)-1]; last > first*1.25 {
		t.Errorf("memory grew from %.0f bytes to %.0f", first, last)
	}
	for i, h := range heaps {
		heaps[i] = float64(int(h/1e5)) / 10
	}
	t.Logf("memory of its values, MB: %v", heaps)
	if *loadWall || len(tasks) == 0 {
		tasks = long
	}
	if tasks[0] > longTask {
		t.Errorf("a task took %v, want at most %v", tasks[0], longTask)
	}
	if last := heaps[len(heaps)-1] * 1e6; last > loadHeap {
		t.Errorf("the page holds %.0f bytes, want at most %.0f", last, loadHeap)
	}
}
