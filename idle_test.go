package dictwire_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/store/log"
)

// An idle connection has one goroutine with a small stack, and no buffer: native sessions,
// whether they write or read, and those of the other dialects, HTTP/1 between requests
// included. The measurement includes the client's end of the connection.
func TestIdleConns(t *testing.T) {
	const (
		conns = 300      // of each kind
		most  = 10 << 10 // bytes of each, without the race detector's
	)
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := &dictwire.Server{Store: s, MaxHostConns: -1, Dialects: []dictwire.Dialect{forward.Dialect, web.Dialect}}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer func() { _ = srv.Close(); <-done }()

	open := func(before, hello string, answers int) net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		r := bufio.NewReaderSize(c, 256)
		answer := func() (string, error) { return r.ReadString('\n') }
		if before != "" {
			_, _ = io.WriteString(c, before)
			for line := ""; line != "\r\n"; {
				if line, err = answer(); err != nil {
					t.Fatal(err)
				}
			}
			answer = func() (string, error) { return readMessage(r) }
		}
		_, _ = io.WriteString(c, hello)
		for ; answers > 0; answers-- {
			if line, err := answer(); err != nil || strings.Contains(line, "code") {
				t.Fatalf("%s: %v", line, err)
			}
		}
		return c
	}
	inUse := func() int64 {
		var m runtime.MemStats
		for range 4 { // each may halve the stacks, the second one empties the pools
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse + m.HeapAlloc)
	}
	const (
		reader  = `{"dictwire":1,"subscribe":"b","follow":true,"from":"latest","cursor":"c000"}` + "\n"
		upgrade = "GET /v1/connect HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	)
	type kind struct {
		name    string
		before  string // sent first, and answered by a head of HTTP
		hello   string
		answers int // lines or messages
		record  string
		conns   []net.Conn
	}
	// Each kind is measured alone: stacks of two kinds that lie in one span are only given
	// back with both.
	measure := func(k kind) {
		began := runtime.NumGoroutine()
		for i := range conns {
			c := open(k.before, strings.Replace(k.hello, "000", fmt.Sprintf("%03d", i), 1), k.answers)
			if _, err := io.WriteString(c, k.record); err != nil {
				t.Fatal(err)
			}
			k.conns = append(k.conns, c)
		}
		time.Sleep(3 * time.Second) // a connection gives its buffer back after a second
		// A giver rests after five seconds.
		for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > began+conns; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines for %d idle connections", runtime.NumGoroutine()-began, conns)
			}
		}
		before, routines := inUse(), runtime.NumGoroutine()
		for _, c := range k.conns {
			_ = c.Close()
		}
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > routines-conns && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		each, goroutines := (before-inUse())/conns, routines-runtime.NumGoroutine()
		t.Logf("%s: %d bytes and %.2f goroutines", k.name, each, float64(goroutines)/conns)
		if each > most {
			t.Errorf("%s that is idle costs %d bytes, want at most %d", k.name, each, most)
		}
		if goroutines > conns {
			t.Errorf("%s that is idle has %.2f goroutines", k.name, float64(goroutines)/conns)
		}
	}

	var readers []net.Conn
	for i := range 20 {
		readers = append(readers, open("", strings.Replace(reader, "000", fmt.Sprint(conns+i), 1), 2))
	}
	time.Sleep(6 * time.Second) // they rest, too
	for _, k := range []kind{
		{name: "a session that reads, in a WebSocket", before: upgrade, hello: message(strings.TrimSuffix(reader, "\n")), answers: 2},
		{name: "a session that writes, in a WebSocket", before: upgrade, hello: message(`{"dictwire":1,"topic":"a"}`), answers: 2, record: message(`{"a":1}`)},
		{name: "a session that reads", hello: reader, answers: 2},
		{name: "a session that writes", hello: `{"dictwire":1,"topic":"a","producer":"p000"}` + "\n", answers: 2, record: `{"a":1}`},
		{name: "a sequence", record: `{"a":1}`},
		{name: "frames", record: "\x00\x00\x00\x07" + `{"a":1}`},
		{name: "Fluent Forward", record: "\x93\xa1a\x00\x81\xa1a\x01"},
		{name: "HTTP/1", hello: "POST /v1/topics/a HTTP/1.1\r\nHost: server\r\nContent-Length: 7\r\n\r\n" + `{"a":1}`, answers: 1},
	} {
		measure(k)
	}

	w := open("", `{"dictwire":1,"topic":"b"}`+"\n"+`{"b":1}`, 2)
	for _, c := range readers {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		var got strings.Builder
		for r := bufio.NewReader(c); !strings.Contains(got.String(), `{"b":1}`); {
			line, err := r.ReadString('}')
			if got.WriteString(line); err != nil {
				t.Fatalf("a reader that has been idle got %s: %v", &got, err)
			}
		}
	}
	_ = w.Close()
}

// message returns a message of WebSocket with a short text, and a mask of zeros.
func message(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}

// readMessage reads a message of WebSocket from a server.
func readMessage(r *bufio.Reader) (string, error) {
	head := make([]byte, 2)
	_, err := io.ReadFull(r, head)
	n := int(head[1])
	if n == 126 && err == nil {
		_, err = io.ReadFull(r, head)
		n = int(head[0])<<8 | int(head[1])
	}
	if err != nil {
		return "", err
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return string(text), err
}
