package nats_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

// A wire is a proxy between a store and a broker that understands their protocol. It drops
// messages in either direction, or delays them while later ones pass.
type wire struct {
	url string
	to  string

	mu   sync.Mutex
	lose func(toStore bool, subject string, message []byte) bool // guarded by mu: nil loses nothing
	hold func(subject string, message []byte) time.Duration      // guarded by mu: nil holds nothing
	tell func(subject string, message []byte) string             // guarded by mu: what the store is told in the broker's place; nil or "": nothing
	open map[net.Conn]bool                                       // guarded by mu: from stores
	lost int                                                     // guarded by mu
	held int                                                     // guarded by mu
}

func newWire(t *testing.T, url string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{open: map[net.Conn]bool{}, url: "nats://" + l.Addr().String(), to: strings.TrimPrefix(url, "nats://")}
	ctx, end := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.carry(ctx, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		end()
		serving.Wait()
	})
	return w
}

// calm stops dropping and delaying.
func (w *wire) calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.hold, w.tell = nil, nil, nil
}

// cut breaks all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.Close()
	}
}

// opened notes that a connection of a store begins or ends.
func (w *wire) opened(c net.Conn, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if is {
		w.open[c] = true
	} else {
		delete(w.open, c)
	}
}

// carry carries frames both ways. A delayed frame reaches the broker even if the store has
// closed the connection meanwhile.
func (w *wire) carry(ctx context.Context, from net.Conn) {
	defer from.Close()
	w.opened(from, true)
	defer w.opened(from, false)
	to, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer to.Close()
	defer context.AfterFunc(ctx, func() { from.Close(); to.Close() })()
	var back, late sync.WaitGroup
	back.Go(func() {
		defer from.Close()
		_ = frames(to, func(subject string, frame []byte) error {
			w.mu.Lock()
			lose := subject != "" && w.lose != nil && w.lose(true, subject, frame)
			if lose {
				w.lost++
			}
			w.mu.Unlock()
			if lose {
				return nil
			}
			_, err := from.Write(frame)
			return err
		})
	})
	var writing sync.Mutex
	write := func(frame []byte) error {
		writing.Lock()
		defer writing.Unlock()
		_, err := to.Write(frame)
		return err
	}
	inboxes := map[string]string{} // the numbers of the store's subscriptions
	_ = frames(from, func(subject string, frame []byte) error {
		words := strings.Fields(string(frame[:bytes.IndexByte(frame, '\n')]))
		if words[0] == "SUB" {
			inboxes[strings.TrimSuffix(words[1], "*")] = words[len(words)-1]
		}
		w.mu.Lock()
		told := ""
		if subject != "" && w.tell != nil {
			told = w.tell(subject, frame)
		}
		w.mu.Unlock()
		if told != "" {
			reply := words[2]
			number := inboxes[reply[:strings.LastIndexByte(reply, '.')+1]]
			_, err := fmt.Fprintf(from, "MSG %s %s %d\r\n%s\r\n", reply, number, len(told), told)
			return err
		}
		w.mu.Lock()
		var wait time.Duration
		lose := subject != "" && w.lose != nil && w.lose(false, subject, frame)
		if subject != "" && w.hold != nil {
			wait = w.hold(subject, frame)
		}
		if lose {
			w.lost++
		} else if wait > 0 {
			w.held++
		}
		w.mu.Unlock()
		switch {
		case lose:
			return nil
		case wait > 0:
			late.Go(func() {
				select {
				case <-time.After(wait):
					_ = write(frame)
				case <-ctx.Done():
				}
			})
			return nil
		default:
			return write(frame)
		}
	})
	late.Wait()
	to.Close()
	back.Wait()
}

// frames calls do with each frame of a connection, and with the subject if it is a message.
func frames(c net.Conn, do func(subject string, frame []byte) error) error {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return err
		}
		subject := ""
		words := strings.Fields(string(line))
		if len(words) > 2 && (strings.HasSuffix(words[0], "PUB") || strings.HasSuffix(words[0], "MSG")) {
			subject = words[1]
			n, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return err
			}
			at := len(line)
			line = append(line, make([]byte, n+2)...)
			if _, err := io.ReadFull(r, line[at:]); err != nil {
				return err
			}
		}
		if err := do(subject, line); err != nil {
			return err
		}
	}
}

