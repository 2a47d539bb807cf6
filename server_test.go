package dictwire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder is a handler that records what it sees.
type recorder struct {
	mu   sync.Mutex
	seen []string // guarded by mu
}

func (r *recorder) Handle(_ context.Context, req *dictwire.Request) (*dict.Dict, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, req.Dict().String())
	return nil, nil
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// start serves on a free loopback port and returns its address. The server is
// shut down when the test ends.
func start(t testing.TB, srv *dictwire.Server) string {
	t.Helper()
	return startOn(t, srv, "127.0.0.1:0")
}

func startOn(t testing.TB, srv *dictwire.Server, addr string) string {
	t.Helper()
	l, err := dictwire.Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	at := servertest.StartAt(t, srv, dictwire.Endpoint{Listener: l})
	if l.Addr().Network() == "unix" {
		return addr
	}
	return at
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	network, where := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, where = "unix", path
	}
	c, err := net.Dial(network, where)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// say sends a client's input, half-closes and returns the whole answer.
func say(t testing.TB, addr string, parts ...string) string {
	t.Helper()
	c := dial(t, addr)
	for _, p := range parts {
		if _, err := io.WriteString(c, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestServe(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		t.Run(strings.SplitN(addr, ":", 2)[0], func(t *testing.T) {
			var rec recorder
			srv := &dictwire.Server{Handler: &rec}
			addr := startOn(t, srv, addr)
			if got := say(t, addr, `{"name": "Alice", "age": 30, "city": "Paris"}`); got != "" {
				t.Errorf("the server answered %q", got)
			}
			want := []string{"{'name': 'Alice', 'age': 30, 'city': 'Paris'}"}
			if got := rec.all(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := srv.Stats(); got.Connections != 1 || got.Records != 1 || got.Rejected != 0 || got.Bytes != 45 || got.ByDialect["stream"] != 1 {
				t.Errorf("stats: %+v", got)
			}
		})
	}
}

func TestReply(t *testing.T) {
	n := 0
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		n++
		switch n {
		case 2:
			return nil, dictwire.Reject("seconds", "no seconds")
		case 3:
			panic("three")
		case 4:
			return nil, nil
		}
		return dict.Of("received", n, "of", r.Dict().Value()), nil
	}), HandlerRetries: -1})
	c := dial(t, addr)
	replies := bufio.NewReader(c)
	for i, want := range []string{
		`{"received":1,"of":{"a":1}}`,
		`{"error":"no seconds","code":"handler","reason":"seconds"}`,
		`{"error":"the handler failed","code":"internal"}`,
		``,
		`{"received":5,"of":{"a":5}}`,
	} {
		fmt.Fprintf(c, `{"a": %d}`, i+1) // without a line feed; the reply comes all the same
		if want == "" {
			continue
		}
		got, err := replies.ReadString('\n')
		if err != nil || got != want+"\n" {
			t.Errorf("reply %d: %q, %v, want %q", i+1, got, err, want)
		}
	}
}

func TestSend(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if v, ok := r.Dict().Get("bad"); ok {
			return nil, fmt.Errorf("it says: %w", dictwire.Reject("", fmt.Sprintf("bad is %v", v)))
		}
		if _, ok := r.Dict().Get("quiet"); ok {
			return nil, nil
		}
		return dict.Of("ok", true), nil
	})})
	ctx := context.Background()
	if reply, err := dictwire.Send(ctx, addr, dict.Of("a", 1)); err != nil || reply.String() != "{'ok': True}" {
		t.Errorf("reply %v, %v", reply, err)
	}
	if reply, err := dictwire.Send(ctx, addr, dict.Of("quiet", 1)); err != nil || reply != nil {
		t.Errorf("reply %v, %v", reply, err)
	}
	_, err := dictwire.Send(ctx, addr, dict.Of("bad", "x"))
	var rejected *dictwire.RejectedError
	if !errors.As(err, &rejected) || rejected.Code != "handler" || rejected.Text != "bad is 'x'" ||
		err.Error() != "dictwire: record 1 of topic default was rejected: bad is 'x'" {
		t.Errorf("error %#v", err)
	}
}

// ListenAndServe listens at the address, and Shutdown ends it.
func TestListenAndServe(t *testing.T) {
	srv := new(dictwire.Server)
	addr := "unix:" + filepath.Join(t.TempDir(), "s")
	if err := srv.ListenAndServe("127.0.0.1:http-ish"); err == nil {
		t.Error("ListenAndServe listens on a port that is none")
	}
	done := make(chan error, 1)
	go func() { done <- srv.ListenAndServe(addr) }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, err := dictwire.Send(ctx, addr, dict.Of("a", 1)); err != nil; _, err = dictwire.Send(ctx, addr, dict.Of("a", 1)) {
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, dictwire.ErrServerClosed) {
		t.Errorf("ListenAndServe = %v", err)
	}
	if err := srv.ListenAndServe(addr); !errors.Is(err, dictwire.ErrServerClosed) {
		t.Errorf("ListenAndServe after Shutdown = %v", err)
	}
	if got := srv.Stats().Records; got != 1 {
		t.Errorf("%d records", got)
	}
}

// An endpoint with Once does not log the connections that it closes in favour of the one
// that counts.
func TestOnceIsQuiet(t *testing.T) {
	var log testlog.Buffer
	srv := &dictwire.Server{Logger: log.Logger()}
	l, err := dictwire.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l, Once: true}) }()
	silent, first := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	fmt.Fprint(first, `{"a":1}`)
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent connection was told something")
	}
	_ = first.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := srv.Close(); err != nil { // waits for log messages
		t.Error(err)
	}
	if got := log.String(); got != "" {
		t.Errorf("logged %q", got)
	}
}

// Close interrupts a connection at the current record.
func TestCloseStopsWork(t *testing.T) {
	var calls atomic.Int64
	srv := &dictwire.Server{Handler: dictwire.HandlerFunc(func(ctx context.Context, _ *dictwire.Request) (*dict.Dict, error) {
		calls.Add(1)
		<-ctx.Done()
		return nil, nil // a handler that ignores its context
	})}
	c := dial(t, start(t, srv))
	if _, err := io.WriteString(c, strings.Repeat(`{"a":1}`, 100)); err != nil {
		t.Fatal(err)
	}
	for calls.Load() == 0 {
		runtime.Gosched()
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("the handler was called %d times", got)
	}
}
