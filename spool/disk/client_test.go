package disk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// A server that can go away.
type server struct {
	t     testing.TB
	store store.Store
	addr  string
	srv   *dictwire.Server
}

func newServer(t testing.TB) *server {
	s := &server{t: t, store: memory.New(&memory.Options{KeepBytes: 256 << 20}), addr: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	var l net.Listener
	eventually(s.t, "listening on "+s.addr, func() (ok bool) {
		var err error
		l, err = dictwire.Listen(context.Background(), s.addr)
		return err == nil
	})
	s.addr = l.Addr().String()
	srv := &dictwire.Server{Store: s.store}
	s.srv = srv
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
}

func (s *server) stop() {
	if s.srv != nil {
		_ = s.srv.Close()
		s.srv = nil
	}
}

// records returns the records of a topic.
func (s *server) records(topic string) (all []string) {
	s.t.Helper()
	for r := range servertest.Records(s.t, s.store, topic) {
		all = append(all, string(r.Bytes))
	}
	return all
}

// wantRecords waits until a topic has the records 1 to n, once each and in order.
func (s *server) wantRecords(topic string, n uint64) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d records of %s", n, topic), func() bool { return uint64(len(s.records(topic))) >= n })
	all := s.records(topic)
	if uint64(len(all)) != n {
		s.t.Fatalf("%d records of %s, want %d", len(all), topic, n)
	}
	for i, r := range all {
		if r != string(spooltest.Record(uint64(i)+1)) {
			s.t.Fatalf("record %d of %s is %s", i+1, topic, r)
		}
	}
}

