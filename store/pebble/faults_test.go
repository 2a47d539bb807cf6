package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

func block(topic string, n int) *store.Block {
	b := &store.Block{Topic: topic, Codec: "json"}
	for i := range n {
		b.Add(fmt.Appendf(nil, `{"name":"Alice","age":%02d,"city":"Paris","x":1}`, i%100))
	}
	return b
}

// A directory that can't be locked for another reason than another process is not
// said to be in use.
func TestUnlockable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "LOCK"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := pebble.Open(t.Context(), dir, nil)
	if err == nil || errors.Is(err, store.ErrLocked) {
		t.Errorf("%v", err)
	}
}

func TestOneProcessOwnsADirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := pebble.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pebble.Open(t.Context(), dir, nil)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the second: %v, want ErrLocked with the directory", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = pebble.Open(t.Context(), dir, nil); err != nil {
		t.Fatalf("after the first has closed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A small disk says how much of it is free.
type small struct {
	vfs.FS
	free atomic.Uint64
}

func (f *small) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{TotalBytes: 100 << 30, AvailBytes: f.free.Load()}, nil
}

func (f *small) Unwrap() vfs.FS { return f.FS }

func TestReserve(t *testing.T) {
	fs := &small{FS: vfs.NewMem()}
	const memory = 12 << 20
	for _, c := range []struct {
		reserve int64
		free    uint64
		refused bool
	}{
		{0, 2<<30 + memory, false}, // 2 % of 100 GiB
		{0, 2<<30 + memory - 1, true},
		{1 << 20, 1<<20 + memory, false},
		{1 << 20, 1<<20 + memory - 1, true},
		{-1, 0, false},
	} {
		fs.free.Store(c.free)
		s := open(t, pebble.Options{FS: fs, Reserve: c.reserve, KeepEvery: -1})
		err := s.Append(t.Context(), block("a", 1))[0].Err
		if refused := errors.Is(err, store.ErrUnavailable); refused != c.refused || !refused && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := s.Head(t.Context()); err != nil {
			t.Errorf("%+v: reads do not go on: %v", c, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Writing resumes when there is room.
	fs.free.Store(0)
	s := open(t, pebble.Options{FS: fs, KeepEvery: -1})
	if err := s.Append(t.Context(), block("a", 1))[0].Err; !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a full disk: %v", err)
	}
	if err := s.Append(t.Context(), block("_own", 1))[0].Err; err != nil {
		t.Errorf("what the process notes for itself: %v", err)
	}
	if err := s.Append(t.Context(), block("_own", 1), block("a", 1))[1].Err; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a full disk: %v", err)
	}
	fs.free.Store(50 << 30)
	for deadline := time.Now().Add(time.Minute); ; {
		err := s.Append(t.Context(), block("a", 1))[0].Err
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestFatal runs a program whose disk fails while it appends: it must end with
// an exit status that is not zero, and acknowledge nothing from then on.
func TestFatal(t *testing.T) {
	if os.Getenv("DICTWIRE_TEST_FATAL") != "" {
		failInChild()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFatal$")
	cmd.Env = append(os.Environ(), "DICTWIRE_TEST_FATAL=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("the program ended with %v:\n%s", err, out)
	}
	_, behind, failed := strings.Cut(string(out), "disk fails\n")
	if !failed || strings.Contains(behind, "ack") || !strings.Contains(behind, "fatal: store: unavailable") {
		t.Fatalf("the program printed:\n%s", out)
	}
}

func failInChild() {
	d := &disk{FS: vfs.NewMem()}
	ctx := context.Background()
	s, err := pebble.Open(ctx, "store", &pebble.Options{FS: d, KeepEvery: -1, Fatal: func(err error) {
		fmt.Println("fatal:", err)
		os.Exit(3)
	}})
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
	fmt.Println("ack", s.Append(ctx, block("a", 1))[0].Err)
	d.Fail()
	fmt.Println("disk fails")
	for range 8 {
		go func() {
			for range 1000 {
				if r := s.Append(ctx, block("a", 1))[0]; r.Err == nil {
					fmt.Println("ack")
				}
			}
		}()
	}
	select {}
}

// TestFailureHoldsNobody makes the disk fail under many writers, where Fatal
// returns: each of them is answered, and the store closes.
func TestFailureHoldsNobody(t *testing.T) {
	for _, what := range []string{"sync", "write"} {
		d := &disk{FS: vfs.NewMem()}
		s := open(t, pebble.Options{FS: d, KeepEvery: -1, Fatal: func(error) {}})
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				p := store.Producer{Topic: "a", Name: fmt.Sprint(i)}
				for n := 0; ; n++ {
					var err error
					switch i % 4 {
					case 0, 1:
						err = s.Append(t.Context(), block("a", 100))[0].Err
					case 2:
						_, err = s.Claim(t.Context(), p, store.ClaimRequest{})
					default:
						var head store.Position
						if head, err = s.Head(t.Context()); err == nil {
							err = s.Reset(t.Context(), store.CursorName{Name: p.Name}, head)
						}
					}
					if errors.Is(err, store.ErrUnavailable) {
						return
					}
					if err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
					if i == 0 && n == 50 {
						d.fails(what)
					}
				}
			})
		}
		wg.Wait()
		if err := s.Close(); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("%s: Close: %v", what, err)
		}
	}
}

