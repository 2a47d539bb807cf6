package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/client"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

func TestListenErrors(t *testing.T) {
	ctx := context.Background()
	taken, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	socket := filepath.Join(t.TempDir(), "socket")
	alive, err := dictwire.Listen(ctx, "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	for addr, want := range map[string]string{
		taken.Addr().String():               "address already in use",
		"unix:" + socket:                    "address already in use",
		"unix:" + file:                      "the file is there, and is no socket",
		"unix:":                             "wants the path of a socket",
		"unix:/" + strings.Repeat("x", 107): "the path of a Unix socket has at most 107 bytes, and this one has 108",
		"unix:/nonexistent/file":            "no such file or directory",
		"127.0.0.1":                         "missing port in address",
		"127.0.0.1:http-ish":                "unknown port",
		"host.invalid:1":                    "no such host",
		"fd:x":                              `"x" is no descriptor number`,
		"fd:9999":                           "bad file descriptor",
		"fd:" + itoa(int(plain.Fd())):       "socket operation on non-socket",
	} {
		l, err := dictwire.Listen(ctx, addr)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "dictwire: can't listen on "+addr+": ") {
			t.Errorf("Listen(%s) = %v, want %q", addr, err, want)
		}
	}
}

func itoa(n int) string { return dict.Int(int64(n)).String() }

