package dictwire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// A holder is a store that settles what is submitted when the test says so.
type holder struct {
	store.Store
	held    chan func(error) // settles one submission
	leading time.Duration    // how long Submit takes
	panics  bool             // it panics then
}

func newHolder() *holder { return &holder{Store: memory.New(nil), held: make(chan func(error), 100)} }

// Submit implements [store.Submitter].
func (h *holder) Submit(ctx context.Context, done func([]store.Result), blocks ...*store.Block) {
	results := h.Append(ctx, blocks...)
	h.held <- func(err error) {
		if err != nil {
			results = []store.Result{{Err: err}}
		}
		done(results)
	}
	time.Sleep(h.leading)
	if h.panics {
		panic("on purpose")
	}
}

// settle settles the next n submissions, one after the other.
func (h *holder) settle(n int, err error) {
	for range n {
		(<-h.held)(err)
	}
}

// A sitting is a session that writes one record after the other.
type sitting struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
	n  int // records sent
}

// sit opens a session of a producer.
func sit(t *testing.T, host *memnet.Host, producer string) *sitting {
	t.Helper()
	nc, err := host.Dial(t.Context(), "server")
	if err != nil {
		t.Fatal(err)
	}
	s := &sitting{t: t, nc: nc, in: bufio.NewReaderSize(nc, 16)}
	s.write(fmt.Sprintf(`{"dictwire":1,"topic":"a","producer":%q}`+"\n", producer))
	s.hears(`{"dictwire":1,"next":1,`)
	s.hears(`{"ack":0}`)
	return s
}

func (s *sitting) write(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.nc, text); err != nil {
		s.t.Fatal(err)
	}
}

// send sends a record, and waits until the server has submitted it or waits for s.
func (s *sitting) send() {
	s.t.Helper()
	s.n++
	s.write(fmt.Sprintf(`{"n":%d}`, s.n))
	synctest.Wait()
}

// hears reads a line, which must begin with what is wanted.
func (s *sitting) hears(want string) {
	s.t.Helper()
	line, err := s.in.ReadString('\n')
	if !strings.HasPrefix(line, want) || line == "" && want != "" {
		s.t.Fatalf("heard %q, %v, want %q", line, err, want)
	}
}

// overHolder runs a test of sessions in a bubble, at whose server records are held.
func overHolder(t *testing.T, srv *dictwire.Server, do func(t *testing.T, h *holder, host *memnet.Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, network := newHolder(), memnet.New()
		network.SetLink(func(string, string) memnet.Link { return memnet.Link{Down: memnet.Direction{Buffer: 400}} })
		srv.Store = h
		servertest.StartAt(t, srv, dictwire.Endpoint{Listener: network.Host("server").Listen()})
		do(t, h, network.Host("client"))
	})
}

// Acks that a peer does not read hold up nobody else's, and reach it when it does.
func TestUnreadAcks(t *testing.T) {
	overHolder(t, &dictwire.Server{WriteTimeout: time.Hour}, func(t *testing.T, h *holder, host *memnet.Host) {
		slow, other := sit(t, host, "slow"), sit(t, host, "other")
		for range 60 { // of which some 40 fit
			began := time.Now()
			slow.send()
			other.send()
			h.settle(len(h.held), nil) // first the slow one's
			other.hears(fmt.Sprintf(`{"ack":%d}`, other.n))
			if took := time.Since(began); took > 0 {
				t.Fatalf("an ack waited %v for a peer that does not read", took)
			}
		}
		written, _ := slow.nc.(*memnet.Conn).Written()
		if written == 0 || len(h.held) > 0 {
			t.Fatal("nothing was sent")
		}
		settle := func() {
			for f := range h.held {
				f(nil)
			}
		}
		go settle()
		defer close(h.held)
		began := time.Now()
		for last := 0; last < slow.n; {
			line, err := slow.in.ReadString('\n')
			n := 0
			if _, scan := fmt.Sscanf(line, `{"ack":%d}`, &n); err != nil || scan != nil || n < last || n > slow.n {
				t.Fatalf("heard %q, %v after ack %d of %d", line, err, last, slow.n)
			}
			last = n
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the acks took %v once they were read", took)
		}
	})
}

