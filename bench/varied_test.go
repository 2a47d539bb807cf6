package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sys/unix"

	"github.com/dictwire/dictwire/internal/corpus"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// BenchmarkSessionVaried counts how many log lines, orders and measurements, of about 500
// bytes each, are durable in a second: sent over 64 sessions to dictwire serve, with 1,024
// in flight on each; the same blocks given to the store by 64 goroutines; and given to a
// bare log, which compresses and appends them, and remembers nothing.
func BenchmarkSessionVaried(b *testing.B) {
	records := corpus.Events(1, 1<<14)
	var blocks []*store.Block
	for at := 0; at < len(records); at += blockRecords {
		blocks = append(blocks, newBlock(records[at:at+blockRecords]))
	}
	b.Run("by=dictwire", func(b *testing.B) { benchVaried(b, records) })
	b.Run("by=store", func(b *testing.B) {
		s, err := log.Open(b.Context(), diskDir(b), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		benchBlocks(b, blocks, func(block *store.Block) error { return s.Append(context.Background(), block)[0].Err })
	})
	b.Run("by=bare", func(b *testing.B) {
		l := newBareLog(diskDir(b))
		defer l.close()
		benchBlocks(b, blocks, l.append)
	})
}

// blockRecords is how many records are a block: with 1,024 in flight, a session's buffer
// of 64 KiB makes blocks of about as many.
const blockRecords = 128

func newBlock(records [][]byte) *store.Block {
	b := &store.Block{Topic: "orders", Codec: "json"}
	for _, r := range records {
		b.Add(r)
	}
	return b
}

// benchBlocks appends blocks from many goroutines. b.N counts records.
func benchBlocks(b *testing.B, blocks []*store.Block, add func(*store.Block) error) {
	each := (b.N + sessions*blockRecords - 1) / (sessions * blockRecords)
	size := 0
	for _, block := range blocks {
		size += len(block.Data)
	}
	wrote := written(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			for n := range each {
				if err := add(blocks[(i*7+n)%len(blocks)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	reportVaried(b, each*sessions*blockRecords, float64(size)/float64(len(blocks)*blockRecords), written(b)-wrote)
}

// reportVaried reports n records of a mean size, for which the disk was given some bytes.
func reportVaried(b *testing.B, n int, size, wrote float64) {
	perRecord(b, b.Elapsed().Seconds()/float64(n))
	b.ReportMetric(float64(n)*size/b.Elapsed().Seconds()/1e6, "MB/s")
	b.ReportMetric(wrote/float64(n)/size, "disk-B/B")
}

// benchVaried sends records over sessions.
func benchVaried(b *testing.B, records [][]byte) {
	const inflight = 1024
	s := newServer(b, diskDir(b))
	peers := s.connect(b, inflight)
	size := 0
	for _, r := range records {
		size += len(r)
	}
	var lines []byte
	starts := []int{0} // of the records in lines
	for _, r := range records {
		lines = append(append(lines, r...), '\n')
		starts = append(starts, len(lines))
	}
	each := (b.N + sessions - 1) / sessions
	wrote := written(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			for at := i * 251 % len(records); p.acked < each; {
				some := min(inflight-(p.sent-p.acked), each-p.sent, len(records)-at)
				if some > 0 {
					if _, err := p.conn.Write(lines[starts[at]:starts[at+some]]); err != nil {
						b.Error(err)
						return
					}
					p.sent += some
					at = (at + some) % len(records)
				}
				if err := p.ack(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	reportVaried(b, each*sessions, float64(size)/float64(len(records)), written(b)-wrote)
	for _, p := range peers {
		_ = p.conn.Close()
	}
	b.ReportMetric(float64(s.stop().Nanoseconds())/float64(each*sessions), "server-ns/op")
}

// A bareLog appends what it is given to files of 64 MiB, compressed. One goroutine writes
// and syncs what has come meanwhile, for all who wait.
type bareLog struct {
	dir   string
	file  *os.File
	files int
	off   int64
	done  sync.WaitGroup

	mu      sync.Mutex
	come    sync.Cond
	pending []byte
	waiting []chan error
	closed  bool
}

const bareFile = 64 << 20

var bareScratch = sync.Pool{New: func() any { return new([]byte) }}

func newBareLog(dir string) *bareLog {
	l := &bareLog{dir: dir}
	l.come.L = &l.mu
	l.done.Go(l.run)
	return l
}

func (l *bareLog) append(block *store.Block) error {
	scratch := bareScratch.Get().(*[]byte)
	defer bareScratch.Put(scratch)
	*scratch = s2.Encode((*scratch)[:cap(*scratch)], block.Data)
	done := make(chan error, 1)
	l.mu.Lock()
	l.pending = append(l.pending, *scratch...)
	l.waiting = append(l.waiting, done)
	l.come.Signal()
	l.mu.Unlock()
	return <-done
}

func (l *bareLog) run() {
	var spare []byte
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.come.Wait()
		}
		b, waiting, closed := l.pending, l.waiting, l.closed
		l.pending, l.waiting = spare[:0], nil
		l.mu.Unlock()
		if closed {
			break
		}
		err := l.write(b)
		for _, done := range waiting {
			done <- err
		}
		spare = b
	}
	if l.file != nil {
		_ = l.file.Close()
	}
}

func (l *bareLog) write(b []byte) (err error) {
	if l.file == nil || l.off+int64(len(b)) > bareFile {
		if l.file != nil {
			_ = l.file.Close()
		}
		l.files++
		if l.file, err = os.Create(filepath.Join(l.dir, fmt.Sprint(l.files))); err != nil {
			return err
		}
		l.off = 0
		if err := unix.Fallocate(int(l.file.Fd()), 0, 0, bareFile); err != nil {
			return err
		}
	}
	if _, err := l.file.WriteAt(b, l.off); err != nil {
		return err
	}
	l.off += int64(len(b))
	return unix.Fdatasync(int(l.file.Fd()))
}

func (l *bareLog) close() {
	l.mu.Lock()
	l.closed = true
	l.come.Signal()
	l.mu.Unlock()
	l.done.Wait()
}
