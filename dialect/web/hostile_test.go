package web_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// dialed connects and sends bytes.
func dialed(t *testing.T, addr, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, send) // may be refused before all is read
	return c
}

// raw sends bytes and returns the answer, up to the end of the connection. It does not
// half-close.
func raw(t *testing.T, addr, send string) string {
	t.Helper()
	c := dialed(t, addr, send)
	defer c.Close()
	text, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.60q: no end after %q", send, text)
	}
	return string(text)
}

// Requests that proxies interpret differently store exactly what the server reports.
func TestHostileRequests(t *testing.T) {
	const post = "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	const smuggled = "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{\"bad\":1}"
	for name, c := range map[string]struct {
		send   string
		status string // "" for no answer
		stored string
	}{
		"two lengths":                 {post + "Content-Length: 7\r\nContent-Length: 8\r\n\r\n{\"a\":1}" + smuggled, "400", ""},
		"the same length twice":       {post + "Content-Length: 7\r\nContent-Length: 7\r\n\r\n{\"a\":1}" + smuggled, "200", `{"a":1}`},
		"a list of lengths":           {post + "Content-Length: 7, 8\r\n\r\n{\"a\":1}" + smuggled, "400", ""},
		"a negative length":           {post + "Content-Length: -7\r\n\r\n{\"a\":1}", "400", ""},
		"a length with a sign":        {post + "Content-Length: +7\r\n\r\n{\"a\":1}", "400", ""},
		"a huge length":               {post + "Content-Length: 99999999999999999999\r\n\r\n{\"a\":1}", "400", ""},
		"chunked and a length":        {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n" + smuggled, "200", `{"a":1}`},
		"another transfer coding":     {post + "Transfer-Encoding: gzip\r\n\r\n" + smuggled, "501", ""},
		"chunked, written oddly":      {post + "Transfer-Encoding: xchunked\r\n\r\n" + smuggled, "501", ""},
		"chunked twice":               {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501", ""},
		"a space before the colon":    {post + "Content-Length : 7\r\n\r\n{\"a\":1}", "400", ""},
		"a folded header":             {post + "X: a\r\n Content-Length: 7\r\n\r\n", "400", ""},
		"a bare CR":                   {post + "X: a\rContent-Length: 7\r\n\r\n", "400", ""},
		"a NUL":                       {post + "X: a\x00b\r\n\r\n", "400", ""},
		"no host":                     {"POST /v1/topics/t HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "400", ""},
		"two hosts":                   {post + "Host: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "400", ""},
		"a chunk size that overflows": {post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{\"a\":1}", "", ""},
		"a chunk that ends badly":     {post + "Transfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}XX0\r\n\r\n", "", ""},
		"a trailer":                   {post + "Transfer-Encoding: chunked\r\nTrailer: Host\r\n\r\n7\r\n{\"a\":1}\r\n0\r\nHost: evil\r\n\r\n", "200", `{"a":1}`},
		"an absolute target":          {"POST http://evil.example/v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}", "421", ""},
		"a header of 64 KiB":          {post + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431", ""},
		"ten thousand headers":        {post + strings.Repeat("X: x\r\n", 10_000) + "\r\n", "431", ""},
		"HTTP/3.0":                    {"POST /v1/topics/t HTTP/3.0\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "505", ""},
		"HTTP/2, half of its preface": {"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "421", ""},
		"a method that is a pickle":   {"copy / HTTP/1.1\r\nHost: rebound.example\r\nUser-Agent: " + strings.Repeat("x", 105) + ".}U+{\"evil\":1}!K1s.\r\nConnection: close\r\n\r\n", "421", ""},
		"a refusal before the body":   {post + "Expect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 7\r\n\r\n", "415", ""},
		"what is expected is unknown": {post + "Expect: a miracle\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "417", ""},
		"HTTP/1.0":                    {"POST /v1/topics/t HTTP/1.0\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "200", `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			text := raw(t, addr, c.send)
			status := ""
			if fields := strings.Fields(text); len(fields) > 1 {
				status = fields[1]
			}
			if status != c.status || strings.Count(text, "\nDate: ") > 1 {
				t.Errorf("%q, want %s", text, c.status)
			}
			if got := stored(t, s, "*"); got != c.stored {
				t.Errorf("stored %s, want %s", got, c.stored)
			}
		})
	}
}

// chunk returns a chunk of a body: what, n times.
func chunk(what string, n int) string {
	return fmt.Sprintf("%x\r\n%s\r\n", n*len(what), strings.Repeat(what, n))
}

// The server does not wait long for a client that stops at any stage, and stores what is
// complete by then.
func TestSlow(t *testing.T) {
	const post = "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n"
	for name, c := range map[string]struct {
		send   string
		again  string // sent every second from then on
		most   time.Duration
		status string
		stored string
	}{
		"in the first line":       {send: "POST /v1", most: 11 * time.Second, status: "400"},
		"in the head":             {send: post, most: 11 * time.Second},
		"a header each second":    {send: post, again: "X: x\r\n", most: 11 * time.Second},
		"before the body":         {send: post + "Content-Length: 7\r\n\r\n", most: 62 * time.Second, status: "408"},
		"in a record":             {send: post + "Content-Length: 14\r\n\r\n{\"a\":1}{\"b\"", most: 62 * time.Second, status: "408", stored: `{"a":1}`},
		"in a record, by bytes":   {send: post + "Content-Length: 1000\r\n\r\n{\"a\":1}{\"b\":\"", again: "x", most: 63 * time.Second, status: "408", stored: `{"a":1}`},
		"in a chunk":              {send: post + "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":1}", most: 62 * time.Second, status: "408"},
		"white space without end": {send: post + "Transfer-Encoding: chunked\r\n\r\n", again: "1\r\n \r\n", most: 63 * time.Second, status: "408"},
		"a record without end":    {send: post + "Transfer-Encoding: chunked\r\n\r\nd\r\n{\"a\":1}{\"b\":\"\r\n", again: chunk("x", 4<<10), most: 63 * time.Second, status: "408", stored: `{"a":1}`},
		"a key, and no end":       {send: post + "Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n", again: chunk(`{"a":1}`, 32<<10), most: 63 * time.Second, status: "413"},
		"in gzip":                 {send: post + "Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f\x8b", most: 12 * time.Second, status: "408"},
		"with a key":              {send: post + "Idempotency-Key: k\r\nContent-Length: 14\r\n\r\n{\"a\":1}{\"b\"", most: 62 * time.Second, status: "408"},
		"a body that nobody want": {send: post + "Content-Type: image/png\r\nContent-Length: 100\r\n\r\n", most: 3 * time.Second, status: "415"},
		"after a request":         {send: post + "Content-Length: 7\r\n\r\n{\"a\":1}", most: 2*time.Minute + time.Second, status: "200", stored: `{"a":1}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dictwire.Server{Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Dialects: []dictwire.Dialect{web.Dialect}}
			p := servertest.InMemory(t, srv, nil)
			text, took := linger(p, c.send, c.again)
			if took > c.most {
				t.Errorf("%s: ended after %v, want %v", name, took, c.most)
			}
			status := ""
			if fields := strings.Fields(text); len(fields) > 1 {
				status = fields[1]
			}
			if status != c.status {
				t.Errorf("%s: %q, want %s", name, text, c.status)
			}
			if got := stored(t, p.Store, "*"); got != c.stored {
				t.Errorf("%s: stored %s, want %s", name, got, c.stored)
			}
		})
	}
}

// linger sends a text, and another every second, until the server ends the connection. It
// returns the answer and how long that took.
func linger(p *servertest.Peer, send, again string) (told string, took time.Duration) {
	c := p.Dial()
	defer c.Close()
	began := time.Now()
	ended := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(c)
		ended <- string(text)
	}()
	for {
		_, _ = io.WriteString(c, send) // the other goroutine notices the end
		select {
		case told = <-ended:
			return told, time.Since(began)
		case <-time.After(time.Second):
			send = again
		}
	}
}

// Compressed bodies that expand enormously use little memory, and are refused in time.
func TestBombs(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s, MaxMemory: 16 << 20})
	const much = 9 << 20
	for encoding, compressed := range map[string]func(testing.TB, string) string{"gzip": gzipped, "zstd": zstandard, "deflate": deflated} {
		many := compressed(t, strings.Repeat(`{"x":"`+strings.Repeat("x", 1000)+`"}`, much>>10))
		for name, body := range map[string]string{
			"white space":       compressed(t, strings.Repeat(" ", much)),
			"many records":      many,
			"one record":        compressed(t, `{"x":"`+strings.Repeat("x", much)+`"}`),
			"in itself":         compressed(t, many),
			"many members":      strings.Repeat(compressed(t, ""), 10_000),
			"with a key":        many,
			"one, as bytes":     compressed(t, "\xa1\x61x\x5b\x00\x00\x00\x00\x01\x00\x00\x00"+strings.Repeat("\x00", much)),
			"a window of 2^29":  "\x28\xb5\x2f\xfd\x00\x98\x11\x00\x00{}",
			"a content of 2^40": "\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00\x11\x00\x00{}",
		} {
			header := "Content-Encoding: " + encoding
			if name == "with a key" {
				header += "\nIdempotency-Key: k"
			}
			r, text := do(t, addr, ask{body: body, header: header})
			if r.StatusCode < 400 || r.StatusCode >= 500 || len(text) > 2000 {
				t.Errorf("%s, %s: %d %.300s", encoding, name, r.StatusCode, text)
			}
		}
	}
	r, text := do(t, addr, ask{body: `{"a":1}`})
	check(t, "afterwards", r, text, http.StatusOK, `.*"accepted":1,.*`)
}

// A principal that has exceeded its rate by far is told when to try again.
func TestTooFast(t *testing.T) {
	addr := start(t, &dictwire.Server{MaxRecordRate: 10})
	r, text := do(t, addr, ask{body: strings.Repeat(`{"a":1} `, 200)})
	check(t, "at once", r, text, 200, `.*"accepted":200,.*\n`)
	for _, key := range []string{"", "Idempotency-Key: k"} {
		r, text = do(t, addr, ask{body: `{"a":1}`, header: key})
		check(t, "too much", r, text, 429, `.*"title":"Too Many Requests".*anonymous sends more.*"code":"unavailable".*\n`)
		if after, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || after < 11 || after > 20 {
			t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
		}
	}
}
