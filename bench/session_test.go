package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// BenchmarkSession measures durably acknowledged dictionaries per second, with a number of
// them in flight per connection: for dictwire over native sessions, and for Redis Streams
// with appendfsync always. Both are processes with their files on the disk of TMPDIR. The
// load generator is the same for both, and runs on the same processors. With one record in
// flight there is a third candidate: a loop that writes as many bytes as dictwire does,
// over allocated space, and syncs.
func BenchmarkSession(b *testing.B) {
	for _, c := range []struct {
		conns, inflight int
		record          string
	}{
		{1, 1, small}, {64, 1, small}, {64, 64, small}, {64, 1024, small}, {64, 1024, noisy},
	} {
		name := fmt.Sprintf("conns=%d/inflight=%d/bytes=%d/by=", c.conns, c.inflight, len(c.record))
		b.Run(name+"dictwire", func(b *testing.B) {
			s := newServer(b, diskDir(b))
			benchSession(b, &s.process, c.conns, func(i int) (*client, error) { return dial(s.addr, fmt.Sprintf("s%d", i), c.inflight, c.record) })
		})
		b.Run(name+"redis", func(b *testing.B) {
			s := newRedis(b)
			benchSession(b, &s.process, c.conns, func(int) (*client, error) { return dialRedis(s.addr, c.inflight, c.record) })
		})
		if c.conns == 1 {
			b.Run(name+"sync", benchSync)
		}
	}
}

// sessions is how many connections make load if nothing else is measured.
const sessions = 64

// The records, apart from their number: 45 bytes, and 500 that hardly compress.
const small = `{"name":"Alice","age":30,"n":100000000000000}`

var noisy = func() string {
	text := make([]byte, 348)
	_, _ = rand.Read(text) // never fails
	return `{"name":"Alice","age":30,"n":100000000000000,"x":"` + base64.RawStdEncoding.EncodeToString(text)[:448] + `"}`
}()

// numberAt is the offset of the last 15 digits of a record's number.
const numberAt = 29

// diskDir returns a directory on a disk.
func diskDir(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		b.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		b.Fatalf("%s is in memory: set TMPDIR to a directory on a disk", dir)
	}
	return dir
}

// A process is a measured server process.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// A server is a dictwire serve process with a store in a directory.
type server struct{ process }

// program builds the command once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dictwire")
	if err != nil {
		return "", err
	}
	built = dir
	build := exec.Command("go", "build", "-o", dir, "./cmd/dictwire")
	build.Dir = ".." // the command is in another module
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return filepath.Join(dir, "dictwire"), nil
})

var built string // the directory of the binary

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

func newServer(b *testing.B, dir string) *server {
	b.Helper()
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--print", "none", "--store", dir)
	out, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatalf("the server ended: %v\n%s", cmd.Wait(), line)
		}
		if _, addr, found := strings.Cut(strings.TrimSpace(line), "listening on "); found {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // until the process ends
			return &server{process{cmd, addr}}
		}
	}
}

// stop ends the server, and returns its processor time, which other work on the machine
// affects least.
func (p *process) stop() time.Duration {
	_ = p.cmd.Process.Signal(os.Interrupt) // a server that was killed is gone
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// written returns how many bytes were written to the disk of TMPDIR, by any process. The
// kernel's count for a process is useless here: for a file that was written in large
// pieces, it counts a whole piece for each small change.
func written(b *testing.B) float64 {
	b.Helper()
	var dir unix.Stat_t
	if err := unix.Stat(os.TempDir(), &dir); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(dir.Dev), unix.Minor(dir.Dev)))
	if err != nil {
		b.Fatal(err)
	}
	const sectors, size = 6, 512
	n, err := strconv.ParseFloat(strings.Fields(string(text))[sectors], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n * size
}

// connect connects clients that only make load.
func (s *server) connect(b *testing.B, inflight int) []*client {
	b.Helper()
	return dialAll(b, sessions, func(i int) (*client, error) { return dial(s.addr, fmt.Sprintf("s%d", i), inflight, small) })
}

