package dictwire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testlog"
)

// A pipeListener is an in-memory listener for tests in synctest's time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// inBubble runs a test against a server in a synctest bubble.
func inBubble(t *testing.T, srv *dictwire.Server, test func(t *testing.T, l *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		servertest.StartAt(t, srv, dictwire.Endpoint{Listener: l})
		test(t, l)
	})
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name, send string
		after      time.Duration
		answer     string
	}{
		{"idle from the start", ``, 5 * time.Minute, `"nothing came for 5m0s; Server.FirstTimeout raises the limit","code":"idle"`},
		{"idle after a record", `{"a":1}`, time.Hour, `"nothing came for 1h0m0s; Server.IdleTimeout raises the limit","code":"idle"`},
		{"half a record", `{"a":`, time.Minute, `"the record did not end within 1m0s; Server.RecordTimeout raises the limit","code":"rate"`},
		{"half a greeting", `{"dictwire":1,`, 10 * time.Second, `"the greeting did not end within 10s; Server.OpenTimeout raises the limit","code":"rate"`},
		{"no protocol yet", `{`, 10 * time.Second, `"the first bytes tell no protocol, and no more came within 10s","code":"idle"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, new(dictwire.Server), func(t *testing.T, l *pipeListener) {
				c := l.dial()
				began := time.Now()
				if _, err := io.WriteString(c, test.send); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(c)
				took := time.Since(began)
				if err != nil || !strings.Contains(string(answer), test.answer) {
					t.Errorf("answer %q, %v, want %q", answer, err, test.answer)
				}
				if took < test.after || took > test.after+2*time.Second {
					t.Errorf("cut off after %v, want %v", took, test.after)
				}
			})
		})
	}
}

// A record that trickles in is cut off at its deadline, however often a byte arrives.
func TestTrickle(t *testing.T) {
	inBubble(t, &dictwire.Server{RecordTimeout: 20 * time.Second}, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		began := time.Now()
		answered := make(chan string, 1)
		go func() {
			line, _ := bufio.NewReader(c).ReadString('\n')
			answered <- line
		}()
		for b := []byte(`{"a":"`); ; b = []byte("x") {
			if _, err := c.Write(b); err != nil {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
		if took := time.Since(began); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("cut off after %v, want 20s", took)
		}
		if got := <-answered; !strings.Contains(got, "did not end within 20s") {
			t.Errorf("answer %q", got)
		}
		_ = c.Close()
	})
}

// A client that never reads its replies is cut off, and others are served.
func TestUnreadReplies(t *testing.T) {
	echo := dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		return r.Dict(), nil
	})
	var log testlog.Buffer
	inBubble(t, &dictwire.Server{Handler: echo, Logger: log.Logger()}, func(t *testing.T, l *pipeListener) {
		c, honest := l.dial(), l.dial()
		began := time.Now()
		if _, err := io.WriteString(c, `{"a":1}`); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(honest, `{"b":2}`)
		if got, err := bufio.NewReader(honest).ReadString('\n'); got != "{\"b\":2}\n" || err != nil {
			t.Errorf("the honest client got %q, %v", got, err)
		}
		for {
			if _, err := io.WriteString(c, ` `); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("cut off after %v, want 10s", took)
		}
		_, _ = c.Close(), honest.Close()
	})
	if got, want := log.String(), `msg="connection broke" remote=pipe error="dialect: the peer did not read its replies for 10s"`; !strings.Contains(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}

func TestShutdown(t *testing.T) {
	var rec recorder
	srv := &dictwire.Server{Handler: &rec}
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		done := make(chan error, 1)
		go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
		idle, partial, busy := l.dial(), l.dial(), l.dial()
		fmt.Fprint(idle, `{"idle":1}`)
		fmt.Fprint(partial, `{"partial":`)
		busyEnded := make(chan int)
		go func() {
			for n := 0; ; n++ {
				if _, err := fmt.Fprint(busy, `{"busy":1}`); err != nil {
					busyEnded <- n
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		synctest.Wait()
		began := time.Now()
		down := make(chan error, 1)
		go func() { down <- srv.Shutdown(context.Background()) }()
		if err := <-done; !errors.Is(err, dictwire.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
		if _, err := io.ReadAll(idle); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("the idle connection took %v to end", took)
		}
		n := <-busyEnded
		if took := time.Since(began); took < time.Second || took > 1500*time.Millisecond {
			t.Errorf("the busy connection took %v to end", took)
		}
		time.Sleep(5 * time.Second)
		fmt.Fprint(partial, `1}`)
		if err := <-down; err != nil {
			t.Error(err)
		}
		if got, want := len(rec.all()), n+2; got != want {
			t.Errorf("%d records were taken, %d were written whole", got, want)
		}
		_, _, _ = idle.Close(), partial.Close(), busy.Close()
	})
}

// Shutdown gives up when its context ends; Close then ends everything.
func TestShutdownGivesUp(t *testing.T) {
	srv := new(dictwire.Server)
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		fmt.Fprint(c, `{"half":`)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
	})
}