// The socket file of a dead server does not stop the next one.
func TestListenStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	staleSocket(t, path)
	next, err := dictwire.Listen(context.Background(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// staleSocket leaves a socket file as a killed server does.
func staleSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Of many servers that start at once after a dead one, exactly one listens, and can be
// reached.
func TestListenRace(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		path := filepath.Join(dir, itoa(round))
		staleSocket(t, path)
		var wg sync.WaitGroup
		won := make(chan net.Listener, 8)
		begin := make(chan struct{})
		for range cap(won) {
			wg.Go(func() {
				<-begin
				l, err := dictwire.Listen(t.Context(), "unix:"+path)
				if err == nil {
					won <- l
				} else if !errors.Is(err, syscall.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("round %d: %d listen on one path", round, len(won))
		}
		for l := range won {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Close(), l.Close()); err != nil {
				t.Error(err)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// A server that ends leaves another server's socket alone, which was made after somebody
// removed its own socket and lock. Otherwise there is no other socket.
func TestListenOthersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	first, err := dictwire.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := dictwire.Listen(t.Context(), "unix:"+path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("with the lock of another one, Listen = %v", err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	second, err := dictwire.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dictwire.Listen(t.Context(), "unix:"+path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("beside the second one, Listen = %v", err)
	}
	if err := errors.Join(c.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

// A server with a full backlog still owns its socket.
func TestListenFullBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if c, err := net.Dial("unix", path); err == nil {
			defer c.Close()
		}
	}
	if _, err := dictwire.Listen(t.Context(), "unix:"+path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen = %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// 0.0.0.0 is IPv4 only, and an empty host is both.
func TestListenFamilies(t *testing.T) {
	for addr, prefix := range map[string]string{"0.0.0.0:0": "0.0.0.0:", "127.0.0.1:0": "127.0.0.1:"} {
		l, err := dictwire.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); !strings.HasPrefix(got, prefix) {
			t.Errorf("%s listens on %s", addr, got)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if c, err := net.Dial("tcp6", "[::1]:"+port); err == nil {
			t.Errorf("%s is reached by ::1", addr)
			_ = c.Close()
		}
		if c, err := net.Dial("tcp4", "127.0.0.1:"+port); err != nil {
			t.Error(err)
		} else {
			_ = c.Close()
		}
		_ = l.Close()
	}
	for addr, want := range map[string]string{
		"::1:0":       "an IPv6 address stands in brackets: [::1]:0",
		"::1:65432":   "an IPv6 address stands in brackets: [::1]:65432",
		"fe80::1:80":  "an IPv6 address stands in brackets: [fe80::1]:80",
		"::":          "the port is missing: [::]:65432",
		"[::1]":       "the port is missing: [::1]:65432",
		"2001:db8::7": "the port is missing: [2001:db8::7]:65432",
	} {
		_, err := dictwire.Listen(t.Context(), addr)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Listen(%s) = %v, want %s", addr, err, want)
		}
		if _, err := client.DialBare(t.Context(), addr, nil, nil); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("DialBare(%s) = %v, want %s", addr, err, want)
		}
		if _, err := dictwire.Dial(t.Context(), addr); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Dial(%s) = %v, want %s", addr, err, want)
		}
	}
}

func TestBareDialErrors(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	for addr, want := range map[string]error{
		nobody:              syscall.ECONNREFUSED,
		"unix:/nonexistent": syscall.ENOENT,
	} {
		if _, err := client.DialBare(ctx, addr, nil, nil); !errors.Is(err, want) {
			t.Errorf("DialBare(%s) = %v, want %v", addr, err, want)
		}
	}
	if _, err := client.DialBare(ctx, "host.invalid:1", nil, nil); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("DialBare of an unknown host = %v", err)
	}
	if _, err := dictwire.Send(ctx, nobody, make(chan int)); err == nil {
		t.Error("a channel was sent")
	}
}

// Contexts end waiting calls, and leave the connection usable if nothing was in progress.
func TestBareContexts(t *testing.T) {
	release := make(chan struct{})
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		<-release
		return dict.Of("late", true), nil
	})})
	ctx := context.Background()
	c, err := client.DialBare(ctx, addr, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send(ctx, dict.Of("a", 1)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Receive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive = %v", err)
	}
	close(release)
	if d, err := c.Receive(ctx); err != nil || d.String() != "{'late': True}" {
		t.Errorf("Receive = %v, %v", d, err)
	}
	if _, err := c.Receive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive with an ended context = %v", err)
	}
}

// Many goroutines can share a connection.
func TestBareShared(t *testing.T) {
	var rec recorder
	srv := &dictwire.Server{Handler: &rec}
	addr := start(t, srv)
	c, err := client.DialBare(context.Background(), addr, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 100 {
				if err := c.Send(context.Background(), dict.Of("text", strings.Repeat("x", 1000))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := c.Receive(context.Background()); err == nil {
		t.Error("a reply came from nowhere")
	}
	if got := len(rec.all()); got != 1600 {
		t.Errorf("%d records", got)
	}
	_ = c.Close()
}

// A context that has already ended leaves the connection unchanged.
func TestBareSendWithFinishedContext(t *testing.T) {
	var rec recorder
	c, err := client.DialBare(t.Context(), start(t, &dictwire.Server{Handler: &rec}), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // select picks at random if two cases are ready
		if err := c.Send(ended, dict.Of("a", 1)); !errors.Is(err, context.Canceled) || !errors.Is(err, dictwire.ErrNotSent) {
			t.Fatalf("Send = %v", err)
		}
	}
	if err := c.Send(t.Context(), dict.Of("a", 2)); err != nil {
		t.Fatal(err)
	}
	bareEnd(t, c)
	if got := fmt.Sprint(rec.all()); got != "[{'a': 2}]" {
		t.Errorf("%s", got)
	}
}

// bareEnd returns when the server has read everything.
func bareEnd(t *testing.T, c *client.BareConn) {
	t.Helper()
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Receive(t.Context()); err != io.EOF {
		t.Fatalf("Receive = %v, %v", d, err)
	}
}

// A dictionary that a server would take for a greeting is not sent.
func TestBareGreeting(t *testing.T) {
	for _, test := range []struct {
		codec   codec.Codec
		records []*dict.Dict // the last one is refused, or none
		refused bool
	}{
		{nil, []*dict.Dict{dict.Of("dictwire", 1)}, true},
		{nil, []*dict.Dict{dict.Of("dictwire", -99, "topic", "x")}, true},
		{nil, []*dict.Dict{dict.Of("dictwire", "1")}, false},
		{nil, []*dict.Dict{dict.Of("dictwire", 1.5)}, false},
		{nil, []*dict.Dict{dict.Of("dictwire", true)}, false},
		{nil, []*dict.Dict{dict.Of("dictwire", nil)}, false},
		{nil, []*dict.Dict{dict.Of("a", 1, "dictwire", 1)}, false},
		{nil, []*dict.Dict{dict.Of("a", 1), dict.Of("dictwire", 1)}, false},
		{cbor.Codec{}, []*dict.Dict{dict.Of("dictwire", 1)}, false},
	} {
		var rec recorder
		c, err := client.DialBare(t.Context(), start(t, &dictwire.Server{Handler: &rec}), test.codec, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range test.records {
			err := c.Send(t.Context(), d)
			if refused := i == len(test.records)-1 && test.refused; refused != errors.Is(err, dictwire.ErrNotSent) || !refused && err != nil {
				t.Errorf("%v: %v", d, err)
			}
		}
		want := fmt.Sprint(test.records)
		if test.refused {
			if err := c.Send(t.Context(), n(1)); err != nil { // the connection still works
				t.Error(err)
			}
			want = fmt.Sprint([]*dict.Dict{n(1)})
		}
		bareEnd(t, c)
		if got := fmt.Sprint(rec.all()); got != want {
			t.Errorf("the server has %s, want %s", got, want)
		}
		_ = c.Close()
	}
}
