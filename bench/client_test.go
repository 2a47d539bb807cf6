package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// served starts a server with a store for the duration of the benchmark, and returns its
// address.
func served(b *testing.B, st store.Store) string {
	b.Helper()
	l, err := dictwire.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &dictwire.Server{Store: st}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	b.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, dictwire.ErrServerClosed) {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

func dialed(b *testing.B, addr string) *dictwire.Client {
	b.Helper()
	c, err := dictwire.Dial(context.Background(), addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// processor returns the processor time of this process, which includes the server.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stores runs f with each kind of store.
func stores(b *testing.B, f func(b *testing.B, st store.Store)) {
	b.Run("store=memory", func(b *testing.B) { f(b, memory.New(nil)) })
	b.Run("store=log", func(b *testing.B) {
		st, err := log.Open(context.Background(), b.TempDir(), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		f(b, st)
	})
}

// BenchmarkSendAsync measures the settled dictionaries per second of one goroutine, with
// the server on the same processors.
func BenchmarkSendAsync(b *testing.B) {
	stores(b, func(b *testing.B, st store.Store) { benchSendAsync(b, st, nil) })
	b.Run("spool/store=memory", func(b *testing.B) {
		s, err := disk.Open(context.Background(), b.TempDir(), &disk.Options{MaxBytes: -1})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		benchSendAsync(b, memory.New(nil), s)
	})
}

func benchSendAsync(b *testing.B, st store.Store, s spool.Spool) {
	ctx := context.Background()
	c, err := dictwire.Dialer{Spool: s}.Dial(ctx, served(b, st))
	if err != nil {
		b.Fatal(err)
	}
	d := dict.Of("name", "Alice", "age", 30, "city", "Paris")
	b.ReportAllocs()
	b.ResetTimer()
	before := processor()
	for range b.N {
		if err := c.SendAsync(ctx, "t", d); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(processor()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "dicts/s")
	b.StopTimer()
	if err := c.Close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkSend compares 64 goroutines that share a client with 64 clients, each with a
// connection of its own. Send returns when its record is settled.
func BenchmarkSend(b *testing.B) {
	const goroutines = 64
	stores(b, func(b *testing.B, st store.Store) {
		for _, clients := range []int{1, goroutines} {
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
				ctx := context.Background()
				addr := served(b, st)
				all := make([]*dictwire.Client, clients)
				for i := range all {
					all[i] = dialed(b, addr)
				}
				d := dict.Of("name", "Alice", "age", 30, "city", "Paris")
				var sending sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for g := range goroutines {
					sending.Go(func() {
						for range b.N/goroutines + 1 {
							if _, err := all[g%clients].Send(ctx, "t", d); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				sending.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "dicts/s")
			})
		}
	})
}

// BenchmarkSubscribe measures the bytes of records per second of one reader.
func BenchmarkSubscribe(b *testing.B) {
	ctx := context.Background()
	c := dialed(b, served(b, memory.New(nil)))
	d := dict.Of("name", "Alice", "age", 30, "city", "Paris")
	const count = 500_000
	for range count {
		if err := c.SendAsync(ctx, "t", d); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		n, size := 0, 0
		for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{}) {
			if err != nil {
				b.Fatal(err)
			}
			n += len(batch.Records)
			for _, r := range batch.Records {
				size += len(r)
			}
		}
		if n == 0 {
			b.Fatal("no records")
		}
		b.SetBytes(int64(size))
	}
}
