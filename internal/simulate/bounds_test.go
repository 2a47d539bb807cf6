package simulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store/log"
)

// The memory that a server may use beyond what it has at rest: its Server.MaxMemory, and
// what the engine buffers before it writes tables.
const (
	maxMemory = 16 << 20
	bound     = maxMemory + 4*8<<20
)

// bounded runs a server, in real time, on a disk with the given sync time.
func bounded(t *testing.T, sync time.Duration) *memnet.Host {
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{FS: slowDisk{vfs.Default, sync}, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	n := memnet.New()
	n.SetLink(func(_, _ string) memnet.Link {
		return memnet.Link{Up: memnet.Direction{Buffer: 64 << 10}, Down: memnet.Direction{Buffer: 64 << 10}}
	})
	srv := &dictwire.Server{Store: s, MaxMemory: maxMemory}
	done := make(chan struct{})
	l := n.Host(server).Listen()
	go func() {
		_ = srv.Serve(dictwire.Endpoint{Listener: l})
		close(done)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return n.Host("client")
}

// A slowDisk takes a fixed time to sync, whatever else the machine does.
type slowDisk struct {
	vfs.FS
	takes time.Duration
}

func (d slowDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return slowFile{f, d.takes}, err
}

func (d slowDisk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(old, name, c)
	return slowFile{f, d.takes}, err
}

func (d slowDisk) Unwrap() vfs.FS { return d.FS }

type slowFile struct {
	vfs.File
	takes time.Duration
}

func (f slowFile) Sync() error                { time.Sleep(f.takes); return nil }
func (f slowFile) SyncData() error            { return f.Sync() }
func (f slowFile) SyncTo(int64) (bool, error) { return true, f.Sync() }

// inUse returns the memory in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the contents of pools survive the first run
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// holds fails if f takes more memory than the bound, beyond what was in use before.
func holds(t *testing.T, bound int64, f func()) {
	t.Helper()
	before, most := inUse(), int64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(100 * time.Millisecond):
		}
		most = max(most, inUse()-before)
	}
	t.Logf("%.1f MiB beside what is in use at rest", float64(most)/(1<<20))
	if most > bound {
		t.Errorf("that is more than %d MiB", bound>>20)
	}
}

// wait returns how long a producer usually waits for the acknowledgement of one record.
func wait(t *testing.T, h *memnet.Host, name string) time.Duration {
	t.Helper()
	c, end, err := begin(context.Background(), h, server, fmt.Sprintf(`{"dictwire":1,"topic":"orders","producer":%q}`, name))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	var waits []time.Duration
	for n := range uint64(100) {
		for acked := false; !acked; {
			m, err := c.hear()
			if err != nil {
				t.Fatal(err)
			}
			acked = m.Ack != nil && *m.Ack == n
		}
		waits = append(waits, time.Since(c.said))
		c.said = time.Now()
		if _, err := io.WriteString(c, "{\"n\":1}\n"); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(waits)
	return waits[len(waits)/2]
}

// slowed fails if a producer waits for much longer than before. Machines differ, and have
// other work.
func slowed(t *testing.T, before, with time.Duration) {
	t.Helper()
	t.Logf("a producer waits %v, and %v without", with, before)
	if with > 10*before+20*time.Millisecond {
		t.Errorf("that is too much longer")
	}
}

func connect(t *testing.T, h *memnet.Host, greeting string) *talk {
	t.Helper()
	c, end, err := begin(context.Background(), h, server, greeting)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return c
}

var batch = bytes.Repeat([]byte(fmt.Sprintf("{\"name\":\"Alice\",\"x\":%q}\n", bytes.Repeat([]byte("x"), 100))), 500)

// A reader that never reads uses no memory and slows nobody down.
func TestReaderThatNeverReads(t *testing.T) {
	h := bounded(t, 0)
	before := wait(t, h, "before")
	for range 10 {
		connect(t, h, `{"dictwire":1,"subscribe":"*","follow":true}`)
	}
	holds(t, bound, func() {
		c := connect(t, h, `{"dictwire":1,"topic":"orders","producer":"p"}`)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range 1000 { // 64 MB
			_ = c.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.Write(batch); err != nil {
				t.Error(err)
				return
			}
		}
	})
	slowed(t, before, wait(t, h, "with"))
}

// Producers that are faster than the disk are slowed down.
func TestDiskThatIsSlow(t *testing.T) {
	h := bounded(t, 20*time.Millisecond)
	holds(t, bound, func() {
		for i := range 32 {
			c := connect(t, h, fmt.Sprintf(`{"dictwire":1,"topic":"orders","producer":"p%d"}`, i))
			_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			go func() { _, _ = io.Copy(io.Discard, c) }()
			go func() {
				for err := error(nil); err == nil; {
					_, err = c.Write(batch)
				}
			}()
		}
		time.Sleep(2 * time.Second)
	})
}

// Readers that wait for records of others use little memory and slow nobody down.
func TestIdleReaders(t *testing.T) {
	const readers, each = 2000, 64 << 10
	h := bounded(t, 0)
	before := wait(t, h, "before")
	holds(t, readers*each, func() {
		for i := range readers {
			connect(t, h, fmt.Sprintf(`{"dictwire":1,"subscribe":"others","cursor":"c%d","follow":true}`, i))
		}
		time.Sleep(2 * time.Second)
	})
	slowed(t, before, wait(t, h, "with"))
}
