package metrics_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/expfmt"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/metrics"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// used returns a server and its store after use of every kind.
func used(t *testing.T, s store.Store) *dictwire.Server {
	t.Helper()
	srv := &dictwire.Server{Store: s}
	c, err := net.Dial("tcp", servertest.Start(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "{\"n\":1}\n{\"n\":1,\"n\":2}\n{\"n\":3}\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	name := store.CursorName{Principal: "p\xff", Name: "billing", Subscription: `["*","x"]`}
	if _, err := s.ClaimCursor(t.Context(), name, store.CursorRequest{}); err != nil {
		t.Fatal(err)
	}
	return srv
}

// scrape returns the metrics as Prometheus' own parser reads them: for each one its type,
// its labels, and the value of its first sample.
func scrape(t *testing.T, o metrics.Options) (kinds map[string]string, values map[string]float64) {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(o).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	families, err := new(expfmt.TextParser).TextToMetricFamilies(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	kinds, values = map[string]string{}, map[string]float64{}
	for name, f := range families {
		first := f.Metric[0]
		kinds[name] = strings.ToLower(f.GetType().String())
		for _, l := range first.Label {
			kinds[name] += " " + l.GetName()
		}
		values[name] = first.GetGauge().GetValue() + first.GetCounter().GetValue() + float64(first.GetHistogram().GetSampleCount())
	}
	return kinds, values
}

func openLog(t *testing.T) store.Store {
	t.Helper()
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1, MaxStoredBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var row = regexp.MustCompile("(?m)^\\| `(dictwire_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| .* \\|$")

// documented returns the table of docs/operations.md.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		labels := strings.Fields(strings.ReplaceAll(m[3], "`", ""))
		slices.Sort(labels)
		kinds[m[1]] = strings.Join(append([]string{m[2]}, labels...), " ")
	}
	return kinds
}

// The served metrics are exactly the documented ones.
func TestDocumented(t *testing.T) {
	s := openLog(t)
	srv := used(t, s)
	kinds, values := scrape(t, metrics.Options{Server: srv, Store: s, Version: "1"})
	if want := documented(t); !maps.Equal(kinds, want) {
		for name := range want {
			if kinds[name] != want[name] {
				t.Errorf("%s: served as %q, documented as %q", name, kinds[name], want[name])
			}
		}
		for name := range kinds {
			if want[name] == "" {
				t.Errorf("%s is not documented", name)
			}
		}
	}
	for name, want := range map[string]float64{
		"records_total": 2, "received_bytes_total": 14, "rejections_total": 1, "connections_total": 1, "ready": 1,
		"topics": 2, "stored_records": 3, "cursors": 1, "reader_lag_records": 2, "durability_info": 1, "build_info": 1,
		"principal_stored_limit_bytes": 1 << 30,
	} {
		if got := values["dictwire_"+name]; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"append_seconds", "sync_seconds", "block_bytes", "store_disk_bytes", "disk_free_bytes", "principal_stored_bytes", "memory_bytes", "start_time_seconds", "oldest_record_timestamp_seconds"} {
		if values["dictwire_"+name] <= 0 && name != "memory_bytes" {
			t.Errorf("%s: %v", name, values["dictwire_"+name])
		}
	}
}

// A store in memory has no measurements, but all other metrics. Of many readers only some
// are listed, and of many principals those with the most.
func TestBounded(t *testing.T) {
	s := memory.New(nil)
	srv := used(t, s)
	for i := range 300 {
		name := store.CursorName{Principal: "q", Name: fmt.Sprint(i), Subscription: "*"}
		if _, err := s.ClaimCursor(t.Context(), name, store.CursorRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		b := &store.Block{Topic: "x", Codec: "json", Principal: fmt.Sprint("p", i)}
		b.Add(make([]byte, i+1))
		if err := s.Append(t.Context(), b)[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	metrics.Handler(metrics.Options{Server: srv, Store: s}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text := w.Body.String()
	if n := strings.Count(text, "\ndictwire_principal_stored_bytes{"); n != 100 || !strings.Contains(text, `{principal="p299"}`) || strings.Contains(text, `{principal="p0"}`) {
		t.Errorf("%d principals\n%s", n, text)
	}
	if n := strings.Count(text, "\ndictwire_reader_lag_records{"); n != 100 || !strings.Contains(text, "\ndictwire_cursors 301\n") {
		t.Errorf("%d readers\n%s", n, text)
	}
	if strings.Contains(text, "sync_seconds") || !strings.Contains(text, `durability="memory"`) {
		t.Error(text)
	}
}

// Every alert uses existing, documented metrics.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../packaging/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	kinds, n := documented(t), 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if !strings.Contains(string(page), "| `"+r.Alert+"` |") || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%+v is not documented, or says not how bad it is", r)
			}
			if _, err := time.ParseDuration(r.For); err != nil {
				t.Error(r.Alert, err)
			}
			for _, name := range regexp.MustCompile(`dictwire_\w+`).FindAllString(r.Expr, -1) {
				base := strings.TrimSuffix(name, "_bucket")
				if kinds[base] == "" || base != name && kinds[base] != "histogram" {
					t.Errorf("%s: there is no %s", r.Alert, name)
				}
			}
		}
	}
	if rows := strings.Count(string(page), "\n| `Dictwire"); n != rows || n < 5 {
		t.Errorf("%d alerts, %d documented", n, rows)
	}
}
