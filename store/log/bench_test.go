package log_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// session is a producer with one append in flight.
type session struct {
	s     *log.Store
	block store.Block
}

func sessions(b *testing.B, s *log.Store, n int) []*session {
	b.Helper()
	all := make([]*session, n)
	for i := range all {
		p := store.Producer{Topic: "orders", Name: fmt.Sprintf("s%d", i)}
		c, err := s.Claim(b.Context(), p, store.ClaimRequest{})
		if err != nil {
			b.Fatal(err)
		}
		all[i] = &session{s: s, block: store.Block{Topic: "orders", Codec: "json", Producer: p, Epoch: c.Epoch, First: c.Next}}
	}
	return all
}

// append appends n different records of 45 bytes, as a session does that has just read
// them.
func (s *session) append(b *testing.B, n int) {
	record := []byte(`{"name":"Alice","age":30,"n":00000000000000 }`)
	s.block.Reset()
	for i := range uint64(n) {
		number := record[29:43]
		for at, v := len(number)-1, s.block.First+i; v > 0; at, v = at-1, v/10 {
			number[at] = '0' + byte(v%10)
		}
		s.block.Add(record)
	}
	s.block.Note = append(s.block.Note[:0], "1a2b3c4d"...)
	if r := s.s.Append(b.Context(), &s.block)[0]; r.Err != nil {
		b.Error(r.Err)
	}
	s.block.First += uint64(n)
}

