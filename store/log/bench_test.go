package log_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A session is a producer that has one append in flight.
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

// append appends n records of 45 bytes, all different, as a session does that
// has just read them.
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

// BenchmarkAppend appends from some sessions at once: records/s is what counts.
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