func TestServeOnce(t *testing.T) {
	var rec recorder
	srv := &dictwire.Server{Handler: &rec}
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		done := make(chan error, 1)
		go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l, Once: true}) }()
		probe := l.dial()
		_ = probe.Close()
		silent, first := l.dial(), l.dial()
		fmt.Fprint(first, `{"a":1}`)
		if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the silent connection got %v", err)
		}
		fmt.Fprint(first, `{"b":2}`)
		_ = first.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if got := fmt.Sprint(rec.all()); got != "[{'a': 1} {'b': 2}]" {
			t.Errorf("got %s", got)
		}
		_ = silent.Close()
		_ = srv.Close()
	})
}

// A server with Once may wait for months while probes come and go: it keeps none of them.
func TestServeOnceKeepsNoProbes(t *testing.T) {
	srv := new(dictwire.Server)
	l := newPipeListener()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l, Once: true}) }()
	const probes = 100
	var gone atomic.Int64
	for range probes {
		client, server := net.Pipe()
		kept := &struct{ net.Conn }{server}
		runtime.AddCleanup(kept, func(*atomic.Int64) { gone.Add(1) }, &gone)
		l.conns <- kept
		_ = client.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); gone.Load() < probes/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("of %d probes, %d are gone", probes, gone.Load())
			break
		}
		runtime.GC()
	}
	_ = srv.Close()
	<-done
}

// An idle connection uses a small goroutine and no buffer. The measurement includes the
// client.
func TestIdleConnection(t *testing.T) {
	const conns, most = 2000, 16 << 10 // 8 KiB without the race detector
	inBubble(t, new(dictwire.Server), func(t *testing.T, l *pipeListener) {
		inUse := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC() // the second one empties the pools
			runtime.ReadMemStats(&m)
			return int64(m.StackInuse + m.HeapInuse)
		}
		before := inUse()
		for range conns {
			if _, err := io.WriteString(l.dial(), `{"a":1}`); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second) // a connection gives its buffer back after one
		synctest.Wait()
		each := (inUse() - before) / conns
		t.Logf("%d bytes each", each)
		if each > most {
			t.Errorf("an idle connection costs %d bytes, want at most %d", each, most)
		}
	})
}

// A listener that temporarily can't accept is tried again, which is logged now and then;
// one that is broken ends Serve.
func TestAcceptErrors(t *testing.T) {
	var log testlog.Buffer
	srv := &dictwire.Server{Logger: log.Logger(), MaxConns: -1}
	synctest.Test(t, func(t *testing.T) {
		l := &brokenListener{pipeListener: newPipeListener(), errs: []error{
			&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)},
			&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ECONNABORTED)},
			nil,
			errors.New("broken"),
		}}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
		began := time.Now()
		c := l.dial()
		fmt.Fprint(c, `{"a":1}`)
		_ = c.Close()
		if took := time.Since(began); took != 15*time.Millisecond {
			t.Errorf("the pauses took %v, want 5 and 10 ms", took)
		}
		if err := <-done; err == nil || err.Error() != "dictwire: accept: broken" {
			t.Errorf("Serve = %v", err)
		}
		synctest.Wait()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	if got := srv.Stats().Records; got != 1 {
		t.Errorf("%d records", got)
	}
	if got := log.String(); strings.Count(got, "can't accept a connection for now") != 1 || !strings.Contains(got, "too many open files") {
		t.Errorf("logged %q", got)
	}
}

// A brokenListener returns the given errors; nil accepts a connection.
type brokenListener struct {
	*pipeListener
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	if err != nil {
		return nil, err
	}
	return l.pipeListener.Accept()
}

// A client that has only greeted does not use up the only connection of an
// endpoint with Once.
func TestServeOnceGreeted(t *testing.T) {
	for name, use := range map[string]func(*dictwire.Client) error{
		"sends": func(c *dictwire.Client) error {
			_, err := c.Send(t.Context(), "t", n(1))
			return err
		},
		"reads": func(c *dictwire.Client) error {
			for _, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"t"}}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := new(dictwire.Server)
			defer srv.Close()
			done := make(chan error, 1)
			go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l, Once: true}) }()
			c, err := dictwire.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := use(c); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Errorf("Serve = %v", err)
			}
		})
	}
}