// dialAll dials n clients.
func dialAll(b *testing.B, n int, dial func(int) (*client, error)) []*client {
	b.Helper()
	clients := make([]*client, n)
	for i := range clients {
		c, err := dial(i)
		if err != nil {
			b.Fatal(err)
		}
		clients[i] = c
	}
	return clients
}

func benchSession(b *testing.B, s *process, conns int, dial func(int) (*client, error)) {
	peers := dialAll(b, conns, dial)
	each := (b.N + conns - 1) / conns
	wrote := written(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			if err := p.send(each); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	n := float64(each * conns)
	perRecord(b, b.Elapsed().Seconds()/n)
	b.ReportMetric((written(b)-wrote)/n/float64(peers[0].size), "disk-B/B")
	var took []time.Duration
	for _, p := range peers {
		took = append(took, p.took...)
		_ = p.conn.Close()
	}
	percentiles(b, took)
	b.ReportMetric(float64(s.stop().Nanoseconds())/n, "server-ns/op")
}

// percentiles reports the latencies of records that were alone in flight.
func percentiles(b *testing.B, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// benchSync repeatedly writes and syncs as many bytes as the frame of one small record has.
func benchSync(b *testing.B) {
	const frame, room = 144, 64 << 20
	f, err := os.Create(filepath.Join(diskDir(b), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, room)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		began := time.Now()
		if _, err := f.WriteAt(make([]byte, frame), int64(i*frame%(room-frame))); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	perRecord(b, b.Elapsed().Seconds()/float64(b.N))
	percentiles(b, took)
}

func perRecord(b *testing.B, seconds float64) {
	b.ReportMetric(seconds*1e9, "ns/op")
	b.ReportMetric(1/seconds, "dicts/s")
}

// A load is the records that a connection has in flight.
type load struct {
	conn    net.Conn
	in      *bufio.Reader
	records []byte // as many as may be in flight, each with its framing
	stride  int    // from one record to the next
	number  int    // offset of the number in a record
	size    int    // of one record without framing
	sent    int
	acked   int
	took    []time.Duration // latencies of records alone in flight
}

func newLoad(before, record, after string, inflight int) *load {
	one := []byte(before + record + after)
	l := &load{records: bytes.Repeat(one, inflight), stride: len(one), number: len(before) + numberAt, size: len(record)}
	for i := range inflight { // so that a batch hardly compresses either
		for at := numberAt + len(`100000000000000,"x":"`); at < len(record)-len(`"}`); at++ {
			l.records[i*l.stride+len(before)+at] = alphabet[mathrand.IntN(len(alphabet))]
		}
	}
	return l
}

func (l *load) connect(addr string) (err error) {
	if l.conn, err = net.Dial("tcp", addr); err == nil {
		l.in = bufio.NewReaderSize(l.conn, 64<<10)
	}
	return err
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// run sends n records, and returns when they are acknowledged. ack reads acknowledgements
// into l.acked.
func (l *load) run(n int, ack func() error) error {
	alone := len(l.records) == l.stride
	for n += l.sent; l.acked < n; {
		room := len(l.records)/l.stride - (l.sent - l.acked)
		began := time.Now()
		if some := min(room, n-l.sent); some > 0 {
			l.count(some)
			if _, err := l.conn.Write(l.records[:some*l.stride]); err != nil {
				return err
			}
		}
		if err := ack(); err != nil {
			return err
		}
		if alone {
			l.took = append(l.took, time.Since(began))
		}
	}
	return nil
}

// count writes the numbers of the next n records.
func (l *load) count(n int) {
	for i := range n {
		number := l.records[i*l.stride+l.number:][:15]
		for at, v := len(number)-1, l.sent+i; at > 0; at, v = at-1, v/10 {
			number[at] = '0' + byte(v%10)
		}
	}
	l.sent += n
}

// A client sends records.
type client struct {
	*load

	ack func() error // reads at least one acknowledgement
}

// send sends n different records, and returns when they are acknowledged.
func (c *client) send(n int) error { return c.run(n, c.ack) }

// dial starts a native session that writes, as a minimal client would.
func dial(addr, producer string, inflight int, record string) (*client, error) {
	l := newLoad("", record, "\n", inflight)
	if err := l.connect(addr); err != nil {
		return nil, err
	}
	c := &client{l, l.acks}
	if _, err := fmt.Fprintf(l.conn, `{"dictwire":1,"topic":"orders","producer":%q}`+"\n", producer); err != nil {
		return nil, err
	}
	if _, err := l.in.ReadSlice('\n'); err != nil { // the welcome
		return nil, err
	}
	if err := c.ack(); err != nil {
		return nil, err
	}
	c.sent = c.acked
	return c, nil
}

// acks reads acknowledgements of a session.
func (l *load) acks() error {
	for {
		line, err := l.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		number, ok := bytes.CutPrefix(line, []byte(`{"ack":`))
		if !ok {
			return fmt.Errorf("the server says %s", line)
		}
		if l.acked, err = strconv.Atoi(string(bytes.TrimRight(number, "}\n"))); err != nil {
			return err
		}
		if l.in.Buffered() == 0 {
			return nil
		}
	}
}

// dialRedis connects to Redis to add to a stream.
func dialRedis(addr string, inflight int, record string) (*client, error) {
	before := fmt.Sprintf("*5\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$1\r\nd\r\n$%d\r\n", len(record))
	l := newLoad(before, record, "\r\n", inflight)
	return &client{l, l.replies}, l.connect(addr)
}

// replies reads replies of Redis: a line with a length, and one with an entry's ID.
func (l *load) replies() error {
	for {
		for range 2 {
			line, err := l.in.ReadSlice('\n')
			if err != nil {
				return err
			}
			if line[0] == '-' {
				return fmt.Errorf("the server says %s", line)
			}
		}
		if l.acked++; l.in.Buffered() == 0 {
			return nil
		}
	}
}

// BenchmarkSessionReplay reads a store over one session in the stored format, with the
// files in the page cache: small records in blocks of 1,024, and log lines, orders and
// measurements in blocks of 64 KiB.
func BenchmarkSessionReplay(b *testing.B) {
	for _, kind := range []string{"small", "events"} {
		b.Run(kind, func(b *testing.B) {
			dir := diskDir(b)
			total := fill(b, dir, kind, 128<<20)
			s := newServer(b, dir)
			b.SetBytes(int64(total))
			b.ResetTimer()
			for range b.N {
				got, err := replay(s.addr)
				if err != nil || got != total {
					b.Fatalf("read %d bytes of %d: %v", got, total, err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N*total)/s.stop().Seconds()/1e6, "MB/server-s")
		})
	}
}

// fill fills a store up to at least size bytes of records, and returns their exact size.
func fill(b *testing.B, dir, kind string, size int) (total int) {
	b.Helper()
	s, err := log.Open(b.Context(), dir, &log.Options{Durability: store.OS})
	if err != nil {
		b.Fatal(err)
	}
	stats, err := s.Topics(b.Context(), "orders")
	if err != nil {
		b.Fatal(err)
	}
	if len(stats) > 0 {
		total = int(stats[0].Bytes)
	}
	l := newLoad("", small, "", 1024)
	block := store.Block{Topic: "orders", Codec: "json"}
	noise := make([]byte, 64<<10)
	for at := 0; total < size; {
		block.Reset()
		switch kind {
		case "small":
			l.count(1024)
			for i := range 1024 {
				block.Add(l.records[i*l.stride:][:l.size])
			}
		case "events":
			for ; len(block.Data) < 64<<10; at++ {
				block.Add(sets[1].records[at%len(sets[1].records)])
			}
		case "noise":
			_, _ = rand.Read(noise) // never fails
			block.Add(fmt.Appendf(nil, `{"x":"%x"}`, noise))
		case "single":
			_, _ = rand.Read(noise[:246])
			block.Add(fmt.Appendf(nil, `{"x":"%x"}`, noise[:246]))
		}
		if r := s.Append(b.Context(), &block)[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
		total += len(block.Data)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return total
}

// replay returns how many bytes of records a session reads from beginning to end.
func replay(addr string) (total int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 256<<10)
	if _, err := fmt.Fprintln(conn, `{"dictwire":1,"subscribe":"orders"}`); err != nil {
		return 0, err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		if bytes.HasPrefix(line, []byte(`{"end":`)) {
			return total, nil
		}
		_, lengths, found := bytes.Cut(line, []byte(`"lengths":[`))
		if !found {
			continue // the welcome
		}
		size, n := 0, 0
		for _, c := range lengths {
			if c >= '0' && c <= '9' {
				n = 10*n + int(c-'0')
				continue
			}
			size, n = size+n, 0
		}
		if _, err := in.Discard(size); err != nil {
			return total, err
		}
		total += size
	}
}

var (
	startGB   = flag.Float64("start.gb", 1, "how many GB of records the store has that BenchmarkSessionStart opens")
	startDir  = flag.String("start.dir", "", "the directory of that store, which is filled up to so many GB and stays")
	startKind = flag.String("start.kind", "noise", "its records: noise, 128 KiB each, or single, 500 bytes, each a block of its own")
)

// BenchmarkSessionStart measures how long a server with a store of some GB takes until it
// listens: after a shutdown, and after a kill during appends; with its files in the page
// cache, and without.
func BenchmarkSessionStart(b *testing.B) {
	dir := *startDir
	if dir == "" {
		dir = diskDir(b)
	}
	fill(b, dir, *startKind, int(*startGB*1e9))
	for _, how := range []string{"shutdown", "kill", "shutdown/cold", "kill/cold"} {
		b.Run(how, func(b *testing.B) {
			how, cold := strings.CutSuffix(how, "/cold")
			for range b.N {
				b.StopTimer()
				s := newServer(b, dir)
				if how == "kill" {
					s.kill(b)
				}
				s.stop()
				if cold {
					evict(b, dir)
				}
				b.StartTimer()
				s = newServer(b, dir)
				b.StopTimer()
				b.ReportMetric(s.resident(b), "MB")
				s.stop()
			}
		})
	}
}

// evict removes all files of a directory from the page cache, but not the directory itself.
func evict(b *testing.B, dir string) {
	b.Helper()
	unix.Sync() // dirty pages stay in the cache
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}); err != nil {
		b.Fatal(err)
	}
}

// resident returns the resident memory of the process, in MB.
func (s *server) resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(text, &kib); err != nil {
		b.Fatal(err)
	}
	return kib * 1024 / 1e6
}

// kill kills the server during appends.
func (s *server) kill(b *testing.B) {
	b.Helper()
	var wg sync.WaitGroup
	for _, c := range s.connect(b, 1024) {
		wg.Go(func() { _ = c.send(1 << 40) }) // until the server is killed
	}
	time.Sleep(time.Second)
	_ = s.cmd.Process.Kill()
	wg.Wait()
}

// newRedis starts a Redis that syncs each write before it answers.
func newRedis(b *testing.B) *server {
	b.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		b.Fatalf("%v: the benchmark wants Redis beside it: apt-get install redis-server", err)
	}
	dir := diskDir(b)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := socket.Addr().String()
	socket.Close()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0",
		"--logfile", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill() })
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return &server{process{cmd, addr}}
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// BenchmarkSessionInProcess runs the server in the process of the load, for profiles of
// what its goroutines wait for: scripts/profile makes processor profiles, and -mutexprofile
// and -blockprofile those of locks.
func BenchmarkSessionInProcess(b *testing.B) {
	for _, inflight := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("%dx%d", sessions, inflight), func(b *testing.B) {
			s, err := log.Open(b.Context(), diskDir(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			clients := (&server{process{addr: served(b, s)}}).connect(b, inflight)
			each := (b.N + sessions - 1) / sessions
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range clients {
				wg.Go(func() {
					if err := c.send(each); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			perRecord(b, b.Elapsed().Seconds()/float64(each*sessions))
			for _, c := range clients {
				_ = c.conn.Close()
			}
		})
	}
}
