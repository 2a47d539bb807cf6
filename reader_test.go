package dictwire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// records returns a store with blocks of n bytes.
func records(t *testing.T, blocks, n int) *memory.Store {
	t.Helper()
	s := memory.New(nil)
	for range blocks {
		b := &store.Block{Topic: "t", Codec: "json"}
		b.Add(fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", n)))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return s
}

// ready reads one line, the answer to a reader's greeting.
func ready(t *testing.T, c net.Conn) {
	t.Helper()
	for b := []byte{0}; b[0] != '\n'; {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
}

// drip reads byte by byte until the end.
func drip(c net.Conn, every time.Duration) string {
	var all []byte
	var b [1]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return string(all)
		}
		all = append(all, b[0])
		time.Sleep(every)
	}
}

// A reader that is receiving records is not idle, however long it takes.
func TestSlowReaderIsNotIdle(t *testing.T) {
	inBubble(t, &dictwire.Server{Store: records(t, 5, 100), IdleTimeout: 20 * time.Second}, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		ready(t, c)
		if got := drip(c, 200*time.Millisecond); !strings.Contains(got, `{"end":`) {
			t.Errorf("the reader got %s", got)
		}
		_ = c.Close()
	})
}

// A reader that has received everything, and does not say that it is alive, is idle.
func TestReaderBehindTheEndIsIdle(t *testing.T) {
	inBubble(t, &dictwire.Server{Store: records(t, 1, 10), IdleTimeout: 20 * time.Second}, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t","cursor":"c"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		all, err := io.ReadAll(c)
		if took := time.Since(began); err != nil || !strings.Contains(string(all), `"code":"idle"`) || took > 25*time.Second {
			t.Errorf("after %v: %s, %v", took, all, err)
		}
		_ = c.Close()
	})
}

// A slow reader does not delay the end of the server.
func TestShutdownWithSlowReader(t *testing.T) {
	srv := &dictwire.Server{Store: records(t, 1, 1000)}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		ready(t, c)
		read := make(chan string, 1)
		go func() { read <- drip(c, 500*time.Millisecond) }()
		time.Sleep(time.Second)
		began := time.Now()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("Shutdown takes %v", took)
		}
		<-read
		_ = c.Close()
	})
}

// Slow readers give their memory up when others wait for it.
func TestSlowReadersHoldNoMemory(t *testing.T) {
	inBubble(t, &dictwire.Server{Store: records(t, 1, 400_000), MaxMemory: 1 << 20}, func(t *testing.T, l *pipeListener) {
		began := time.Now()
		var dripping sync.WaitGroup
		defer dripping.Wait()
		for range 3 { // one gets the memory, another the lane
			c := l.dial()
			defer c.Close()
			if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t"}`+"\n"); err != nil {
				t.Fatal(err)
			}
			ready(t, c)
			ready(t, c) // the line before the records
			dripping.Go(func() { drip(c, time.Second) })
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the third reader waits for %v", took)
		}
	})
}

// A panicking store panics when it is read.
type panicking struct{ *memory.Store }

func (panicking) Read(context.Context, store.Position, store.ReadOptions) iter.Seq2[store.ReadBatch, error] {
	panic("injected")
}

// A panic ends a reader's connection, not the process.
func TestPanicWhileReading(t *testing.T) {
	addr := start(t, &dictwire.Server{Store: panicking{memory.New(nil)}})
	s := greet(t, addr, `{"dictwire":1,"subscribe":"t"}`)
	s.hear(`\{"dictwire":1,"next":".*"\}`, exact(`{"error":"internal error","code":"internal"}`))
	s.end()
}

