package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	fluent "github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load runs a short load of 60-byte records on a server.
func load(t *testing.T, target, addr string, change func(*Options)) *Result {
	t.Helper()
	to, ok := TargetOf(target)
	if !ok {
		t.Fatalf("no target %s", target)
	}
	o := Options{
		Target: to, Topic: "bench", Connections: 3, InFlight: 50, Duration: 200 * time.Millisecond,
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) },
	}
	var err error
	if o.Records, err = Generate(60, wire.Codecs()[to.Format()]); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	r, err := Run(t.Context(), o, nil)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	if r.Records == 0 || r.Elapsed < 100*time.Millisecond {
		t.Errorf("%s: %+v", target, r)
	}
	if h := r.Latency; !o.Bare && (h.TotalCount() != int64(r.Records) || h.Min() <= 0 || h.Max() > int64(10*time.Second/time.Microsecond)) {
		t.Errorf("%s: latencies of %d records from %d to %d us, of %d", target, h.TotalCount(), h.Min(), h.Max(), r.Records)
	}
	return r
}

// What is reported as settled is in the store, for every target.
func TestTargets(t *testing.T) {
	bare := func(o *Options) { o.Bare = true }
	of := func(format string) func(*Options) {
		return func(o *Options) { o.Records, _ = Generate(45, wire.Codecs()[format]) }
	}
	for _, c := range []struct {
		target, topic string
		change        func(*Options)
	}{
		{"dictwire", "bench", nil},
		{"dictwire", "default", bare},
		{"dictwire", "bench", of("cbor")},
		{"http", "bench", nil},
		{"http", "bench", of("cbor")},
		{"http", "bench", of("msgpack")},
		{"http", "bench", of("pickle")},
		{"http", "bench", of("python")},
		{"forward", "bench", nil},
		{"forward", "bench", bare},
		{"dictwire", "bench", func(o *Options) { o.Rate = 1000 }},
		{"http", "bench", func(o *Options) { o.Rate = 1000 }},
	} {
		s := memory.New(&memory.Options{KeepBytes: -1})
		addr := servertest.Start(t, &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{web.Dialect, fluent.Dialect}})
		r := load(t, c.target, addr, c.change)
		there := uint64(0)
		topics, err := s.Topics(t.Context(), c.topic, store.Rejected)
		for _, topic := range topics {
			if there += topic.Records; topic.Name != c.topic {
				t.Errorf("%s: %+v", c.target, topic)
			}
		}
		if err != nil || there != r.Records {
			t.Errorf("%s: %d records are settled, and %d are there (%v)", c.target, r.Records, there, err)
		}
		if c.change == nil && r.Bytes != 60*r.Records && c.target != "forward" {
			t.Errorf("%s: %d bytes of %d records", c.target, r.Bytes, r.Records)
		}
	}
}

// Connections are spread over topics, which followers read.
func TestTopics(t *testing.T) {
	s := memory.New(&memory.Options{KeepBytes: -1})
	addr := servertest.Start(t, &dictwire.Server{Store: s})
	r := load(t, "dictwire", addr, func(o *Options) { o.Connections, o.Topics, o.Followers = 4, 2, 3 })
	topics, err := s.Topics(t.Context())
	if err != nil || len(topics) != 2 || topics[0].Name != "bench.0" || topics[1].Name != "bench.1" || topics[0].Records+topics[1].Records != r.Records {
		t.Errorf("%d records are settled, in %+v (%v)", r.Records, topics, err)
	}
	if r.Read == 0 || r.Read > 3*r.Records {
		t.Errorf("%d records are read, of %d by 3 followers", r.Read, r.Records)
	}
}

// Redis has what is reported as settled.
func TestRedis(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(t.Context(), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for range 200 {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r := load(t, "redis", addr, nil)
	out, err := exec.CommandContext(t.Context(), "redis-cli", "-p", port, "XLEN", "bench").Output()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(r.Records) {
		t.Errorf("%d records are settled, and %s are there (%v)", r.Records, out, err)
	}
}

func skipLines(in *bufio.Reader, n int) error {
	for range n {
		if _, err := in.ReadSlice('\n'); err != nil {
			return err
		}
	}
	return nil
}

// At a fixed rate, latency counts from when a record was due: a pause of 200 ms delays all
// records of that time, although few were in flight.
func TestRate(t *testing.T) {
	late := func(t *testing.T, rate float64) (late, all int64) {
		network := memnet.New()
		l := network.Host("redis").Listen()
		defer l.Close()
		go func() {
			nc, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			in := bufio.NewReader(nc)
			for n := 0; skipLines(in, 11) == nil; n++ {
				time.Sleep(100 * time.Microsecond)
				if n == 50 {
					time.Sleep(200 * time.Millisecond)
				}
				_, _ = io.WriteString(nc, "$3\r\n1-0\r\n")
			}
		}()
		r := load(t, "redis", "", func(o *Options) {
			o.Connections, o.InFlight, o.Rate, o.Duration = 1, 4, rate, 500*time.Millisecond
			o.Dial = func(ctx context.Context) (net.Conn, error) { return network.Host("load").Dial(ctx, "redis") }
		})
		for _, bar := range r.Latency.Distribution() {
			if bar.From > 50_000 {
				late += bar.Count
			}
		}
		return late, int64(r.Records)
	}
	synctest.Test(t, func(t *testing.T) {
		if n, _ := late(t, 0); n != 4 {
			t.Errorf("without a rate %d records are late, and 4 are in flight", n)
		}
		n, all := late(t, 1000)
		if n < 150 || n > 200 {
			t.Errorf("at 1,000 records a second %d are later than 50 ms, of the 200 that a pause of 200 ms delays", n)
		}
		if all < 500 || all > 501 {
			t.Errorf("%d records in 500 ms, at 1,000 a second", all)
		}
	})
}

// If a server refuses records or goes away, the run ends with its error.
func TestFaults(t *testing.T) {
	for said, pattern := range map[string]string{
		"-ERR no room\r\n": "no room", "$\n": "parsing", "": "EOF",
		strings.Repeat("$3\r\n1-0\r\n", 9): "records are settled, and",
	} {
		addr := servertest.Answer(t, func(nc net.Conn) {
			_ = skipLines(bufio.NewReader(nc), 11)
			_, _ = io.WriteString(nc, said)
			if half, ok := nc.(*net.TCPConn); ok {
				_ = half.CloseWrite()
				_, _ = io.Copy(io.Discard, nc)
			}
		})
		to, _ := TargetOf("redis")
		records, err := Generate(45, wire.Codecs()["json"])
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), Options{
			Target: to, Topic: "bench", Connections: 1, InFlight: 8, Duration: 5 * time.Second, Records: records,
			Dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			},
		}, nil)
		if err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// Generated records have the requested size, and differ from each other.
func TestGenerate(t *testing.T) {
	for _, size := range []int{MinSize, 45, 46, 500, 1 << 20} {
		r, err := Generate(size, wire.Codecs()["json"])
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, record := range r.all[:min(len(r.all), 60)] {
			if len(record) != size || seen[string(record)] {
				t.Fatalf("%d bytes, want %d: %.100s", len(record), size, record)
			}
			seen[string(record)] = true
		}
		got, at := r.take(len(r.all)-1, 3)
		if len(got) != 1 || at != 0 || !slices.Equal(got[0], r.all[len(r.all)-1]) {
			t.Errorf("the last of %d: %d records, then %d", len(r.all), len(got), at)
		}
	}
}