// TestTablesCantBeWritten makes the writes of tables fail: appends are refused
// before the engine holds them up, reads go on, and appends are taken again when
// tables can be written.
func TestTablesCantBeWritten(t *testing.T) {
	d := &disk{FS: vfs.NewMem()}
	s := open(t, pebble.Options{FS: d, KeepEvery: -1, Reserve: -1, Fatal: func(err error) { t.Error(err) }})
	d.fails("table")
	n := newNumbered()
	if err := n.append(t.Context(), s); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	n.verify(t, s)
	for before := n.acked; ; {
		// What was in the engine's hands may be there, what comes now is not taken.
		if err := n.append(t.Context(), s); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("a claim and an append while tables can't be written: %v", err)
		}
		if n.acked == before {
			break
		}
		if n.acked > before+2 {
			t.Fatalf("%d appends were taken while tables could not be written", n.acked-before)
		}
		before = n.acked
	}
	d.fails("")
	n.resume(t, s)
	n.verify(t, s)
}

// TestCloseOfFailing closes stores whose disk fails since their last write, in
// every way: Close returns, and what was acknowledged is there when the disk works
// again.
func TestCloseOfFailing(t *testing.T) {
	for _, what := range []string{"sync", "write", "table"} {
		for _, full := range []bool{false, true} { // what the engine has in memory
			d := &disk{FS: vfs.NewMem()}
			s := open(t, pebble.Options{FS: d, KeepEvery: -1, Reserve: -1, Fatal: func(error) {}})
			n := newNumbered()
			if full {
				d.fails("table")
				if err := n.append(t.Context(), s); !errors.Is(err, store.ErrUnavailable) {
					t.Fatal(err)
				}
			} else if r := s.Append(t.Context(), block("a", 1))[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			d.fails(what)
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			select {
			case err := <-closed:
				if err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("%s, full %v: Close: %v", what, full, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s, full %v: Close does not return", what, full)
			}
			d.fails("")
			s = open(t, pebble.Options{FS: d, KeepEvery: -1, Reserve: -1})
			if full {
				n.verify(t, s)
			} else if all, err := s.Topics(t.Context()); err != nil || len(all) != 1 || all[0].Records != 1 {
				t.Fatalf("%s: %+v, %v", what, all, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A stuck disk holds tables up, and then fails them.
type stuck struct {
	vfs.FS
	holding atomic.Bool
	release chan struct{} // closed when they fail
}

func (d *stuck) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") && d.holding.Load() {
		<-d.release
		return nil, errInjected
	}
	return d.FS.Create(name, c)
}

func (d *stuck) Unwrap() vfs.FS { return d.FS }

// TestCloseWhileHeldUp closes a store whose engine holds an append up, because
// its tables are written slowly and then can't be: Close returns, and so does the
// append. The engine stays, so that this needs a process of its own.
func TestCloseWhileHeldUp(t *testing.T) {
	if os.Getenv("DICTWIRE_TEST_HELD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCloseWhileHeldUp$", "-test.timeout=40s")
		cmd.Env = append(os.Environ(), "DICTWIRE_TEST_HELD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the program ended with %v:\n%.2000s", err, out)
		}
		return
	}
	fs := vfs.NewCrashableMem()
	d := &stuck{FS: fs, release: make(chan struct{})}
	s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: d, KeepEvery: -1, Reserve: -1, Fatal: func(err error) {
		t.Error("this is no reason to end the process:", err)
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.holding.Store(true)
	n := newNumbered()
	refused := make(chan error, 1)
	go func() { refused <- n.append(t.Context(), s) }()
	select {
	case err := <-refused:
		t.Fatal(err)
	case <-time.After(3 * time.Second): // what fits has been written, and one more is held up
	}
	close(d.release)
	if err := s.Close(); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errInjected) {
		t.Errorf("Close: %v", err)
	}
	if err := <-refused; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the append: %v", err)
	}
	left := open(t, pebble.Options{FS: fs.CrashClone(vfs.CrashCloneCfg{}), KeepEvery: -1, Reserve: -1})
	n.verify(t, left)
	_ = left.Close()
	if t.Failed() {
		os.Exit(1)
	}
	os.Exit(0) // before anybody looks for goroutines
}

func TestDurabilityOS(t *testing.T) {
	dir := t.TempDir()
	s, err := pebble.Open(t.Context(), dir, &pebble.Options{Durability: store.OS, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if s.Limits().Durability != store.OS {
		t.Fatalf("Durability: %q", s.Limits().Durability)
	}
	if r := s.Append(t.Context(), block("a", 3))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	// What was acknowledged is with the operating system: a copy of the files
	// has it.
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = pebble.Open(t.Context(), copied, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stats, err := s.Topics(t.Context())
	if err != nil || len(stats) != 1 || stats[0].Records != 3 {
		t.Fatalf("Topics: %+v, %v", stats, err)
	}
	if _, err := pebble.Open(t.Context(), t.TempDir(), &pebble.Options{Durability: "disk"}); err == nil {
		t.Fatal("an unknown durability was taken")
	}
}

func TestKeep(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := open(t, pebble.Options{
		FS: vfs.NewMem(), KeepEvery: -1, Now: func() time.Time { return now },
		Keep: func(topic string) pebble.Keep {
			return map[string]pebble.Keep{"aged": {Age: time.Hour}, "sized": {Bytes: 1000}}[topic]
		},
	})
	for range 100 {
		for _, topic := range []string{"aged", "sized", "all"} {
			if r := s.Append(t.Context(), block(topic, 2))[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		now = now.Add(time.Minute)
	}
	p := store.Producer{Topic: "all", Name: "x"}
	if _, err := s.Claim(t.Context(), p, store.ClaimRequest{Expire: time.Minute}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, stat := range stats {
		got[stat.Name] = stat.Blocks
	}
	if got["aged"] != 59 || got["sized"] != 10 || got["all"] != 100 {
		t.Fatalf("kept %v", got)
	}
	i, err := s.Info(t.Context())
	if err != nil || i.Producers != 0 || i.Tag == "" {
		t.Fatalf("Info: %+v, %v", i, err)
	}
	r, err := s.Check(t.Context(), func(d *store.DamageError) { t.Error(d) })
	if err != nil || r.Blocks != 169 {
		t.Fatalf("Check: %+v, %v", r, err)
	}
}
