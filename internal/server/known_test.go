package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/web"
)

// openEndpoint returns a server that speaks more dialects, with an open endpoint.
func openEndpoint(t *testing.T, kinds ...dialect.Kind) (*Server, *endpoint) {
	t.Helper()
	s := &Server{Topic: "default", Dialects: kinds}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	at, err := s.open(Endpoint{Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, at
}

// A peer becomes known by what it has stored or read, and not by what it claims.
func TestKnown(t *testing.T) {
	s, at := openEndpoint(t)
	// A say is a line, in which $next is the last position that was sent, and how many
	// values the answer to it has.
	type say struct {
		line    string
		answers int
	}
	known := func(says ...say) bool {
		near, far := net.Pipe()
		c := dialect.NewConn(near, s.timed.Load())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.serve(c, at, nil)
		}()
		defer func() {
			_ = c.Abort()
			<-ended
			_ = far.Close()
		}()
		next, answers := "", make(chan map[string]any, 8)
		go func() { // all the time: a pipe has no buffer, and who writes to it may wait for who reads
			defer close(answers)
			for in := json.NewDecoder(far); ; {
				var told map[string]any
				if in.Decode(&told) != nil {
					return
				}
				select {
				case answers <- told:
				case <-ended:
				}
			}
		}()
		for _, say := range says {
			if _, err := fmt.Fprintln(far, strings.ReplaceAll(say.line, "$next", next)); err != nil {
				t.Fatal(err)
			}
			for range say.answers {
				told, ok := <-answers
				if !ok || told["error"] != nil {
					t.Fatalf("after %s: %v", say.line, told)
				}
				if p, ok := told["next"].(string); ok {
					next = p
				}
			}
		}
		return c.Known()
	}
	var (
		fresh  = say{`{"dictwire":1,"topic":"t","producer":"p"}`, 2}
		first  = say{`{"dictwire":1,"topic":"t","producer":"q","first":9}`, 2}
		reader = say{`{"dictwire":1,"subscribe":"empty","cursor":"c","follow":true}`, 1}
		commit = say{`{"commit":"$next"}`, 1}
	)
	for _, test := range []struct {
		name string
		says []say
		want bool
	}{
		{"a new producer", []say{fresh}, false},
		{"one that says where it goes on", []say{first}, false},
		{"the same again", []say{first}, false},
		{"one that stores", []say{fresh, {`{"a":1}`, 1}}, true},
		{"one that has stored", []say{fresh}, true},
		{"a new reader", []say{reader}, false},
		{"one whose cursor is there", []say{reader}, false},
		{"one that commits where it began", []say{reader, commit}, false},
		{"one that has read", []say{{`{"dictwire":1,"subscribe":"t","cursor":"c","follow":true}`, 3}, commit}, true},
	} {
		if got := known(test.says...); got != test.want {
			t.Errorf("%s: known %v, want %v", test.name, got, test.want)
		}
	}
}

// A reader over HTTP becomes known as well, from whatever it is sent.
func TestKnownOverHTTP(t *testing.T) {
	for _, form := range []string{"json", "ndjson", "sse", "csv", "cbor"} {
		kind, err := web.Kind(web.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, at := openEndpoint(t, kind)
		record := fmt.Appendf(nil, `{"text":"%01000d"}`, 0)
		take(t, openIntake(t, s), slices.Repeat([][]byte{record}, 1100)...)
		near, far := net.Pipe()
		c := dialect.NewConn(near, s.timed.Load())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.serve(c, at, nil)
		}()
		if _, err := fmt.Fprintf(far, "GET /v1/topics/t?format=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", form); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, far, 1<<20-1); err != nil || c.Known() {
			t.Errorf("%s: after less than 1 MiB: %v, known %v", form, err, c.Known())
		}
		go func() { _, _ = io.Copy(io.Discard, far) }()
		for end := time.Now().Add(10 * time.Second); !c.Known() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if !c.Known() {
			t.Errorf("%s: it has taken all, and is not known", form)
		}
		_ = c.Abort()
		<-ended
		_ = far.Close()
	}
}

// A connection that got no slot leaves nothing of its host behind.
func TestTurnedAwayIsForgotten(t *testing.T) {
	s, at := openEndpoint(t)
	near, far := net.Pipe()
	defer far.Close()
	c := dialect.NewConn(near, s.timed.Load())
	host := s.timed.Load().Turns.Host(c.Host())
	host.Leave() // the connection still has it
	if !s.begin(c) {
		t.Fatal("the server has ended")
	}
	s.turnAway(c, at)
	s.end(c)
	if s.timed.Load().Turns.Host(c.Host()) == host {
		t.Error("the host is remembered, and has given nothing")
	}
}
