package disk_test

import (
	"sync"
	"testing"

	"github.com/dictwire/dictwire/spool/disk"
)

var benchRecord = []byte(`{"id":1234567,"name":"Ada","tags":["a","b"]}`)

func openDir(b *testing.B) *disk.Spool {
	b.Helper()
	s, err := disk.Open(b.Context(), b.TempDir(), &disk.Options{MaxBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkAppend appends one record at a time from 64 goroutines.
func BenchmarkAppend(b *testing.B) {
	s := openDir(b)
	b.ReportAllocs()
	next := make(chan struct{}, 1024)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range next {
				if _, err := s.Append(b.Context(), "orders", "json", benchRecord); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for b.Loop() {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAppendBatch appends 1,024 records at a time.
func BenchmarkAppendBatch(b *testing.B) {
	s := openDir(b)
	b.ReportAllocs()
	batch := make([][]byte, 1024)
	for i := range batch {
		batch[i] = benchRecord
	}
	for b.Loop() {
		if _, err := s.Append(b.Context(), "orders", "json", batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkRead reads records that were appended in batches.
func BenchmarkRead(b *testing.B) {
	s := openDir(b)
	batch := make([][]byte, 1024)
	for i := range batch {
		batch[i] = benchRecord
	}
	const batches = 200
	for range batches {
		if _, err := s.Append(b.Context(), "orders", "json", batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for batch, err := range s.Read(b.Context(), "orders", 1) {
			if err != nil {
				b.Fatal(err)
			}
			if n += len(batch.Records); n == batches*1024 {
				break
			}
		}
	}
	b.ReportMetric(float64(b.N*batches*1024)/b.Elapsed().Seconds(), "records/s")
}
