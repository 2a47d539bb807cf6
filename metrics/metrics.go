// Package metrics exports the state of a server to Prometheus:
//
//	http.Handle("/metrics", metrics.Handler(metrics.Options{Server: srv, Store: st}))
//
// The metrics and the values of labels are fixed: see docs/operations.md. It is a package
// of its own, so that nothing else links its dependencies.
package metrics

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// Options say what to export.
type Options struct {
	Server  *dictwire.Server
	Store   store.Store // the server's; more is exported of a store.Measurer and a store.Accountant
	Version string      // of the program
}

const (
	// maxReaders is the most cursors whose lag is exported: the first ones by name.
	maxReaders = 100

	// maxPrincipals is the most principals whose stored bytes are exported: those with
	// the most.
	maxPrincipals = 100
)

// scrapeTime limits how long the store may take.
const scrapeTime = 10 * time.Second

// Handler returns a handler that serves the metrics.
func Handler(o Options) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(Collector(o))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 2, ErrorHandling: promhttp.ContinueOnError})
}

// Collector returns the metrics for a registry with other metrics.
func Collector(o Options) prometheus.Collector { return &collector{Options: o, started: time.Now()} }

type collector struct {
	Options

	started time.Time
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dictwire_"+name, help, labels, nil)
}

var (
	build       = desc("build_info", "1, with the program's version.", "version")
	start       = desc("start_time_seconds", "When the server began, in seconds since 1970.")
	ready       = desc("ready", "Whether records can be stored now: 1 or 0.")
	durability  = desc("durability_info", "1, with what an acknowledged record survives.", "durability")
	records     = desc("records_total", "Records stored, rejected ones not included.")
	bytes       = desc("received_bytes_total", "Bytes of the records stored.")
	rejections  = desc("rejections_total", "Records rejected, by code.", "code")
	connections = desc("connections_total", "Connections that have said what they speak, by dialect.", "dialect")
	open        = desc("connections", "Connections that are open.")
	memory      = desc("memory_bytes", "Memory: of records received, of records given to readers, of the heap.", "use")
	topics      = desc("topics", "Topics.")
	stored      = desc("stored_records", "Records that are kept.")
	storedBytes = desc("stored_bytes", "Bytes of the records that are kept, as they were received.")
	oldest      = desc("oldest_record_timestamp_seconds", "When the oldest record that is kept was stored, in seconds since 1970; 0 for none.")
	has         = desc("principal_stored_bytes", "Bytes that the records of a principal take in the store. Of the 100 that have the most.", "principal")
	may         = desc("principal_stored_limit_bytes", "How many they may take before no more are taken of the principal. Of the same, where there is a limit.", "principal")
	cursors     = desc("cursors", "Cursors.")
	lag         = desc("reader_lag_records", "Records that the reader of a cursor has not read, about. Of the first 100 cursors.", "principal", "cursor", "reads")
	appends     = desc("append_seconds", "How long it took to store what was received together.")
	syncs       = desc("sync_seconds", "How long the disk took to make a write durable.")
	blocks      = desc("block_bytes", "Bytes of the records that are stored as one block.")
	disk        = desc("store_disk_bytes", "Bytes of the disk that the store takes.")
	free        = desc("disk_free_bytes", "Bytes of the store's disk that are left to it.")

	all = []*prometheus.Desc{
		build, start, ready, durability, records, bytes, rejections, connections, open, memory, topics, stored,
		storedBytes, oldest, has, may, cursors, lag, appends, syncs, blocks, disk, free,
	}
)

// Describe implements [prometheus.Collector].
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range all {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. Figures that the store can't provide are
// left out.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(build, 1, cmp.Or(c.Version, "unknown"))
	gauge(start, seconds(c.started))
	gauge(durability, 1, string(c.Store.Limits().Durability))
	isReady := 0.0
	if c.Store.Ready(ctx) == nil {
		isReady = 1
	}
	gauge(ready, isReady)

	s := c.Server.Stats()
	counter(records, s.Records)
	counter(bytes, s.Bytes)
	for code, n := range s.RejectedBy {
		counter(rejections, n, string(code))
	}
	for dialect, n := range s.ByDialect {
		counter(connections, n, dialect)
	}
	gauge(open, float64(s.Open))
	gauge(memory, float64(s.Receiving), "receiving")
	gauge(memory, float64(s.Reading), "reading")
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	gauge(memory, float64(heap[0].Value.Uint64()), "heap")

	c.holds(ctx, gauge)
	c.principals(ctx, gauge)
	c.readers(ctx, gauge)
	if m, ok := c.Store.(store.Measurer); ok {
		if m, err := m.Measures(ctx); err == nil {
			gauge(disk, float64(m.DiskBytes))
			gauge(free, float64(m.FreeBytes))
			ch <- histogram(appends, m.Appends, 1e9, 14, 36) // 16 µs to 69 s
			ch <- histogram(syncs, m.Syncs, 1e9, 14, 36)
			ch <- histogram(blocks, m.Blocks, 1, 6, 24) // 64 B to 16 MiB
		}
	}
}

// holds exports what the store holds.
func (c *collector) holds(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	list, err := c.Store.Topics(ctx)
	if err != nil {
		return
	}
	var n, size uint64
	var first time.Time
	for _, t := range list {
		n, size = n+t.Records, size+t.Bytes
		if !t.Oldest.IsZero() && (first.IsZero() || t.Oldest.Before(first)) {
			first = t.Oldest
		}
	}
	gauge(topics, float64(len(list)))
	gauge(stored, float64(n))
	gauge(storedBytes, float64(size))
	gauge(oldest, seconds(first))
}

// principals exports how much principals have stored.
func (c *collector) principals(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	a, ok := c.Store.(store.Accountant)
	if !ok {
		return
	}
	list, err := a.Stored(ctx)
	if err != nil {
		return
	}
	slices.SortStableFunc(list, func(a, b store.StoredStat) int { return cmp.Compare(b.Bytes, a.Bytes) })
	for _, p := range list[:min(len(list), maxPrincipals)] {
		gauge(has, float64(p.Bytes), label(p.Principal))
		if p.Max > 0 {
			gauge(may, float64(p.Max), label(p.Principal))
		}
	}
}

// readers exports the lag of readers.
func (c *collector) readers(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	list, err := c.Store.Cursors(ctx)
	if err != nil {
		return
	}
	gauge(cursors, float64(len(list)))
	for _, cursor := range list[:min(len(list), maxReaders)] {
		if n, err := c.Store.Backlog(ctx, cursor.Position, wire.Topics(cursor.Subscription)); err == nil {
			gauge(lag, float64(n), label(cursor.Principal), label(cursor.Name), label(cursor.Subscription))
		}
	}
}

// seconds returns a time in Unix seconds, or 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}

// label converts a name to a label's value, which must be UTF-8.
func label(s string) string { return string([]rune(s)) }

// histogram converts a histogram with values in units of unit, with a bucket for each
// power of two from 2^from to 2^to.
func histogram(d *prometheus.Desc, h store.Histogram, unit float64, from, to int) prometheus.Metric {
	buckets := map[float64]uint64{}
	var n uint64
	for i, k := range h.Counts {
		n += k
		if i >= from && i <= to {
			buckets[math.Ldexp(1, i)/unit] = n // counts values below the bound, which is close enough to "at most"
		}
	}
	return prometheus.MustNewConstHistogram(d, n, float64(h.Sum)/unit, buckets)
}
