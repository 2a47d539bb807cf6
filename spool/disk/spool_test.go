package disk_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
	"github.com/dictwire/dictwire/store"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "15")
	goleak.VerifyTestMain(m)
}

var _ spool.Spool = (*disk.Spool)(nil)

// open opens a spool that is closed when the test ends.
func open(t testing.TB, o disk.Options) *disk.Spool {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	s, err := disk.Open(t.Context(), "spool", &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func topics(t testing.TB, s *disk.Spool) []spool.Topic {
	t.Helper()
	all, err := s.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// topicA returns the state of topic a.
func topicA(t testing.TB, s *disk.Spool) spool.Topic {
	t.Helper()
	for _, st := range topics(t, s) {
		if st.Topic == "a" {
			return st
		}
	}
	t.Fatal("there is no topic a")
	return spool.Topic{}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestSpool has the options of each spool, with which it is opened again.
func TestSpool(t *testing.T) {
	opened := map[spool.Spool]disk.Options{}
	openAs := func(t spooltest.T, o disk.Options) spool.Spool {
		s, err := disk.Open(t.Context(), "spool", &o)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		t.Cleanup(func() { _ = s.Close() })
		opened[s] = o
		return s
	}
	spooltest.Run(t, spooltest.Driver{
		Open: func(t spooltest.T) spool.Spool { return openAs(t, disk.Options{FS: vfs.NewMem()}) },
		Reopen: func(t spooltest.T, s spool.Spool) spool.Spool {
			if err := s.(*disk.Spool).Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			return openAs(t, opened[s])
		},
		Full: func(t spooltest.T, bytes int) spool.Spool {
			return openAs(t, disk.Options{FS: vfs.NewMem(), MaxBytes: int64(bytes), NoWait: true})
		},
	})
}

func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	var name string
	attempt := uint64(0)
	for round := range uint64(4) {
		s, err := disk.Open(t.Context(), "spool", &disk.Options{FS: fs, Name: fmt.Sprintf("till-%d", round)})
		if err != nil {
			t.Fatal(err)
		}
		if name == "" {
			name = s.Producer()
		}
		if s.Producer() != name || !strings.HasPrefix(name, "till-0.") || (store.Producer{Topic: "a", Name: name}).Check() != nil {
			t.Errorf("producer %q, was %q", s.Producer(), name)
		}
		for range 3 {
			n, err := s.Attempt(t.Context())
			if err != nil || n <= attempt {
				t.Errorf("attempt %d after %d: %v", n, attempt, err)
			}
			attempt = n
		}
		if round > 0 {
			want := spool.Topic{Topic: "a", First: 10*round + 1, Next: 10*round + 1, Acked: 10 * round, Sum: spooltest.Sum(spooltest.Record(10 * round))}
			if got := topicA(t, s); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		spooltest.Add(t, s, "a", 10*round+1, 10)
		spooltest.Read(t, s, "a", 1, 10*round+10)
		spooltest.Settle(t, s, "a", 10*round+10)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, disk.Options{})
	if other.Producer() == name {
		t.Error("two spools have one name")
	}
}

// TestSettle settles in any order: settled records are trimmed, the others stay.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, disk.Options{})
		for n := uint64(1); n <= 40; n += 4 {
			spooltest.Add(t, s, "a", n, 4)
		}
		for _, n := range []uint64{2, 10, 5, 0, 10, 12, 1} {
			spooltest.Settle(t, s, "a", n)
		}
		if got := topicA(t, s); got.Acked != 12 || got.Sum != spooltest.Sum(spooltest.Record(12)) {
			t.Errorf("%+v, want 12 settled", got)
		}
		if st := s.Stats(); st.Records != 28 {
			t.Errorf("%+v, want 28 records that are not settled", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := topicA(t, s); got.First != 13 {
			t.Errorf("%+v, want 13 first", got)
		}
		if st := s.Stats(); st.Records != 28 || st.Bytes != 28*int64(len(spooltest.Record(10))) {
			t.Errorf("%+v, want the bytes of 28 records", st)
		}
		spooltest.Settle(t, s, "a", 14)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := topicA(t, s); got.First != 13 || got.Acked != 14 {
			t.Errorf("%+v: 13 is in one block with 15", got)
		}
		if got := spooltest.Read(t, s, "a", 1, 40); got != 13 {
			t.Errorf("the read begins with %d", got)
		}
		spooltest.Settle(t, s, "a", 40)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Records != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
			t.Errorf("all is settled: %+v", st)
		}
		if err := s.Settle(t.Context(), "a", 41, 0); err == nil {
			t.Error("a record is settled that there never was")
		}
		if err := s.Settle(t.Context(), "b", 1, 0); err == nil {
			t.Error("a topic is settled that there never was")
		}
		spooltest.Add(t, s, "a", 41, 1)
	})
}

func TestFullBytes(t *testing.T) {
	big := func(c string) []byte { return []byte(strings.Repeat(c, 100)) }
	s := open(t, disk.Options{MaxBytes: 1000, NoWait: true})
	for n := uint64(1); n <= 10; n++ {
		if got, err := s.Append(t.Context(), fmt.Sprint("t", n%3), "json", big("x")); err != nil {
			t.Fatal(got, err)
		}
	}
	for range 2 {
		if _, err := s.Append(t.Context(), "t0", "json", []byte("1")); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("a full spool says %v", err)
		}
	}
	if _, err := s.Append(t.Context(), "t0", "json", big("x"), make([]byte, 901)); !errors.Is(err, spool.ErrFull) {
		t.Fatalf("what never fits: %v", err)
	}
	if st := s.Stats(); st.Refused != 2 || st.Bytes != 1000 {
		t.Errorf("%+v", st)
	}
	// Settled records make room at once, and nothing else does.
	if err := s.Settle(t.Context(), "t1", 2, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{nil, nil, spool.ErrFull} {
		if n, err := s.Append(t.Context(), "t0", "json", big("y")); !errors.Is(err, want) {
			t.Fatalf("record %d: %v, want %v", n, err, want)
		}
	}
}

// TestFullWaits has appends that wait for room, and ends them by their context and by
// Close.
func TestFullWaits(t *testing.T) {
	s := open(t, disk.Options{MaxBytes: 20})
	if _, err := s.Append(t.Context(), "a", "json", make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	for range 2 {
		go func() { _, err := s.Append(ctx, "a", "json", []byte("1")); errs <- err }()
	}
	eventually(t, "two wait", func() bool { return s.Stats().Waiting == 2 })
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	go func() { _, err := s.Append(t.Context(), "a", "json", make([]byte, 20)); errs <- err }()
	eventually(t, "one waits", func() bool { return s.Stats().Waiting == 1 })
	if err := s.Settle(t.Context(), "a", 1, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	go func() { _, err := s.Append(t.Context(), "a", "json", []byte("1")); errs <- err }()
	eventually(t, "one waits", func() bool { return s.Stats().Waiting == 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a closed spool says %v", err)
	}
}

func TestFullAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		s := open(t, disk.Options{FS: fs, MaxAge: time.Hour, NoWait: true})
		spooltest.Add(t, s, "a", 1, 1)
		time.Sleep(50 * time.Minute)
		spooltest.Add(t, s, "b", 1, 1)
		time.Sleep(20 * time.Minute)
		if _, err := s.Append(t.Context(), "c", "json", []byte("1")); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("the oldest record is older than it may be: %v", err)
		}
		spooltest.Read(t, s, "a", 1, 1) // it was not dropped
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, disk.Options{FS: fs, MaxAge: time.Hour, NoWait: true})
		if _, err := s.Append(t.Context(), "c", "json", []byte("1")); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("the age is forgotten: %v", err)
		}
		spooltest.Settle(t, s, "a", 1)
		spooltest.Add(t, s, "b", 2, 1)
		time.Sleep(45 * time.Minute)
		if _, err := s.Append(t.Context(), "c", "json", []byte("1")); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("the second record is older than it may be: %v", err)
		}
		spooltest.Settle(t, s, "b", 1)
		spooltest.Add(t, s, "b", 3, 1)
	})
}

