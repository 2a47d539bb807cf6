package bench

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var (
	growthGB      = flag.Float64("growth.gb", 1, "to how many GB of records the store of BenchmarkGrowth grows")
	growthRewrite = flag.Bool("growth.rewrite", false, "trim a third of them, so that segments are rewritten meanwhile")
)

// BenchmarkGrowth lets a store grow, and tells for each quarter of it how fast 64
// goroutines append blocks of 64 records of 500 bytes that hardly compress, beside a bare
// log to which the same goroutines append the same blocks, in turns.
func BenchmarkGrowth(b *testing.B) {
	const perBlock = 64
	if b.N > 1 {
		b.Fatal("it takes long: use -benchtime 1x")
	}
	var noise [4096][]byte // blocks
	rng := rand.NewChaCha8([32]byte{})
	for i := range noise {
		noise[i] = make([]byte, 0, perBlock*500)
		for range perBlock {
			var raw [492]byte
			_, _ = rng.Read(raw[:]) // never fails
			noise[i] = append(noise[i], `{"x":"`...)
			for _, c := range raw {
				noise[i] = append(noise[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[c&63])
			}
			noise[i] = append(noise[i], `"}`...)
		}
	}
	block := func(n int) *store.Block {
		made := &store.Block{Topic: "orders", Codec: "json"}
		if *growthRewrite && n%3 == 0 {
			made.Topic = "gone"
		}
		for data := noise[n%len(noise)]; len(data) > 0; data = data[500:] {
			made.Add(data[:500])
		}
		return made
	}

	dir := diskDir(b)
	rewritten := func() int {
		names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
		return len(slices.DeleteFunc(names, func(name string) bool { return strings.Count(filepath.Base(name), "-") < 2 }))
	}
	s, err := log.Open(b.Context(), filepath.Join(dir, "store"), &log.Options{KeepEvery: time.Second, Keep: func(topic string) log.Keep {
		if topic == "gone" {
			return log.Keep{Bytes: 64 << 20}
		}
		return log.Keep{}
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var of [4]struct{ store, bare pace }
	total := int64(*growthGB * 1e9)
	grown := int64(0)
	for grown < total {
		quarter := &of[min(grown*4/total, 3)]
		bare := filepath.Join(dir, "bare")
		if err := os.Mkdir(bare, 0o700); err != nil {
			b.Fatal(err)
		}
		l := newBareLog(bare)
		quarter.bare.run(b, time.Second, total, block, l.append)
		l.close()
		if err := os.RemoveAll(bare); err != nil {
			b.Fatal(err)
		}
		grown += quarter.store.run(b, 3*time.Second, total/16, block, func(block *store.Block) error {
			return s.Append(context.Background(), block)[0].Err
		})
		if b.Failed() {
			return
		}
	}
	for i := range of {
		q := &of[i]
		b.Logf("quarter %d: %3.0f MB/s, p50 %v, p99 %v; bare %3.0f MB/s, p50 %v, p99 %v; beside it %.2f, and p99 %.2f",
			i+1, q.store.rate(), q.store.at(50), q.store.at(99), q.bare.rate(), q.bare.at(50), q.bare.at(99),
			q.store.rate()/q.bare.rate(), float64(q.store.at(99))/float64(q.bare.at(99)))
	}
	first, last := &of[0], &of[3]
	b.ReportMetric(last.store.rate()/last.bare.rate()/(first.store.rate()/first.bare.rate()), "rate-last/first")
	b.ReportMetric(float64(last.store.at(99))/float64(last.bare.at(99))/(float64(first.store.at(99))/float64(first.bare.at(99))), "p99-last/first")
	b.ReportMetric(float64(rewritten()), "rewritten-segments")
}

// A pace is how fast appends were.
type pace struct {
	took  []time.Duration // sorted once at is called
	bytes int64
	time  time.Duration
}

// run appends blocks from many goroutines, for a while or until it is many bytes, and
// returns how many it was.
func (p *pace) run(b *testing.B, d time.Duration, many int64, block func(n int) *store.Block, add func(*store.Block) error) int64 {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next atomic.Int64
		size atomic.Int64
	)
	began := time.Now()
	for range sessions {
		wg.Go(func() {
			var took []time.Duration
			for time.Since(began) < d && size.Load() < many {
				made := block(int(next.Add(1)))
				at := time.Now()
				if err := add(made); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(at))
				size.Add(int64(len(made.Data)))
			}
			mu.Lock()
			defer mu.Unlock()
			p.took = append(p.took, took...)
		})
	}
	wg.Wait()
	p.time += time.Since(began)
	p.bytes += size.Load()
	return size.Load()
}

// rate returns MB/s.
func (p *pace) rate() float64 { return float64(p.bytes) / 1e6 / p.time.Seconds() }

// at returns a percentile.
func (p *pace) at(percent int) time.Duration {
	slices.Sort(p.took)
	return p.took[len(p.took)*percent/100].Round(10 * time.Microsecond)
}