// An ack that the peer's socket does not take at once, or only a part of, is written when
// the peer reads.
func TestLateAcks(t *testing.T) {
	for records := 20; records < 45; records++ { // some 30 acks fit
		overHolder(t, &dictwire.Server{WriteTimeout: time.Hour}, func(t *testing.T, h *holder, host *memnet.Host) {
			s := sit(t, host, "p")
			for range records {
				s.send()
				h.settle(len(h.held), nil)
				synctest.Wait()
			}
			go func() {
				for f := range h.held {
					f(nil)
				}
			}()
			defer close(h.held)
			began := time.Now()
			for line, last := "", fmt.Sprintf(`{"ack":%d}`+"\n", records); line != last; {
				var err error
				if line, err = s.in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("ack %d took %v", records, took)
			}
		})
	}
}

// Whoever settles a record does not wait for its session, which is writing a beat that the peer
// does not read.
func TestAckDuringUnreadBeat(t *testing.T) {
	overHolder(t, &dictwire.Server{WriteTimeout: time.Hour}, func(t *testing.T, h *holder, host *memnet.Host) {
		s := sit(t, host, "p")
		s.send()
		time.Sleep(20 * time.Minute) // more beats than there is room for
		began := time.Now()
		h.settle(1, nil)
		if took := time.Since(began); took > 0 {
			t.Errorf("settling a record waited %v for its peer", took)
		}
		for line := ""; line != `{"ack":1}`+"\n"; {
			var err error
			if line, err = s.in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the ack took %v", took)
		}
	})
}

// A session that ends while a record is on its way to the store is told what becomes of it.
func TestEndWhileSubmitted(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"stored", nil, `{"ack":1}`},
		{"unavailable", store.ErrUnavailable, `{"error":`},
	} {
		for _, closes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s closes=%v", test.name, closes), func(t *testing.T) {
				overHolder(t, &dictwire.Server{}, func(t *testing.T, h *holder, host *memnet.Host) {
					s := sit(t, host, "p")
					s.send()
					if closes {
						_ = s.nc.(*memnet.Conn).CloseWrite()
					}
					synctest.Wait()
					if _, err := h.Claim(t.Context(), store.Producer{Principal: store.Anonymous, Topic: "a", Name: "q"}, store.ClaimRequest{}); err != nil {
						t.Fatal(err)
					}
					h.settle(1, test.err)
					s.hears(test.want)
					if !closes && test.err == nil {
						return
					}
					if rest, err := io.ReadAll(s.in); len(rest) > 0 || err != nil {
						t.Errorf("then %q, %v", rest, err)
					}
				})
			})
		}
	}
}

// A store that panics ends the session, whether or not it ever settles the record.
func TestPanicWhileSubmitted(t *testing.T) {
	for _, settles := range []bool{true, false} {
		overHolder(t, &dictwire.Server{}, func(t *testing.T, h *holder, host *memnet.Host) {
			h.panics = true
			s := sit(t, host, "p")
			s.send()
			s.hears(`{"error":"internal error","code":"internal"}`)
			if rest, err := io.ReadAll(s.in); len(rest) > 0 || err != nil {
				t.Errorf("then %q, %v", rest, err)
			}
			if settles {
				h.settle(1, nil)
			}
		})
	}
}