// TestAppendsShareASync starts appends while one waits for the disk.
func TestAppendsShareASync(t *testing.T) {
	const appends = 100
	fs := &counting{FS: vfs.NewMem()}
	s := open(t, disk.Options{FS: fs})
	spooltest.Add(t, s, "a", 1, 1)
	begin := fs.syncs.Load()
	fs.slow.Lock()
	var wg sync.WaitGroup
	for i := range appends {
		wg.Go(func() {
			if _, err := s.Append(t.Context(), []string{"a", "b"}[i%2], "json", spooltest.Record(1)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all have come", func() bool { return s.Stats().Bytes == (appends+1)*int64(len(spooltest.Record(1))) })
	fs.slow.Unlock()
	wg.Wait()
	if n := fs.syncs.Load() - begin; n > 8 {
		t.Errorf("%d syncs for %d appends", n, appends)
	}
}

func TestLocked(t *testing.T) {
	fs := vfs.NewMem()
	open(t, disk.Options{FS: fs})
	_, err := disk.Open(t.Context(), "spool", &disk.Options{FS: fs})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "directory of its own") {
		t.Errorf("a second one gets %v", err)
	}
}

func TestWhatCantBeKept(t *testing.T) {
	s := open(t, disk.Options{})
	for _, c := range []struct {
		topic, format string
		records       [][]byte
		want          string
	}{
		{"", "json", [][]byte{spooltest.Record(1)}, "topic"},
		{"a b", "json", [][]byte{spooltest.Record(1)}, "topic"},
		{"_spool", "json", [][]byte{spooltest.Record(1)}, "the server's"},
		{"a", "", [][]byte{spooltest.Record(1)}, "format"},
		{"a", "json", nil, "no records"},
		{"a", "json", [][]byte{spooltest.Record(1), {}}, "record 2 of 2"},
	} {
		if _, err := s.Append(t.Context(), c.topic, c.format, c.records...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %q", c.topic, c.format, err, c.want)
		}
	}
	spooltest.Add(t, s, "a", 1, 1)
	for _, name := range []string{"a b", strings.Repeat("x", 33)} {
		if _, err := disk.Open(t.Context(), "other", &disk.Options{Name: name, FS: vfs.NewMem()}); err == nil {
			t.Errorf("a spool is called %q", name)
		}
	}
}

func TestClosed(t *testing.T) {
	s := open(t, disk.Options{})
	spooltest.Add(t, s, "a", 1, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, errAppend := s.Append(t.Context(), "a", "json", spooltest.Record(2))
	_, errTopics := s.Topics(t.Context())
	_, errAttempt := s.Attempt(t.Context())
	var errRead error
	for _, err := range s.Read(t.Context(), "a", 1) {
		errRead = err
	}
	for _, err := range []error{errAppend, errTopics, errAttempt, errRead, s.Settle(t.Context(), "a", 1, 0)} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v, want one that wraps ErrUnavailable", err)
		}
	}
}