func dial(t testing.TB, s *disk.Spool, addr string, d dictwire.Dialer) *dictwire.Client {
	t.Helper()
	d.Spool, d.MinBackoff, d.MaxBackoff = s, time.Millisecond, 10*time.Millisecond
	if d.Codec == nil {
		d.Codec = json.Codec{}
	}
	c, err := d.Dial(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSmall sends more than the spool can hold: waiting records are not combined into
// batches that never fit.
func TestSmall(t *testing.T) {
	const count = 5000
	s := open(t, disk.Options{MaxBytes: 1000})
	srv := newServer(t)
	c := dial(t, s, srv.addr, dictwire.Dialer{})
	for n := range uint64(count) {
		if err := c.SendAsync(t.Context(), "t", dictwire.Record{Bytes: spooltest.Record(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := errors.Join(c.Flush(ctx), c.Close()); err != nil {
		t.Fatal(err)
	}
	srv.wantRecords("t", count)
}

// TestServerAway sends without a server, lets the program end abruptly and lose power, and
// starts the server: everything that was spooled arrives once and in order, and frees its
// room.
func TestServerAway(t *testing.T) {
	srv := newServer(t)
	rng := rand.New(rand.NewPCG(1, 1))
	fs := crashfs.New(1)
	sent := map[string]uint64{}
	for round := range 12 {
		if round%4 == 2 {
			srv.start()
		} else {
			srv.stop()
		}
		s, err := disk.Open(t.Context(), "spool", &disk.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, s, srv.addr, dictwire.Dialer{AtSpool: true})
		for range 50 {
			topic := []string{"a", "b"}[rng.IntN(2)]
			sent[topic]++
			if err := c.SendAsync(t.Context(), topic, dict.Of("n", sent[topic])); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
		left := fs.Crash(true, rng)
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		fs = left
	}
	srv.stop()
	srv.start()
	s := open(t, disk.Options{FS: fs})
	c := dial(t, s, srv.addr, dictwire.Dialer{})
	defer c.Close()
	for topic, n := range sent {
		srv.wantRecords(topic, n)
	}
	eventually(t, "nothing is left", func() bool { st := s.Stats(); return st.Records == 0 && st.Bytes == 0 })
	// Send returns when the record is settled.
	if _, err := c.Send(t.Context(), "a", dict.Of("n", sent["a"]+1)); err != nil {
		t.Fatal(err)
	}
	srv.wantRecords("a", sent["a"]+1)
}

// TestLostAndCopied loses, copies and restores directories and servers. Each case must be
// an error, never silence.
func TestLostAndCopied(t *testing.T) {
	send := func(c *dictwire.Client, n uint64) error {
		_, err := c.Send(t.Context(), "a", dict.Of("n", n))
		return err
	}
	// begin sends a few records to a server from a spool that is copied meanwhile.
	begin := func(t *testing.T) (srv *server, now, old *crashfs.FS) {
		srv, now = newServer(t), crashfs.New(1)
		s := open(t, disk.Options{FS: now})
		c := dial(t, s, srv.addr, dictwire.Dialer{})
		for n := uint64(1); n <= 3; n++ {
			if err := send(c, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil { // saves what is settled
			t.Fatal(err)
		}
		_ = c.Close()
		old = now.Crash(false, nil)
		s = open(t, disk.Options{FS: now})
		c = dial(t, s, srv.addr, dictwire.Dialer{})
		for n := uint64(4); n <= 5; n++ {
			if err := send(c, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		return srv, now, old
	}
	t.Run("an old copy", func(t *testing.T) {
		srv, _, old := begin(t)
		c := dial(t, open(t, disk.Options{FS: old}), srv.addr, dictwire.Dialer{})
		defer c.Close()
		if err := send(c, 100); !errors.Is(err, dictwire.ErrFenced) && !errors.Is(err, dictwire.ErrConflict) {
			t.Errorf("it goes on: %v", err)
		}
		srv.wantRecords("a", 5)
	})
	t.Run("an old copy that was opened often", func(t *testing.T) {
		srv, _, old := begin(t)
		for range 5 {
			s, err := disk.Open(t.Context(), "spool", &disk.Options{FS: old})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, disk.Options{FS: old})
		for n := range 5 { // more than the server has
			if _, err := s.Append(t.Context(), "a", "json", spooltest.Record(uint64(n)+100)); err != nil {
				t.Fatal(err)
			}
		}
		c := dial(t, s, srv.addr, dictwire.Dialer{})
		defer c.Close()
		if err := send(c, 200); !errors.Is(err, dictwire.ErrConflict) {
			t.Errorf("it goes on: %v", err)
		}
		srv.wantRecords("a", 5)
	})
	t.Run("another server", func(t *testing.T) {
		_, now, _ := begin(t)
		other := newServer(t)
		s := open(t, disk.Options{FS: now})
		c := dial(t, s, other.addr, dictwire.Dialer{})
		if err := send(c, 6); !errors.Is(err, dictwire.ErrLost) {
			t.Errorf("it goes on: %v", err)
		}
		_ = c.Close()
		if n := len(other.records("a")); n != 0 {
			t.Errorf("it has %d records", n)
		}
		c = dial(t, s, other.addr, dictwire.Dialer{AcceptLost: true})
		defer c.Close()
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := other.records("a"); len(all) != 1 || all[0] != string(spooltest.Record(6)) {
			t.Errorf("it has %q", all)
		}
	})
	t.Run("a directory that is lost", func(t *testing.T) {
		srv, _, _ := begin(t)
		c := dial(t, open(t, disk.Options{}), srv.addr, dictwire.Dialer{})
		defer c.Close()
		if err := send(c, 6); err != nil {
			t.Fatal(err)
		}
		srv.wantRecords("a", 6)
	})
}

// BenchmarkClient sends through the spool to a server on the same machine.
func BenchmarkClient(b *testing.B) {
	st, err := log.Open(b.Context(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	srv := &server{t: b, store: st, addr: "127.0.0.1:0"}
	srv.start()
	defer srv.stop()
	s := openDir(b)
	c, err := dictwire.Dialer{Spool: s}.Dial(b.Context(), srv.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	d := dict.Of("id", 1234567, "name", "Ada", "tags", dict.List(dict.String("a"), dict.String("b")))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.SendAsync(b.Context(), "orders", d); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