// Shutdown waits for a record that is on its way to the store, and for its ack.
func TestShutdownWhileSubmitted(t *testing.T) {
	srv := &dictwire.Server{}
	overHolder(t, srv, func(t *testing.T, h *holder, host *memnet.Host) {
		s := sit(t, host, "p")
		s.send()
		down := make(chan error, 1)
		go func() { down <- srv.Shutdown(t.Context()) }()
		time.Sleep(time.Minute)
		select {
		case err := <-down:
			t.Fatalf("Shutdown = %v before the record was settled", err)
		default:
		}
		h.settle(1, nil)
		for line := ""; !strings.HasPrefix(line, `{"ack":1}`); {
			var err error
			if line, err = s.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"ack":`) {
				t.Fatalf("heard %q, %v", line, err)
			}
		}
		s.hears(`{"error":`)
		if err := <-down; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// A session that ends while it writes a beat that the peer does not read says what became of
// the record on its way.
func TestEndDuringUnreadBeat(t *testing.T) {
	for _, shuts := range []bool{false, true} {
		srv := &dictwire.Server{WriteTimeout: time.Hour}
		overHolder(t, srv, func(t *testing.T, h *holder, host *memnet.Host) {
			s := sit(t, host, "p")
			s.send()
			down := make(chan error, 1)
			if shuts {
				go func() { down <- srv.Shutdown(t.Context()) }()
			} else {
				down <- s.nc.(*memnet.Conn).CloseWrite()
			}
			time.Sleep(20 * time.Minute) // more beats than there is room for
			h.settle(1, nil)
			all, err := io.ReadAll(s.in)
			if err != nil || !strings.Contains(string(all), `{"ack":1}`+"\n") {
				t.Errorf("shuts=%v: heard %d bytes, %v, without the ack", shuts, len(all), err)
			}
			if err := <-down; err != nil {
				t.Error(err)
			}
		})
	}
}

// A peer that waits for an ack hears that the server is alive, whoever leads, and is not
// silent meanwhile.
func TestBeatWhileSubmitted(t *testing.T) {
	for _, leading := range []time.Duration{0, 10 * time.Minute} {
		t.Run(fmt.Sprint(leading), func(t *testing.T) {
			overHolder(t, &dictwire.Server{IdleTimeout: time.Minute}, func(t *testing.T, h *holder, host *memnet.Host) {
				h.leading = leading
				s := sit(t, host, "p")
				s.send()
				for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
					began := time.Now()
					s.hears(`{"ack":0}`)
					if quiet := time.Since(began); quiet > 15*time.Second {
						t.Fatalf("heard nothing for %v", quiet)
					}
				}
				h.settle(1, nil)
				s.hears(`{"ack":1}`)
				time.Sleep(50 * time.Second) // less than IdleTimeout since the ack
				h.leading = 0
				s.send()
				h.settle(1, nil)
				for line := ""; !strings.HasPrefix(line, `{"ack":2}`); {
					var err error
					if line, err = s.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"ack":`) {
						t.Fatalf("heard %q, %v", line, err)
					}
				}
			})
		})
	}
}

// A counted counts what is written to it.
type counted struct {
	*net.TCPConn
	wrote *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.wrote.Add(int64(len(p)))
	return c.TCPConn.Write(p)
}

type countedListener struct {
	net.Listener
	wrote atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return counted{nc.(*net.TCPConn), &l.wrote}, nil
}

// All acks go through the Write of a listener's own connections.
func TestAcksOfForeignConns(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &countedListener{Listener: inner}
	servertest.StartAt(t, &dictwire.Server{Store: logOf(t)}, dictwire.Endpoint{Listener: l})
	nc, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s := &sitting{t: t, nc: nc, in: bufio.NewReader(nc)}
	s.write(`{"dictwire":1,"topic":"a","producer":"p"}` + "\n")
	read := 0
	hear := func() {
		line, err := s.in.ReadString('\n')
		if read += len(line); err != nil {
			t.Fatal(err)
		}
	}
	hear()
	hear()
	for n := range 10 {
		s.write(fmt.Sprintf(`{"n":%d}`, n))
		hear()
	}
	if got := l.wrote.Load(); got != int64(read) {
		t.Errorf("the peer got %d bytes, of which its connection's Write has written %d", read, got)
	}
}

// logOf returns a log, which takes submissions.
func logOf(t *testing.T) *log.Store {
	t.Helper()
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
