package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// sessions is how many connections there are.
const sessions = 64

// BenchmarkSession counts the dictionaries a second that 64 connections get
// acknowledged as durable, with 1, 64 and 1,024 of them in flight on each: by
// dictwire over native sessions, and by Redis Streams with appendfsync always.
// Both are processes of their own with their files on the disk of TMPDIR; the
// load generators, ours and redis-benchmark, share the processors.
func BenchmarkSession(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("inflight=%d/by=dictwire", n), func(b *testing.B) { benchSession(b, n) })
		b.Run(fmt.Sprintf("inflight=%d/by=redis", n), func(b *testing.B) { benchRedis(b, n) })
	}
}

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

// A server is a process of dictwire serve with a store in a directory.
type server struct {
	cmd  *exec.Cmd
	addr string
}

// program builds the command, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dictwire")
	if err != nil {
		return "", err
	}
	built = dir
	build := exec.Command("go", "build", "-o", dir, "./cmd/dictwire")
	build.Dir = ".." // the command is of another module
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return filepath.Join(dir, "dictwire"), nil
})

var built string // the directory of program

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
			go func() { _, _ = io.Copy(io.Discard, lines) }() // until it ends
			return &server{cmd: cmd, addr: addr}
		}
	}
}

// stop ends the server, and returns how long it had a processor: that is what
// other work on the machine changes least.
func (s *server) stop() time.Duration {
	_ = s.cmd.Process.Signal(os.Interrupt) // a server that was killed is gone
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// connect connects the clients.
func (s *server) connect(b *testing.B, inflight int) []*client {
	b.Helper()
	clients := make([]*client, sessions)
	for i := range clients {
		c, err := dial(s.addr, fmt.Sprintf("s%d", i), inflight)
		if err != nil {
			b.Fatal(err)
		}
		clients[i] = c
	}
	return clients
}

func benchSession(b *testing.B, inflight int) {
	s := newServer(b, diskDir(b))
	clients := s.connect(b, inflight)
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
		c.conn.Close()
	}
	b.ReportMetric(float64(s.stop().Nanoseconds())/float64(each*sessions), "server-ns/op")
}

func perRecord(b *testing.B, seconds float64) {
	b.ReportMetric(seconds*1e9, "ns/op")
	b.ReportMetric(1/seconds, "dicts/s")
}

// A client is one native session that writes, as a client of few lines would.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	records []byte // as many as may be in flight, of recordSize bytes each
	sent    int
	acked   int
}

const (
	record     = `{"name":"Alice","age":30,"n":100000000000000}` + "\n" // 45 bytes, and a line feed
	recordSize = len(record)
)

func dial(addr, producer string, inflight int) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: bufio.NewReader(conn), records: bytes.Repeat([]byte(record), inflight)}
	if _, err := fmt.Fprintf(conn, `{"dictwire":1,"topic":"orders","producer":%q}`+"\n", producer); err != nil {
		return nil, err
	}
	if _, err := c.in.ReadSlice('\n'); err != nil { // the welcome
		return nil, err
	}
	if err := c.ack(); err != nil {
		return nil, err
	}
	c.sent = c.acked
	return c, nil
}

// send sends n records, all different, and returns when they are acknowledged.
func (c *client) send(n int) error {
	for n += c.sent; c.acked < n; {
		room := len(c.records)/recordSize - (c.sent - c.acked)
		if some := min(room, n-c.sent); some > 0 {
			if err := c.write(some); err != nil {
				return err
			}
		}
		if err := c.ack(); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) write(n int) error {
	c.number(n)
	_, err := c.conn.Write(c.records[:n*recordSize])
	return err
}

// number makes the next n records.
func (c *client) number(n int) {
	for i := range n {
		number := c.records[i*recordSize+29:][:15]
		for at, v := len(number)-1, c.sent+i; at > 0; at, v = at-1, v/10 {
			number[at] = '0' + byte(v%10)
		}
	}
	c.sent += n
}

// ack reads acknowledgements, one at least.
func (c *client) ack() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		number, ok := bytes.CutPrefix(line, []byte(`{"ack":`))
		if !ok {
			return fmt.Errorf("the server says %s", line)
		}
		if c.acked, err = strconv.Atoi(string(bytes.TrimRight(number, "}\n"))); err != nil {
			return err
		}
		if c.in.Buffered() == 0 {
			return nil
		}
	}
}

// BenchmarkSessionReplay reads what a store holds over one session, in the
// stored format, with the files in the page cache: small records in blocks of
// 1,024, and log lines, orders and measurements in blocks of 64 KiB.
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

// fill makes a store with records of some bytes together, and returns how many
// they are.
func fill(b *testing.B, dir, kind string, size int) (total int) {
	b.Helper()
	s, err := log.Open(b.Context(), dir, &log.Options{Durability: store.OS})
	if err != nil {
		b.Fatal(err)
	}
	c := &client{records: bytes.Repeat([]byte(record), 1024)}
	block := store.Block{Topic: "orders", Codec: "json"}
	noise := make([]byte, 64<<10)
	for at := 0; total < size; {
		block.Reset()
		switch kind {
		case "small":
			c.number(1024)
			for i := range 1024 {
				block.Add(c.records[i*recordSize:][:recordSize-1])
			}
		case "events":
			for ; len(block.Data) < 64<<10; at++ {
				block.Add(sets[1].records[at%len(sets[1].records)])
			}
		case "noise":
			_, _ = rand.Read(noise) // never fails
			block.Add(fmt.Appendf(nil, `{"x":"%x"}`, noise))
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

// replay returns how many bytes of records a session reads from the beginning
// to the end.
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

// BenchmarkSessionStart starts a server with a store of 1 GB, up to where it
// listens: after a shutdown, and after a kill in the middle of appends.
func BenchmarkSessionStart(b *testing.B) {
	dir := diskDir(b)
	fill(b, dir, "noise", 1e9)
	for _, how := range []string{"shutdown", "kill"} {
		b.Run(how, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				s := newServer(b, dir)
				if how == "kill" {
					s.kill(b)
				}
				s.stop()
				b.StartTimer()
				s = newServer(b, dir)
				b.StopTimer()
				s.stop()
			}
		})
	}
}

// kill kills the server while it appends records.
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

var throughput = regexp.MustCompile(`([0-9.]+) requests per second`)

func benchRedis(b *testing.B, inflight int) {
	for _, name := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(name); err != nil {
			b.Fatalf("%v: the benchmark wants Redis beside it: apt-get install redis-server", err)
		}
	}
	dir := diskDir(b)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := strconv.Itoa(socket.Addr().(*net.TCPAddr).Port)
	socket.Close()
	server := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0",
		"--logfile", filepath.Join(dir, "log"))
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.ResetTimer()
	out, err := exec.Command("redis-benchmark", "-p", port, "-c", strconv.Itoa(sessions), "-P", strconv.Itoa(inflight),
		"-n", strconv.Itoa(max(b.N, 4*sessions*inflight)), "-r", "1000000000000", "-q",
		"XADD", "orders", "*", "d", `{"name":"Alice","age":30,"n":1__rand_int__34}`).CombinedOutput()
	if err != nil {
		b.Fatalf("redis-benchmark: %v\n%s", err, out)
	}
	found := throughput.FindAllSubmatch(out, -1)
	if found == nil {
		b.Fatalf("redis-benchmark printed:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(found[len(found)-1][1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	perRecord(b, 1/rate)
}
