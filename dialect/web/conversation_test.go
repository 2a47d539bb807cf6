package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/dialecttest"
	"github.com/dictwire/dictwire/internal/servertest"
)

// A request with a key takes effect once all of it has arrived, and not before, whatever
// happens to its connection, HTTP/2 included. The records of a WebSocket are stored as they
// arrive.
func TestConversations(t *testing.T) {
	const head = "POST /v1/topics/t HTTP/1.1\r\nHost: server\r\nIdempotency-Key: k\r\n"
	body := `[{"a":1},` + "\n" + `{"a":2}]`
	var chunked strings.Builder
	for _, part := range []string{body[:3], body[3:11], body[11:]} {
		fmt.Fprintf(&chunked, "%x\r\n%s\r\n", len(part), part)
	}
	for name, send := range map[string]string{
		"a length": fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body),
		"chunks":   head + "Transfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dialecttest.Run(t, dialecttest.Conversation{
				Dialects: []dictwire.Dialect{web.Dialect}, Topic: "t",
				Send: send, Ends: []int{len(send), len(send)}, Records: []string{"{'a': 1}", "{'a': 2}"},
			})
		})
	}

	frame := func(opcode byte, text string) string { // the mask is zero
		return string([]byte{0x80 | opcode, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
	}
	send := "GET /v1/connect HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		frame(1, `{"dictwire":1,"topic":"t","format":"cbor"}`)
	first := send + frame(2, "\xa1\x61a\x01")
	last := first + frame(9, "are you there?") + frame(2, "\xa1\x61a\x02")
	t.Run("WebSocket", func(t *testing.T) {
		dialecttest.Run(t, dialecttest.Conversation{
			Dialects: []dictwire.Dialect{web.Dialect}, Topic: "t",
			Send: last, Ends: []int{len(first), len(last)}, Records: []string{"{'a': 1}", "{'a': 2}"},
		})
	})

	t.Run("HTTP/2", func(t *testing.T) {
		c := dialecttest.Conversation{
			Dialects: []dictwire.Dialect{web.Dialect}, Topic: "t", Multiplexed: true, Silence: 4 * time.Minute, Acked: acked,
			Records: []string{"{'a': 1}", "{'a': 2}", "{'a': 3}", "{'a': 4}", "{'a': 5}"},
		}
		synctest.Test(t, func(t *testing.T) { c.Send = recorded(t) })
		c.Ends = ends(t, c.Send, map[uint32]int{1: 2, 5: 2, 7: 1})
		dialecttest.Run(t, c)
	})
}

// recorded returns what net/http sends over an HTTP/2 connection: two requests with a key,
// one of them in parts, a read between them, and a request without a key.
func recorded(t *testing.T) string {
	p := servertest.InMemory(t, &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}, nil)
	var sent recorder
	client := overHTTP2(t)
	transport := client.Transport.(*http.Transport)
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		sent.Conn = p.Dial()
		return &sent, nil
	}
	for _, c := range []struct {
		method, key string
		parts       []string
	}{
		{"POST", "first", []string{`[{"a":1},{"a":2}]`}},
		{"GET", "", nil},
		{"POST", "second", []string{`{"a":3}{`, `"a":`, `4}`}},
		{"POST", "", []string{`{"a":5}`}},
	} {
		body, parts := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://server/v1/topics/t", body)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(c.parts) == 0:
			r.Body = nil
		case len(c.parts) == 1: // with a Content-Length
			r, _ = http.NewRequestWithContext(t.Context(), c.method, r.URL.String(), strings.NewReader(c.parts[0]))
		default:
			go func() {
				for _, part := range c.parts {
					_, _ = io.WriteString(parts, part)
				}
				_ = parts.Close()
			}()
		}
		if c.key != "" {
			r.Header.Set("Idempotency-Key", c.key)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
			t.Errorf("%v %s %s %s", err, answer.Proto, answer.Status, text)
		}
		synctest.Wait() // wait until all is sent
	}
	transport.CloseIdleConnections()
	return sent.all.String()
}

// A recorder records what is written to a connection.
type recorder struct {
	net.Conn
	all bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.all.Write(b)
	return r.Conn.Write(b)
}

// ends returns, for each record that a client of HTTP/2 sends, the offset at which its
// request ends. records has the number of records of each stream.
func ends(t *testing.T, send string, records map[uint32]int) (all []int) {
	left := strings.NewReader(strings.TrimPrefix(send, http2.ClientPreface))
	for f := http2.NewFramer(nil, left); left.Len() > 0; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			all = append(all, slices.Repeat([]int{len(send) - left.Len()}, records[data.StreamID])...)
		}
	}
	return all
}

// acked returns how many records the answers of an HTTP/2 server acknowledge.
func acked(told string) (n int) {
	f := http2.NewFramer(nil, strings.NewReader(told))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return n
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			var answer struct{ Accepted int }
			_ = json.Unmarshal(data.Data(), &answer) // other answers are reads
			n += answer.Accepted
		}
	}
}
