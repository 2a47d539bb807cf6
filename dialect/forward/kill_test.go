package forward_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DICTWIRE_TEST_SERVE"); dir != "" {
		serveUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// serveUntilKilled serves a store, and says on standard output where.
func serveUntilKilled(dir string) {
	s, err := log.Open(context.Background(), dir, &log.Options{Reserve: -1})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	srv := &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{forward.Dialect}}
	panic(srv.Serve(dictwire.Endpoint{Listener: l}))
}

// spawn serves a store in a process of its own.
func spawn(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "DICTWIRE_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// chunk is a PackedForward message of three records, with its acknowledgement.
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

// What was acknowledged is there after a kill, and a chunk that comes again until it is
// acknowledged is there once.
func TestKill(t *testing.T) {
	const clients, rounds = 4, 4
	dir := filepath.Join(t.TempDir(), "store")
	next := make([]int, clients) // the chunk that each client has to send
	for range rounds {
		addr, kill := spawn(t, dir)
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
						if next[i]%7 == 3 { // as one that connects again, though it heard of the chunk
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
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"t"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block == nil {
			continue
		}
		for _, r := range b.Block.Records(0) {
			d, err := msgpack.Codec{}.Decode(r, codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			v, _ := d.Get("n")
			n, _ := v.Int()
			times[n]++
		}
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
