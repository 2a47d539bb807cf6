package forward_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/log"
)

func TestMain(m *testing.M) { servertest.Main(m, forward.Dialect) }

// chunk returns a PackedForward message with three records, and its acknowledgement.
func chunk(client, n int) (message, ack string) {
	var entries []byte
	for i := range 3 {
		entries = binary.BigEndian.AppendUint32(append(entries, 0x92, 0xce), 1700000000)
		entries = binary.BigEndian.AppendUint32(append(entries, "\x81\xa1n\xce"...), uint32(client<<20|n<<2|i))
	}
	id := fmt.Sprintf("%02x%06x==\n", client, n)
	quoted := string([]byte{0xd9, byte(len(id))}) + id
	message = "\x93\xa1t" + string(binary.BigEndian.AppendUint16([]byte{0xc5}, uint16(len(entries)))) + string(entries) + "\x81\xa5chunk" + quoted
	return message, "\x81\xa3ack" + quoted
}

// Acknowledged records survive a kill, and a chunk that is repeated until it is
// acknowledged is stored once.
func TestKill(t *testing.T) {
	const clients, rounds = 4, 4
	dir := filepath.Join(t.TempDir(), "store")
	next := make([]int, clients) // the next chunk of each client
	for range rounds {
		addr, kill := servertest.Spawn(t, dir)
		var all sync.WaitGroup
		enough := make(chan struct{}, clients*1000)
		for i := range clients {
			all.Go(func() {
				for {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					for {
						message, ack := chunk(i, next[i])
						_, _ = io.WriteString(c, message)
						got := make([]byte, len(ack))
						if _, err := io.ReadFull(c, got); err != nil {
							break
						}
						if string(got) != ack {
							t.Errorf("acknowledged %q, want %q", got, ack)
						}
						next[i]++
						enough <- struct{}{}
						if next[i]%7 == 3 { // like a client that reconnects although it got the acknowledgement
							_, _ = io.WriteString(c, message)
							break
						}
					}
					_ = c.Close()
				}
			})
		}
		for range 60 {
			<-enough
		}
		kill()
		all.Wait()
	}
	s, err := log.Open(t.Context(), dir, &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	times := map[int64]int{}
	for r := range servertest.Records(t, s, "t") {
		v, _ := r.Dict(t).Get("n")
		n, _ := v.Int()
		times[n]++
	}
	for i := range clients {
		for n := range next[i] {
			for j := range 3 {
				if got := times[int64(i<<20|n<<2|j)]; got != 1 {
					t.Errorf("record %d of chunk %d of client %d is there %d times", j, n, i, got)
				}
			}
		}
	}
	for n, got := range times {
		if got != 1 {
			t.Errorf("record %x is there %d times", n, got)
		}
	}
}