// BenchmarkAppend appends from several sessions at once. The figure that matters is
// records/s.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ sessions, n int }{{1, 1}, {64, 1}, {64, 64}, {64, 1024}} {
		n := c.n
		b.Run(fmt.Sprintf("sessions=%d/block=%d", c.sessions, n), func(b *testing.B) {
			s, err := log.Open(b.Context(), b.TempDir(), &log.Options{Reserve: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			all := sessions(b, s, c.sessions)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, session := range all {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						session.append(b, n)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkRead reads all records of a topic.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		for name, topics := range map[string][]string{"topic": {"orders"}, "all": nil} {
			b.Run(fmt.Sprintf("block=%d/%s", n, name), func(b *testing.B) {
				s, err := log.Open(b.Context(), b.TempDir(), &log.Options{Reserve: -1, Durability: store.OS})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				session := sessions(b, s, 1)[0]
				for i := 0; i < 200_000; i += n {
					session.append(b, n)
				}
				bytes, blocks := 0, 0
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					for batch, err := range s.Read(b.Context(), store.Position{}, store.ReadOptions{Topics: topics}) {
						if err != nil {
							b.Fatal(err)
						}
						if batch.Block != nil {
							bytes += len(batch.Block.Data)
							blocks++
						}
					}
				}
				b.ReportMetric(float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
				b.ReportMetric(float64(blocks)/b.Elapsed().Seconds(), "blocks/s")
			})
		}
	}
}

// BenchmarkIndex rebuilds the indexes of all segments, which are in the page cache.
func BenchmarkIndex(b *testing.B) {
	for _, c := range []struct{ blocks, records int }{{400_000, 1}, {40_000, 64}} { // of 500 bytes, and of about 3 KB
		b.Run(fmt.Sprintf("block=%d", c.records), func(b *testing.B) {
			dir := b.TempDir()
			o := &log.Options{Reserve: -1, KeepEvery: -1, Durability: store.OS}
			s, err := log.Open(b.Context(), dir, o)
			if err != nil {
				b.Fatal(err)
			}
			block := store.Block{Topic: "orders", Codec: "json"}
			for n := range c.blocks {
				block.Reset()
				for i := range c.records {
					block.Add(noise(n+i, 500/max(1, c.records/8)))
				}
				if r := s.Append(b.Context(), &block)[0]; r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			size := uint64(0)
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				indexes, err := filepath.Glob(filepath.Join(dir, "*.idx"))
				if err != nil {
					b.Fatal(err)
				}
				for _, name := range indexes {
					if err := os.Remove(name); err != nil {
						b.Fatal(err)
					}
				}
				s, err := log.Open(b.Context(), dir, o)
				if err != nil {
					b.Fatal(err)
				}
				i, err := s.Info(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				size += i.DiskBytes
				syscall.Sync() // otherwise the index files would wait for the earlier writes
				b.StartTimer()
				if _, err := s.Seek(b.Context(), time.Now().Add(time.Hour)); err != nil { // needs all of the indexes
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
		})
	}
}

var openSegments = flag.Int("open.segments", 320, "how many segments the store has that BenchmarkOpen opens, as one of so many times 64 MiB")

// BenchmarkOpen opens a store whose process was killed when the active segment was almost
// full. The other segments, which it does not read, are small.
func BenchmarkOpen(b *testing.B) {
	if dir := os.Getenv("DICTWIRE_BENCH_OPEN"); dir != "" {
		fillAndDie(b, dir)
	}
	for _, n := range []int{1, 1024} {
		b.Run(fmt.Sprintf("block=%d", n), func(b *testing.B) {
			tmp := b.TempDir()
			dir := filepath.Join(tmp, "killed")
			cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkOpen$", "-test.benchtime=1x", fmt.Sprint("-open.segments=", *openSegments))
			cmd.Env = append(os.Environ(), "DICTWIRE_BENCH_OPEN="+dir, fmt.Sprint("DICTWIRE_BENCH_BLOCK=", n))
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.Exited() {
				b.Fatalf("%v: %s", err, &out)
			}
			segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			if err != nil {
				b.Fatal(err)
			}
			for i := range b.N {
				b.StopTimer()
				again := filepath.Join(tmp, fmt.Sprint(i))
				if err := copyStore(again, dir); err != nil {
					b.Fatal(err)
				}
				syscall.Sync() // otherwise the first sync would wait for the earlier writes
				b.StartTimer()
				s, err := log.Open(b.Context(), again, &log.Options{Reserve: -1, KeepEvery: -1, Damaged: func(d log.Damage) { b.Error(d) }})
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(s.Close(), os.RemoveAll(again)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(segments)), "segments")
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/open")
		})
	}
}

// fillAndDie fills a store, puts blocks of a few records into the last segment, and kills
// the process.
func fillAndDie(b *testing.B, dir string) {
	o := log.Options{Reserve: -1, KeepEvery: -1, Durability: store.OS}
	fill := func(n int, maxSegment int64, enough func(i log.Info) bool) *log.Store {
		o.MaxSegment = maxSegment
		s, err := log.Open(b.Context(), dir, &o)
		if err != nil {
			b.Fatal(err)
		}
		var done atomic.Bool
		var wg sync.WaitGroup
		for _, session := range sessions(b, s, 64) {
			wg.Go(func() {
				for !done.Load() && !b.Failed() {
					session.append(b, n)
				}
			})
		}
		for !done.Load() && !b.Failed() {
			i, err := s.Info(b.Context())
			if err != nil {
				b.Error(err)
			}
			done.Store(enough(i))
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		return s
	}
	s := fill(1024, 256<<10, func(i log.Info) bool { return i.Segments >= *openSegments })
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var n, began int
	_, _ = fmt.Sscan(os.Getenv("DICTWIRE_BENCH_BLOCK"), &n)
	full := uint64(0)
	fill(n, 64<<20, func(i log.Info) bool {
		if began == 0 {
			began = i.Segments + 10 // the first ones are small
		}
		if full == 0 && i.Segments >= began {
			full = i.DiskBytes
		}
		return full > 0 && i.DiskBytes-full > 56<<20
	})
	if b.Failed() {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// copyStore copies the files of a store.
func copyStore(to, from string) error {
	if err := os.MkdirAll(filepath.Join(to, "states"), 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if ext := filepath.Ext(path); ext == ".seg" || ext == ".idx" {
			return os.Link(path, name)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(name, b, 0o600)
	})
}
