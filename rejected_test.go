package dictwire_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// rejectedIn returns the rows of the topic _rejected, and their total size.
func rejectedIn(t *testing.T, s store.Store) (rows []*dict.Dict, size int) {
	t.Helper()
	for r := range servertest.Records(t, s, store.Rejected) {
		rows, size = append(rows, r.Dict(t)), size+len(r.Bytes)
	}
	return rows, size
}

// textOf returns the text under a key of a row.
func textOf(d *dict.Dict, key string) string {
	v, _ := d.Get(key)
	s, ok := v.Text()
	if !ok {
		return v.String()
	}
	return s
}

// The first bad records of a connection get rows of their own, and the others share one, so
// that a flood of them does not push out the rows of others.
func TestRejectedFlood(t *testing.T) {
	st := memory.New(nil)
	srv := &dictwire.Server{Store: st}
	addr := start(t, srv)
	say(t, addr, "{\"dictwire\":1,\"producer\":\"honest\"}\n")
	say(t, addr, "{\"precious\":1,,}")
	told := say(t, addr, "{}"+strings.Repeat("\x00x", 300_000))
	if got := strings.Count(told, "\n"); got != 16 {
		t.Errorf("told %d times", got)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	rows, size := rejectedIn(t, st)
	if len(rows) > 1+16+5 || size > 10_000 { // one if it takes less than 5 seconds
		t.Fatalf("%d rows of %d bytes", len(rows), size)
	}
	if got := textOf(rows[0], "bytes"); !strings.Contains(got, "precious") {
		t.Errorf("the first is %v", rows[0])
	}
	var all int64
	for _, row := range rows[17:] {
		v, _ := row.Get("folded")
		n, _ := v.Int()
		all += n
		if textOf(row, "bytes") != "b'x'" || textOf(row, "code") != "malformed" || textOf(row, "truncated") != "True" ||
			!strings.Contains(textOf(row, "error"), fmt.Sprintf("%d records of the connection", n)) {
			t.Errorf("folded into %v", row)
		}
	}
	if all != 299_984 {
		t.Errorf("%d are folded", all)
	}
	if got := srv.Stats(); got.Rejected != 300_001 {
		t.Errorf("%+v", got)
	}
}

// produce sends pickles as a producer, and returns the server's answers.
func produce(t *testing.T, addr, producer, pickles string) string {
	t.Helper()
	c := dial(t, addr)
	if _, err := fmt.Fprintf(c, "{\"dictwire\":1,\"producer\":%q,\"format\":\"pickle\"}\n", producer); err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 4096)
	if _, err := c.Read(read); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(c, pickles)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// The rejections of one peer take a limited part of the space, and the numbers of producers
// are answered all the same.
func TestRejectedQuota(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: -1})
	srv := &dictwire.Server{Store: st}
	addr := start(t, srv)
	chunk := strings.Repeat("{"+strings.Repeat("x", 64<<10)+"}\n", 16)
	for range 30 { // 30 MiB
		say(t, addr, chunk)
	}
	for range 30 { // one row each
		say(t, addr, "{x\n")
	}
	const n = 20_000
	all := produce(t, addr, "p", strings.Repeat(".", n))
	if got := strings.Count(all, `{"rejected":`); got != n || !strings.Contains(all, fmt.Sprintf(`{"ack":%d}`, n)) {
		t.Errorf("%d numbers were rejected, %.200s", got, all[max(0, len(all)-200):])
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, size := rejectedIn(t, st); size > 19<<20 || size < 14<<20 {
		t.Errorf("%d bytes are kept", size)
	}
}

// Rejections that share a row are stored while the connection lasts, so that they are
// neither lost when the server ends nor hidden for long.
func TestRejectedFoldedIsStored(t *testing.T) {
	st := memory.New(nil)
	inBubble(t, &dictwire.Server{Store: st}, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		defer c.Close()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		flood := func(n int) {
			if _, err := io.WriteString(c, strings.Repeat("\x00x", n)+"\x00"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		folded := func() (counts []string) {
			rows, _ := rejectedIn(t, st)
			for _, row := range rows {
				if n, ok := row.Get("folded"); ok {
					counts = append(counts, n.String())
				}
			}
			return counts
		}
		if _, err := io.WriteString(c, "{}"); err != nil {
			t.Error(err)
		}
		flood(16 + 10)
		if got := folded(); len(got) > 0 {
			t.Errorf("folded %v at once", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		flood(20)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		flood(30)
		if got := fmt.Sprint(folded()); got != "[10 20]" {
			t.Errorf("folded %s", got)
		}
		for range 100 { // months
			time.Sleep(50 * time.Minute)
			flood(1)
		}
		if got := folded(); len(got) < 100 || got[2] != "30" {
			t.Errorf("folded %v", got)
		}
	})
}

// Rejections that nobody waits for take at most half of the space, so that they never push
// out acknowledged ones, not even in the next run of the server.
func TestRejectedRoom(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: 4 << 20}) // 2 MiB of it for rejections
	bad := "{" + strings.Repeat("x", 60<<10) + "}\n"
	for range 3 {
		srv := &dictwire.Server{Store: st}
		addr := start(t, srv)
		produce(t, addr, "honest", ".")
		for range 10 {
			say(t, addr, strings.Repeat(bad, 10))
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}
	rows, size := rejectedIn(t, st)
	if got := textOf(rows[0], "producer"); got != "honest" {
		t.Errorf("the first is of %q", got)
	}
	if size > 1<<20+2<<18+3*70<<10 {
		t.Errorf("%d bytes are kept", size)
	}
}

// A producer with more rejections than are kept uses a byte per number, and finally has to
// wait.
func TestRejectedRun(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: -1})
	srv := &dictwire.Server{Store: st}
	addr := start(t, srv)
	bad := string([]byte{0x80, 4, 0x8c, 250}) + strings.Repeat("x", 250) + "." // a string
	for range 4 {                                                              // until it is full
		produce(t, addr, "p", strings.Repeat(bad, 10_000))
	}
	_, before := rejectedIn(t, st)
	const n = 20_000
	produce(t, addr, "q", strings.Repeat(".", n))
	if _, size := rejectedIn(t, st); size-before > n+100<<10 {
		t.Errorf("%d numbers take %d bytes", n, size-before)
	}
	told := produce(t, addr, "r", strings.Repeat(".N.", 60_000))
	if !strings.Contains(told, `"unavailable"`) || !strings.Contains(told, "than there is room for") {
		t.Errorf("told %.300s", told[max(0, len(told)-300):])
	}
	if _, size := rejectedIn(t, st); size > 19<<20 {
		t.Errorf("%d bytes are kept", size)
	}
}
