package siege_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Attacks over HTTP/1.1, HTTP/2 and WebSockets.

// post is the beginning of a request that posts to a topic.
const post = "POST /v1/topics/hostile HTTP/1.1\r\nHost: localhost\r\n"

// request returns a request with a body.
func request(header, body string) []byte {
	return fmt.Appendf(nil, "%s%sContent-Length: %d\r\n\r\n%s", post, header, len(body), body)
}

// httpJunk has unusable requests, and requests that cost much more than their size.
var httpJunk = func() [][]byte {
	packed := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	const gzipped = "Content-Encoding: gzip\r\n"
	many := packed(strings.Repeat(`{"x":"`+strings.Repeat("x", 1000)+`"}`, 8<<10))
	return [][]byte{
		request(gzipped, many),
		request(gzipped+"Idempotency-Key: bomb\r\n", many),
		request(gzipped, packed(`{"x":"`+strings.Repeat("x", 32<<20)+`"}`)),
		request(gzipped, packed(many)),
		request("Idempotency-Key: refused\r\n", "["+strings.Repeat("1,", 5000)+"1]"),
		request("Content-Length: 1\r\n", `{"a":1}`+post),
		[]byte(post + strings.Repeat("X: x\r\n", 10_000) + "\r\n"),
		[]byte(post + "X: " + strings.Repeat("x", 64<<10)),
		[]byte(post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + strings.Repeat(" ", 64<<10)),
		bytes.Repeat(request("", `{"a":1,"a":2}`), 100),
		bytes.Repeat([]byte("GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 500),
	}
}()

// keyed returns requests, each with a key that the store has to remember.
func keyed(h *hostile) (all []byte) {
	for range 20 {
		all = append(all, request(fmt.Sprintf("Idempotency-Key: %x\r\n", h.Uint64()), `{"a":1}`)...)
	}
	return all
}

// httpSlow has beginnings of requests that are never completed.
var httpSlow = [][]byte{
	[]byte(post),
	[]byte(post + "Content-Length: 1000\r\n\r\n{\"a\":1}{\"b\":\"" + strings.Repeat("x", 500)),
	[]byte(post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n \r\n", 100)),
	[]byte(post + "Idempotency-Key: slow\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("8\r\n{\"a\":1}\n\r\n", 100)),
}

// http2Floods has frames that cost an HTTP/2 server more than the sender.
var http2Floods = func() [][]byte {
	flood := func(each func(f *http2.Framer, head []byte, i uint32)) []byte {
		var head, all bytes.Buffer
		enc := hpack.NewEncoder(&head)
		for _, field := range []string{":method POST", ":scheme http", ":authority localhost", ":path /v1/topics/hostile"} {
			name, value, _ := strings.Cut(field, " ")
			_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
		all.WriteString(http2.ClientPreface)
		f := http2.NewFramer(&all, nil)
		_ = f.WriteSettings()
		for i := range uint32(1000) {
			each(f, head.Bytes(), 2*i+1)
		}
		return all.Bytes()
	}
	open := func(f *http2.Framer, head []byte, id uint32) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true})
	}
	return [][]byte{
		flood(open),
		flood(func(f *http2.Framer, head []byte, id uint32) {
			open(f, head, id)
			_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}),
		flood(func(f *http2.Framer, head []byte, id uint32) {
			open(f, head, id)
			_ = f.WriteData(id, true, []byte(`{"a":1,"a":2}`))
		}),
		flood(func(f *http2.Framer, head []byte, id uint32) {
			if id == 1 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head})
				return
			}
			_ = f.WriteContinuation(1, false, bytes.Repeat([]byte("\x00\x01x\x01x"), 20))
		}),
		flood(func(f *http2.Framer, _ []byte, _ uint32) { _ = f.WritePing(false, [8]byte{}) }),
		flood(func(f *http2.Framer, _ []byte, _ uint32) { _ = f.WriteSettings() }),
	}
}()

// sockets has WebSockets that break rules or send nothing useful.
var sockets = func() [][]byte {
	const handshake = "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	frame := func(first byte, text string) string { // the mask is zero
		return string([]byte{first, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
	}
	hello := handshake + frame(0x81, `{"dictwire":1,"topic":"hostile"}`)
	return [][]byte{
		[]byte(handshake + strings.Repeat(frame(0x89, "x"), 2000)),
		[]byte(hello + strings.Repeat(frame(0x89, "x"), 2000)),
		[]byte(hello + frame(0x01, `{"a":"`) + strings.Repeat(frame(0x00, "x"), 2000)),
		[]byte(hello + "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00{\"a\":\"" + strings.Repeat("x", 64<<10)),
		[]byte(hello + "\x81\x07{\"a\":1}"),
		[]byte(hello + strings.Repeat(frame(0x81, `{"a":1,"a":2}`), 100)),
	}
}()
