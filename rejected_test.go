package dictwire_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// rejectedIn returns the rows of the topic _rejected, and how many bytes they have.
func rejectedIn(t *testing.T, s store.Store) (rows []*dict.Dict, size int) {
	t.Helper()
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{store.Rejected}}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block == nil {
			continue
		}
		for _, record := range b.Block.Clone().Records(0) {
			d, err := cbor.Codec{}.Decode(record, codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			rows, size = append(rows, d), size+len(record)
		}
	}
	return rows, size
}

// textOf returns what a row says under a key.
func textOf(d *dict.Dict, key string) string {
	v, _ := d.Get(key)
	s, ok := v.Text()
	if !ok {
		return v.String()
	}
	return s
}

// The first bad records of a connection are rows of their own, and the others one, so
// that a flood of them leaves what others have sent.
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
	if len(rows) != 1+16+1 || size > 10_000 {
		t.Fatalf("%d rows of %d bytes", len(rows), size)
	}
	last := rows[len(rows)-1]
	if got := textOf(rows[0], "bytes"); !strings.Contains(got, "precious") {
		t.Errorf("the first is %v", rows[0])
	}
	if textOf(last, "folded") != "299984" || textOf(last, "bytes") != "b'x'" || textOf(last, "code") != "malformed" ||
		textOf(last, "truncated") != "True" || !strings.Contains(textOf(last, "error"), "299984 records of the connection") {
		t.Errorf("the last is %v", last)
	}
	if got := srv.Stats(); got.Rejected != 300_001 {
		t.Errorf("%+v", got)
	}
}

// What one peer has rejected takes a bounded part of the room, and the numbers of
// producers are answered all the same.
func TestRejectedQuota(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: -1})
	srv := &dictwire.Server{Store: st}
	addr := start(t, srv)
	chunk := strings.Repeat("{"+strings.Repeat("x", 64<<10)+"}\n", 16)
	for range 30 { // 30 MiB
		say(t, addr, chunk)
	}
	for range 30 { // a row each
		say(t, addr, "{x\n")
	}
	c := dial(t, addr)
	if _, err := io.WriteString(c, "{\"dictwire\":1,\"producer\":\"p\",\"format\":\"pickle\"}\n"); err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 4096)
	if _, err := c.Read(read); err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	go func() {
		_, _ = io.WriteString(c, strings.Repeat(".", n))
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(all), `{"rejected":`); got != n || !strings.Contains(string(all), fmt.Sprintf(`{"ack":%d}`, n)) {
		t.Errorf("%d numbers were rejected, %.200s", got, all[max(0, len(all)-200):])
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, size := rejectedIn(t, st); size > 19<<20 || size < 14<<20 {
		t.Errorf("%d bytes are kept", size)
	}
}