// wired returns two stores of a stream: one connected directly, the other through a wire.
func wired(t *testing.T) (w *wire, o *nats.Options, direct, far store.Store) {
	t.Helper()
	b, _ := single(t, "")
	w, o = newWire(t, b.urls), b.fresh()
	direct = b.open(t, o)
	s, err := nats.Open(t.Context(), w.url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return w, o, direct, s
}

// TestLossy has authors append to two stores. One of them loses one answer in ten, and its
// publications are lost or arrive seconds later.
func TestLossy(t *testing.T) {
	t.Parallel()
	w, o, direct, far := wired(t)
	w.mu.Lock()
	w.lose = func(toStore bool, subject string, _ []byte) bool {
		if toStore {
			return strings.HasPrefix(subject, "_INBOX.") && rand.IntN(10) == 0
		}
		return strings.HasPrefix(subject, o.Prefix+".") && rand.IntN(30) == 0
	}
	w.hold = func(subject string, _ []byte) time.Duration {
		if strings.HasPrefix(subject, o.Prefix+".b.") && rand.IntN(10) == 0 {
			return rand.N(8 * time.Second)
		}
		return 0
	}
	w.mu.Unlock()
	authors := cast(8)
	ctx, stop := context.WithTimeout(t.Context(), 15*time.Second)
	defer stop()
	stores := []store.Store{direct, far, far}
	all(t, authors, func(a *author) error {
		for ctx.Err() == nil {
			if err := a.session(t.Context(), stores[rand.IntN(len(stores))], a.acked+40, time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	w.calm()
	all(t, authors, func(a *author) error { return a.write(t.Context(), []store.Store{far}, a.acked+20, 0) })
	w.mu.Lock()
	total := uint64(0)
	for _, a := range authors {
		total += a.acked
	}
	t.Logf("%d records, %d messages lost, %d held back", total, w.lost, w.held)
	if w.lost < 20 || w.held < 5 {
		t.Errorf("the wire lost %d messages and held %d", w.lost, w.held)
	}
	w.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	check(t, direct, authors...)
	check(t, far, authors...)
}

// TestDelayed delays an append while another store claims the producer and appends the
// same. The delayed message must not be stored.
func TestDelayed(t *testing.T) {
	t.Parallel()
	w, o, direct, far := wired(t)
	ctx := t.Context()
	a := cast(1)[0]
	for range 5 {
		c, err := far.Claim(ctx, a.p, store.ClaimRequest{Acked: a.acked})
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.hold = func(subject string, frame []byte) time.Duration {
			if strings.HasPrefix(subject, o.Prefix+".b.") && bytes.Contains(frame, []byte("Dictwire: b ")) {
				return 500 * time.Millisecond
			}
			return 0
		}
		w.mu.Unlock()
		late := make(chan error, 1)
		go func() { late <- far.Append(ctx, a.blocks(c.Epoch, c.Next, c.Next+4)[0])[0].Err }()
		time.Sleep(100 * time.Millisecond)
		if err := a.write(ctx, []store.Store{direct}, a.acked+4, 0); err != nil {
			t.Fatal(err)
		}
		w.calm()
		if err := <-late; !errors.Is(err, store.ErrFenced) {
			t.Errorf("what came after another claim is answered %v", err)
		}
	}
	check(t, direct, a)
	if w.held < 5 {
		t.Errorf("the wire held %d messages", w.held)
	}
}

// TestBlocked has a leader say for ever that something is on its way to a producer, as one
// does whose note of that is never taken back. Another node is asked to lead, but not where
// no barrier is stored: then something may be on its way.
func TestBlocked(t *testing.T) {
	t.Parallel()
	w, o, _, far := wired(t)
	a := cast(1)[0]
	for _, stored := range []bool{true, false} {
		c, err := far.Claim(t.Context(), a.p, store.ClaimRequest{Acked: a.acked})
		if err != nil {
			t.Fatal(err)
		}
		asked := false // guarded by w.mu
		w.mu.Lock()
		w.tell = func(subject string, _ []byte) string {
			switch {
			case subject == "$JS.API.STREAM.LEADER.STEPDOWN."+o.Prefix:
				asked = true
				return `{"success":true}`
			case strings.HasPrefix(subject, o.Prefix+".b.") && !asked:
				return `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}`
			case subject == o.Prefix+".m" && !stored:
				return `{"error":{"code":503,"err_code":10077,"description":"not now"}}`
			}
			return ""
		}
		w.mu.Unlock()
		bl := &store.Block{Topic: a.p.Topic, Codec: "json", Principal: a.p.Principal, Producer: a.p, Epoch: c.Epoch, First: c.Next}
		bl.Add([]byte("{}"))
		r := far.Append(t.Context(), bl)[0]
		w.mu.Lock()
		if asked != stored {
			t.Errorf("another node is asked to lead: %v, with barriers stored: %v", asked, stored)
		}
		w.mu.Unlock()
		w.calm()
		if stored && r.Err != nil || !stored && !errors.Is(r.Err, store.ErrUnavailable) {
			t.Errorf("the append is answered %v, with barriers stored: %v", r.Err, stored)
		}
	}
}

// TestLostRequest loses the consumer of headers, and the request for another one. The store
// asks again before its readers give up.
func TestLostRequest(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	w, o := newWire(t, b.urls), b.fresh()
	s, err := nats.Open(t.Context(), w.url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	asked := 0
	w.mu.Lock()
	w.lose = func(_ bool, subject string, _ []byte) bool {
		if !strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE.") {
			return false
		}
		asked++
		return asked == 1
	}
	w.mu.Unlock()
	stream, err := js.Stream(t.Context(), o.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Errorf("CatchUp: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if asked != 2 {
		t.Errorf("asked %d times for a consumer, want twice", asked)
	}
}

// TestLostHeaders loses what the broker tells a store of a block, and then the connection.
// Readers get the block although nothing more is stored.
func TestLostHeaders(t *testing.T) {
	t.Parallel()
	w, o, direct, far := wired(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	announces := func(toStore bool, subject string) bool { return !toStore && strings.HasPrefix(subject, o.Prefix+".f.") }
	lose := func(what func(toStore bool, subject string, _ []byte) bool) (lost int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lose = what
		return w.lost
	}
	before := lose(func(toStore bool, subject string, _ []byte) bool {
		return toStore && strings.HasPrefix(subject, o.Prefix+".") || announces(toStore, subject)
	})
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte("{}"))
	r := direct.Append(ctx, b)[0]
	if err := errors.Join(r.Err, direct.(*nats.Store).Close()); err != nil {
		t.Fatal(err)
	}
	for w.mu.Lock(); w.lost == before && ctx.Err() == nil; w.mu.Lock() {
		w.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	w.mu.Unlock()
	lose(func(toStore bool, subject string, _ []byte) bool { return announces(toStore, subject) })
	w.cut()
	defer w.calm()
	for batch, err := range far.Read(ctx, store.Position{}, store.ReadOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil && batch.At == r.Position {
			return
		}
	}
}