// The time limit starts again for each record, even if no record is the last one of its
// batch.
func TestEachRecordHasItsTime(t *testing.T) {
	srv := &dictwire.Server{RecordTimeout: 20 * time.Second}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		answered := make(chan string, 1)
		go func() { answered <- drip(c, 0) }()
		text := `{"a":`
		for range 60 {
			if _, err := io.WriteString(c, text); err != nil {
				break
			}
			time.Sleep(time.Second)
			text = `1}{"a":`
		}
		if _, err := io.WriteString(c, `1}`); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		if got := <-answered; got != "" {
			t.Errorf("the server says %s", got)
		}
	})
}

// The topics that subscriptions name are limited, per subscription and per address, and are
// given back.
func TestFollowedTopics(t *testing.T) {
	addr := start(t, new(dictwire.Server))
	subscribe := func(first, n int) *session {
		topics := make([]string, n)
		for i := range topics {
			topics[i] = fmt.Sprintf(`"%x.%x"`, first, i)
		}
		return greet(t, addr, `{"dictwire":1,"subscribe":[`+strings.Join(topics, ",")+`],"follow":true}`)
	}
	s := subscribe(0, 257)
	s.hear(`\{"error":"a subscription to 257 topics, want at most 256; .*","code":"limit"\}`)
	s.end()
	s = greet(t, addr, `{"dictwire":1,"subscribe":[`+strings.Repeat(`"t",`, 999)+`"t"]}`)
	s.hear(`\{"dictwire":1,.*`)

	for i := range 64 {
		s = subscribe(i, 256)
		s.hear(`\{"dictwire":1,.*`)
	}
	more := subscribe(64, 256)
	more.hear(`\{"error":"too many topics are subscribed to: 16384, .*","code":"unavailable","retry_ms":5000\}`)
	more.end()
	few := subscribe(65, 8)
	few.hear(`\{"dictwire":1,.*`)
	_ = s.Conn.(*net.TCPConn).SetLinger(0) // a peer that has only closed its side may still read
	_ = s.Close()
	for { // until the server has noticed
		more = subscribe(64, 256)
		line, err := more.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, `{"dictwire":1,`) {
			break
		}
		_ = more.Close()
		time.Sleep(10 * time.Millisecond)
	}
}

// Trimmed records do not matter to a reader from the earliest record; a reader from a
// position is told.
func TestReadAfterTrim(t *testing.T) {
	st := memory.New(nil)
	for range 3 {
		b := &store.Block{Topic: "t", Codec: "json"}
		b.Add([]byte("{}"))
		if r := st.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	at, err := st.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := store.Position{Tag: at.Tag, Block: at.Block - 3}
	at.Block--
	if err := st.Trim(t.Context(), "t", at); err != nil {
		t.Fatal(err)
	}
	addr := start(t, &dictwire.Server{Store: st})
	for from, want := range map[string]string{"": "", `,"from":"earliest"`: "", `,"cursor":"c"`: "", `,"from":"` + first.String() + `"`: "skipped"} {
		s := greet(t, addr, `{"dictwire":1,"subscribe":"t"`+from+`}`)
		all := ""
		for err := error(nil); err == nil && !strings.Contains(all, `"end"`); {
			var line string
			line, err = s.r.ReadString('\n')
			all += line
		}
		if strings.Contains(all, "skipped") != (want != "") || !strings.Contains(all, `"lengths":[2]`) {
			t.Errorf("%s: %s", from, all)
		}
	}
}

// A reader that follows is told progress for as long as nothing comes, also by a store that
// doesn't alert.
func TestReaderProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servertest.InMemory(t, &dictwire.Server{Store: memory.New(nil)}, nil).Dial()
		defer c.Close()
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"a","follow":true}`+"\n"); err != nil {
			t.Fatal(err)
		}
		for r, began := bufio.NewReader(c), time.Now(); time.Since(began) < time.Minute; {
			_ = c.SetReadDeadline(time.Now().Add(2 * wire.BeatEvery))
			if line, err := r.ReadString('\n'); err != nil {
				t.Fatalf("after %v: %q, %v", time.Since(began), line, err)
			}
		}
	})
}
