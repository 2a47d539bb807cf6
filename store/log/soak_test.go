package log_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var soakFor = flag.Duration("soak.duration", time.Second, "how long TestSoak appends")

// TestSoak appends for a while to topics of which little is kept, on a real disk, so that
// segments are freed and rewritten all the time. The retained records are there, in order,
// without damage, and the disk holds little more. It logs how long appends took, with and
// without a rewrite in progress.
func TestSoak(t *testing.T) {
	const maxSegment, producers, size = 2 << 20, 8, 500
	dir := filepath.Join(t.TempDir(), "store")
	o := log.Options{
		MaxSegment: maxSegment, KeepEvery: 200 * time.Millisecond, Reserve: -1, Fatal: func(err error) { t.Error(err) },
		Damaged: func(d log.Damage) { t.Error(d) },
		Keep: func(topic string) log.Keep {
			if strings.HasPrefix(topic, "kept") {
				return log.Keep{Bytes: 4 << 20}
			}
			return log.Keep{Bytes: 1 << 20}
		},
	}
	s, err := log.Open(t.Context(), dir, &o)
	if err != nil {
		t.Fatal(err)
	}
	var done, rewrites atomic.Bool
	var took [2]latencies // [1]: while a segment is rewritten
	last := make([]uint64, producers)
	var all sync.WaitGroup
	for i := range producers {
		all.Go(func() {
			p := store.Producer{Topic: fmt.Sprintf("%s.%d", []string{"kept", "gone", "gone", "gone"}[i%4], i/4), Name: fmt.Sprint(i)}
			c, err := s.Claim(t.Context(), p, store.ClaimRequest{})
			if err != nil {
				t.Error(err)
				return
			}
			b := &store.Block{Topic: p.Topic, Codec: "json", Producer: p, Epoch: c.Epoch, First: 1}
			for ; !done.Load(); b.First += 16 {
				b.Reset()
				for n := range 16 {
					b.Add(noise(int(b.First)+n, size))
				}
				way, began := &took[0], time.Now()
				if rewrites.Load() {
					way = &took[1]
				}
				if r := s.Append(t.Context(), b)[0]; r.Err != nil {
					t.Error(r.Err)
					return
				}
				way.add(time.Since(began))
				last[i] = b.First + 15
			}
		})
	}
	most, files, heap := watch(dir, time.Now().Add(*soakFor), &rewrites)
	done.Store(true)
	all.Wait()
	if err := s.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
	kept := uint64(0)
	stats, err := s.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range stats {
		kept += st.Bytes
	}
	_, disk := onDisk(dir)
	if bound := uint64(float64(kept)*1.3) + 4*maxSegment; disk > bound {
		t.Errorf("%d bytes are kept, and the disk has %d, want at most %d", kept, disk, bound)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = log.Open(t.Context(), dir, &o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := retained(s, last); err != nil {
		t.Error(err)
	}
	if _, err := s.Check(t.Context(), func(d *store.DamageError) { t.Error(d) }); err != nil {
		t.Error(err)
	}
	total := uint64(0)
	for _, n := range last {
		total += n
	}
	t.Logf("%d records, %d bytes kept, %d on the disk, %d at most, in %d files at most, of which %d were rewritten; %d MiB of heap at most",
		total, kept, disk, most, files.most, files.rewritten, heap>>20)
	t.Logf("appends: %v; while segments are rewritten: %v", &took[0], &took[1])
}

// latencies collects the durations of appends.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *latencies) String() string {
	if len(l.all) == 0 {
		return "none"
	}
	slices.Sort(l.all)
	return fmt.Sprintf("%d, p50 %v, p99 %v", len(l.all), l.all[len(l.all)/2], l.all[len(l.all)*99/100])
}

// counted counts segment files.
type counted struct{ most, rewritten int }

// watch looks at a store's directory until the given time, and sets rewrites while a
// segment is rewritten.
func watch(dir string, until time.Time, rewrites *atomic.Bool) (most uint64, files counted, heap uint64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	seen := map[string]bool{}
	for now := range tick.C {
		if now.After(until) {
			break
		}
		names, size := onDisk(dir)
		rewrites.Store(slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".tmp") }))
		for _, name := range names {
			seen[name] = seen[name] || strings.Count(name, "-") == 2 && strings.HasSuffix(name, ".seg")
		}
		most, files.most = max(most, size), max(files.most, len(names))
		if len(seen)%16 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = max(heap, m.HeapAlloc)
		}
	}
	for _, rewritten := range seen {
		if rewritten {
			files.rewritten++
		}
	}
	return most, files, heap
}

// onDisk returns the segment files, and their size in all.
func onDisk(dir string) (names []string, size uint64) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		info, err := e.Info()
		if err == nil && strings.Contains(e.Name(), ".seg") {
			names = append(names, e.Name())
			size += uint64(info.Size())
		}
	}
	return names, size
}

// retained reads all records, and returns an error if any is missing: each producer's
// records must reach to its last one without a gap, from where they were trimmed.
func retained(s *log.Store, last []uint64) error {
	next := map[string]uint64{}
	for b, err := range s.Read(context.Background(), store.Position{}, store.ReadOptions{}) {
		var trimmed *store.TrimmedError
		if err != nil && !errors.As(err, &trimmed) {
			return err
		}
		if b.Block == nil {
			continue
		}
		name := b.Block.Producer.Name
		if n := next[name]; n > 0 && b.Block.First != n {
			return fmt.Errorf("record %d of %s comes where %d should", b.Block.First, name, n)
		}
		next[name] = b.Block.First + uint64(len(b.Block.Lengths))
	}
	for i, n := range last {
		if next[fmt.Sprint(i)] != n+1 {
			return fmt.Errorf("%d is the last record of %d, want %d", next[fmt.Sprint(i)]-1, i, n)
		}
	}
	return nil
}
