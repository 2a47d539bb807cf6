package web_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/servertest"
)

// FuzzHTTP checks that the server survives any bytes of HTTP/1.1, HTTP/2 or WebSocket, in
// one piece or two, and ends the connection.
func FuzzHTTP(f *testing.F) {
	const post = "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n"
	var two bytes.Buffer
	two.WriteString(http2.ClientPreface)
	framer, head := http2.NewFramer(&two, nil), bytes.Buffer{}
	enc := hpack.NewEncoder(&head)
	for _, h := range []string{":method POST", ":scheme http", ":authority localhost", ":path /v1/topics/t"} {
		name, value, _ := strings.Cut(h, " ")
		_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, true, []byte(`{"a":1}`))
	for _, seed := range []string{
		post + "Content-Length: 7\r\n\r\n{\"a\":1}" + "GET /v1/topics/*?format=sse&envelope=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		post + "Transfer-Encoding: chunked\r\nIdempotency-Key: k\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n",
		post + "Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00",
		handshake + "\r\n" + sent(0x81, `{"dictwire":1,"topic":"t"}`) + sent(0x01, `{"a":`) + sent(0x89, "x") + sent(0x80, `1}`) + sent(0x88, "\x03\xe8"),
		handshake + "\r\n" + sent(0x81, `{"dictwire":1,"subscribe":"*","follow":true}`),
		"GET /openapi.json HTTP/1.0\r\nHost: [::1]\r\n\r\n",
		two.String(),
	} {
		f.Add([]byte(seed), uint16(20))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		if len(b) > 4<<10 {
			return
		}
		at := int(cut) % (len(b) + 1)
		synctest.Test(t, func(t *testing.T) {
			p := servertest.InMemory(t, &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}, nil)
			p.Say(string(b[:at]), string(b[at:]))
			if after := fmt.Sprint(p.Say(`{"dictwire":1,"topic":"after"}`+"\n{}\n"), p.Stored("after")); !strings.Contains(after, "[{}]") {
				t.Errorf("%q: the next session is told %s", b, after)
			}
		})
	})
}
