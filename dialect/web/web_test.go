package web_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/filter"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == filter.Command {
		if err := filter.Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	servertest.Main(m, web.Dialect)
}

// start runs a server that speaks HTTP, and returns its address.
func start(t testing.TB, srv *dictwire.Server) string {
	t.Helper()
	if srv.Dialects == nil {
		srv.Dialects = []dictwire.Dialect{web.Dialect}
	}
	return servertest.Start(t, srv)
}

// An ask is a request of a test.
type ask struct {
	method string // "" means POST if there is a body, otherwise GET
	path   string // "" means /v1/topics/t
	body   string
	header string // lines
}

// An answer is an HTTP response without its body.
type answer struct {
	StatusCode int
	Header     http.Header
}

// do sends a request over a connection of its own, and returns the answer.
func do(t testing.TB, addr string, a ask) (answer, string) {
	t.Helper()
	r, text, err := try(t.Context(), addr, a)
	if err != nil {
		t.Fatal(err)
	}
	return r, text
}

func try(ctx context.Context, addr string, a ask) (answer, string, error) {
	if a.method == "" {
		a.method = http.MethodGet
		if a.body != "" {
			a.method = http.MethodPost
		}
	}
	if a.path == "" {
		a.path = "/v1/topics/t"
	}
	r, err := http.NewRequestWithContext(ctx, a.method, "http://"+addr+a.path, strings.NewReader(a.body))
	if err != nil {
		return answer{}, "", err
	}
	for line := range strings.Lines(a.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Add(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header}, string(text), err
}

// stored returns the records of a topic as Python literals.
func stored(t testing.TB, s store.Store, topic string) string {
	t.Helper()
	var all []string
	for r := range servertest.Records(t, s, topic) {
		text := string(r.Bytes)
		if r.Codec != "json" {
			text = r.Dict(t).String()
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// check compares the status of an answer, and matches all of its body with a pattern.
func check(t testing.TB, name string, r answer, text string, status int, pattern string) {
	t.Helper()
	if r.StatusCode != status || !regexp.MustCompile(`(?s)\A(?:`+pattern+`)\z`).MatchString(text) {
		t.Errorf("%s: %d %s\nwant %d %s", name, r.StatusCode, text, status, pattern)
	}
}

func packed(t testing.TB, w io.WriteCloser, to *bytes.Buffer, text string) string {
	t.Helper()
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return to.String()
}

func gzipped(t testing.TB, text string) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, w, &b, text)
}

func zstandard(t testing.TB, text string) string {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, w, &b, text)
}

func deflated(t testing.TB, text string) string {
	var b bytes.Buffer
	return packed(t, zlib.NewWriter(&b), &b, text)
}

// encoded returns a dictionary in a format.
func encoded(t testing.TB, c codec.Codec, d *dict.Dict) string {
	t.Helper()
	out, err := c.Append(nil, d)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A posted dictionary is stored in its topic, and the answer reports the outcome.
func TestPost(t *testing.T) {
	const next = `,"next":"\w+\.\d+\.\d+"`
	problem := func(status int, rest string) string {
		return fmt.Sprintf(`\{"type":"about:blank","title":"[^"]+","status":%d,%s\}`+"\n", status, rest)
	}
	accepted := func(n int) string {
		return fmt.Sprintf(`\{"accepted":%d,"rejections":0,"rejected":\[\]%s\}`+"\n", n, next)
	}
	pair := dict.Of("a", 1)
	set, err := dict.SetOf(dict.Int(1))
	if err != nil {
		t.Fatal(err)
	}
	rich := dict.Of("a", set)
	const asJSON = "Content-Type: application/json"
	var flated bytes.Buffer
	flater, _ := flate.NewWriter(&flated, 9)
	for _, c := range []struct {
		name   string
		ask    ask
		status int
		answer string
		stored string
	}{
		{"one", ask{body: `{"a":1}`}, 200, accepted(1), `{"a":1}`},
		{"one, as curl -d sends it", ask{body: `{"a":1}`, header: "Content-Type: application/x-www-form-urlencoded"}, 200, accepted(1), `{"a":1}`},
		{"an array", ask{body: ` [{"a":1}, {"b":2} ]`, header: asJSON}, 200, accepted(2), `{"a":1} {"b":2}`},
		{"lines", ask{body: "{\"a\":1}\n{\"b\":2}\n", header: "Content-Type: application/x-ndjson"}, 200, accepted(2), `{"a":1} {"b":2}`},
		{"a charset", ask{body: `{"a":1}`, header: asJSON + `; charset="UTF-8"`}, 200, accepted(1), `{"a":1}`},
		{"a kind of JSON", ask{body: `{"a":1}`, header: "Content-Type: application/cloudevents+json"}, 200, accepted(1), `{"a":1}`},
		{"CBOR", ask{body: encoded(t, cbor.Codec{}, rich), header: "Content-Type: application/cbor"}, 200, accepted(1), `{'a': {1}}`},
		{"CBOR, sniffed", ask{body: strings.Repeat(encoded(t, cbor.Codec{}, pair), 2)}, 200, accepted(2), `{'a': 1} {'a': 1}`},
		{"MessagePack", ask{body: encoded(t, msgpack.Codec{}, pair), header: "Content-Type: application/msgpack"}, 200, accepted(1), `{'a': 1}`},
		{"a pickle", ask{body: encoded(t, pickle.Codec{}, rich), header: "Content-Type: application/octet-stream"}, 200, accepted(1), `{'a': {1}}`},
		{"a literal", ask{body: encoded(t, python.Codec{}, rich), header: "Content-Type: text/x-python"}, 200, accepted(1), `{'a': {1}}`},
		{"what would be a greeting", ask{body: `{"dictwire":1}`}, 200, accepted(1), `{"dictwire":1}`},
		{"gzip", ask{body: gzipped(t, `{"a":1}`), header: "Content-Encoding: gzip"}, 200, accepted(1), `{"a":1}`},
		{"gzip of two members", ask{body: gzipped(t, `{"a":1}`) + gzipped(t, `{"b":2}`), header: "Content-Encoding: gzip"}, 200, accepted(2), `{"a":1} {"b":2}`},
		{"deflate", ask{body: deflated(t, `{"a":1}`), header: "Content-Encoding: deflate"}, 200, accepted(1), `{"a":1}`},
		{"deflate without zlib", ask{body: packed(t, flater, &flated, `{"a":1}`), header: "Content-Encoding: deflate"}, 200, accepted(1), `{"a":1}`},
		{"zstd", ask{body: zstandard(t, `{"a":1}`), header: "Content-Encoding: zstd"}, 200, accepted(1), `{"a":1}`},

		{
			"one of several is bad",
			ask{body: `[{"a":1},2,{"b":2}]`},
			200, `\{"accepted":2,"rejections":1,"rejected":\[\{"index":1,"code":"not_a_dictionary","error":"json: want a dictionary, got a number .*","at":9\}\]` + next + "\\}\n", `{"a":1} {"b":2}`,
		},
		{"the only one is bad", ask{body: `{"a":1,"a":2}`}, 422, problem(422, `"detail":".*comes twice.*","code":"duplicate_key","at":7`), ``},
		{
			"where the next begins is not certain",
			ask{body: `{"a":1}` + "\n" + `{"b":` + "\n" + `tru}` + "\n" + `{"c":3}`},
			400, problem(400, `"detail":".*the sequence ends here.*","code":"malformed","at":14,"accepted":1,"rejections":1,"rejected":\[\{"index":1,.*\}\]`+next), `{"a":1}`,
		},
		{"a list", ask{body: `[1]`, header: asJSON}, 422, problem(422, `"detail":".*","code":"not_a_dictionary","at":0`), ``},
		{"a list, sniffed", ask{body: `[1]`}, 400, problem(400, `"detail":".*","code":"not_a_dictionary","at":0`), ``},
		{"cut off", ask{body: `{"a":1`}, 422, problem(422, `"detail":".*","code":"truncated".*`), ``},
		{"a form", ask{body: `a=1&b=2`, header: "Content-Type: application/x-www-form-urlencoded"}, 415, problem(415, `"detail":".*","code":"unsupported","at":0`), ``},
		{"a pickle that calls", ask{body: "\x80\x04cos\nsystem\n(S'true'\ntR."}, 422, problem(422, `"detail":".*os\.system.*","code":"unsafe_pickle"`), ``},
		{"nothing", ask{method: "POST"}, 400, problem(400, `"detail":"the body is empty; .*","code":"malformed"`), ``},
		{"white space", ask{body: " \n"}, 400, problem(400, `"detail":"the body is empty; .*","code":"malformed"`), ``},
		{"a picture", ask{body: `{"a":1}`, header: "Content-Type: image/png"}, 415, problem(415, `"detail":"the Content-Type \\"image/png\\" .*","code":"unsupported"`), ``},
		{"another charset", ask{body: `{"a":1}`, header: asJSON + "; charset=utf-16"}, 415, problem(415, `.*`), ``},
		{"the server's own topic", ask{path: "/v1/topics/_rejected", body: `{"a":1}`}, 404, problem(404, `.*"code":"topic"`), ``},
		{"no topic", ask{path: "/v1/topics/a%20b", body: `{"a":1}`}, 404, problem(404, `.*"code":"topic"`), ``},
		{"another path", ask{path: "/topics", body: `{"a":1}`}, 404, problem(404, `.*"code":"unsupported"`), ``},
		{"another method", ask{method: "PUT", body: `{"a":1}`}, 405, problem(405, `.*"code":"unsupported"`), ``},
		{"another encoding", ask{body: `{"a":1}`, header: "Content-Encoding: br"}, 415, problem(415, `.*"code":"unsupported"`), ``},
		{"two encodings", ask{body: `{"a":1}`, header: "Content-Encoding: gzip, gzip"}, 415, problem(415, `.*"code":"unsupported"`), ``},
		{"no gzip", ask{body: `{"a":1}{"a":1}`, header: "Content-Encoding: gzip"}, 400, problem(400, `.*"code":"malformed"`), ``},
		{"no zstd", ask{body: `{"a":1}{"a":1}`, header: "Content-Encoding: zstd"}, 400, problem(400, `.*"code":"malformed"`), ``},
		{"half of gzip", ask{body: gzipped(t, `{"a":1}`)[:14], header: "Content-Encoding: gzip"}, 400, problem(400, `.*"code":"truncated"`), ``},
		{"a bomb", ask{body: gzipped(t, strings.Repeat(" ", 9<<20)+`{"a":1}`), header: "Content-Encoding: gzip\n" + asJSON}, 413, problem(413, `.*200 times.*`), ``},
		{"zstd that wants much memory", ask{body: "\x28\xb5\x2f\xfd\x00\xa0" + strings.Repeat("x", 32), header: "Content-Encoding: zstd"}, 413, problem(413, `.*window.*`), ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			r, text := do(t, addr, c.ask)
			check(t, c.name, r, text, c.status, c.answer)
			if got := stored(t, s, "*"); got != c.stored {
				t.Errorf("%s: stored %s, want %s", c.name, got, c.stored)
			}
			if kind := r.Header.Get("Content-Type"); c.status >= 400 && kind != "application/problem+json" || c.status == 200 && kind != "application/json" {
				t.Errorf("%s: %s", c.name, kind)
			}
		})
	}
}

// Of many rejections, the first hundred are listed, and all are counted.
func TestManyRejections(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	_, text := do(t, addr, ask{body: "[{}" + strings.Repeat(",0", 250) + "]"})
	if !strings.HasPrefix(text, `{"accepted":1,"rejections":250,`) || strings.Count(text, `"index":`) != 100 {
		t.Errorf("%.200s … with %d", text, strings.Count(text, `"index":`))
	}
}

// A handler's replies are the body of the answer: the reply to a single dictionary as it
// is, those to several if the request accepts lines.
func TestReplies(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if n, ok := r.Dict().Get("n"); ok {
			n, _ := n.Int()
			return dict.Of("twice", 2*n, "dialect", r.Dialect), nil
		}
		return nil, dictwire.Reject("no_n", "want n")
	})})
	const lines = "Accept: application/x-ndjson"
	for _, c := range []struct {
		ask    ask
		status int
		answer string
	}{
		{ask{body: `{"n":4}`}, 200, `\{"twice":8,"dialect":"http"\}` + "\n"},
		{ask{body: `{"n":4}{"n":5}`}, 200, `\{"accepted":2,.*`},
		{ask{body: `{"m":4}`}, 422, `.*"detail":"want n","code":"handler".*\}` + "\n"},
		{ask{body: `{"n":4}{"m":5}{"n":6}`, header: lines}, 200, `\{"twice":8,.*\}\n\{"error":"want n","code":"handler".*\}\n\{"twice":12,.*\}\n`},
		{ask{body: strings.Repeat(`{"n":4}`, 20_000), header: lines}, 200, `.*`},
	} {
		r, text := do(t, addr, c.ask)
		check(t, fmt.Sprintf("%.40s", c.ask.body), r, text, c.status, c.answer)
		if n := strings.Count(c.ask.body, `"n"`); c.ask.header == lines && strings.Count(text, "twice") != n {
			t.Errorf("%d replies, want %d", strings.Count(text, "twice"), n)
		}
	}
}

// A page of another origin can't write, nor can one whose name resolves to the loopback
// address.
func TestGuard(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	const body = `{"a":1}`
	for _, c := range []struct {
		header string
		status int
	}{
		{"Host: rebound.example", 421},
		{"Host: rebound.example\nOrigin: http://rebound.example", 421},
		{"Host: localhost.example", 421},
		{"Host: 127.0.0.1.example", 421},
		{"Host: 192.168.0.1", 421},
		{"Host: [::2]:80", 421},
		{"Origin: http://evil.example", 403},
		{"Origin: null", 403},
		{"Origin: http://127.0.0.1:1", 403},
		{"Sec-Fetch-Site: cross-site", 403},
		{"Sec-Fetch-Site: same-site\nOrigin: http://" + addr, 403},
	} {
		for _, kind := range []string{"text/plain", "application/json", "application/x-www-form-urlencoded"} {
			r, text := do(t, addr, ask{body: body, header: c.header + "\nContent-Type: " + kind})
			check(t, c.header, r, text, c.status, `.*"code":"forbidden"\}`+"\n")
		}
	}
	if got := stored(t, s, "*"); got != "" {
		t.Fatalf("stored %s", got)
	}
	for _, header := range []string{
		"Host: localhost:1", "Host: LOCALHOST.", "Host: app.localhost", "Host: [::1]:99", "Host: 127.8.9.10", "Origin: http://" + addr,
		"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none",
	} {
		r, text := do(t, addr, ask{body: body, header: header})
		check(t, header, r, text, 200, `\{"accepted":1,.*`)
	}
	r, _ := do(t, addr, ask{method: "OPTIONS", header: "Origin: http://evil.example\nAccess-Control-Request-Method: POST"})
	if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight: %d %v", r.StatusCode, r.Header)
	}
}

// Pages of allowed origins can read and write; others can't.
func TestAllowOrigins(t *testing.T) {
	d, err := web.New(&web.Options{AllowOrigins: []string{"https://app.example", "http://localhost:3000"}})
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{d}})
	for origin, allowed := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true,
		"http://app.example": false, "https://app.example.evil.example": false, "https://app.example:444": false, "null": false, "http://localhost:3001": false,
	} {
		header := "Sec-Fetch-Site: cross-site\nOrigin: " + origin
		status, told := http.StatusForbidden, ""
		if allowed {
			status, told = http.StatusOK, origin
		}
		r, text := do(t, addr, ask{body: `{"a":1}`, header: header})
		if r.StatusCode != status || r.Header.Get("Access-Control-Allow-Origin") != told {
			t.Errorf("%s: %d %v %s", origin, r.StatusCode, r.Header, text)
		}
		r, _ = do(t, addr, ask{header: header})
		if r.StatusCode != http.StatusOK || r.Header.Get("Access-Control-Allow-Origin") != told || (r.Header.Get("Cross-Origin-Resource-Policy") == "same-origin") == allowed {
			t.Errorf("GET of %s: %d %v", origin, r.StatusCode, r.Header)
		}
		r, _ = do(t, addr, ask{method: "OPTIONS", header: header + "\nAccess-Control-Request-Method: POST"})
		if isTold := strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key"); isTold != allowed || allowed && r.StatusCode != http.StatusNoContent {
			t.Errorf("preflight of %s: %d %v", origin, r.StatusCode, r.Header)
		}
		head := answered(t, addr, handshake+"Origin: "+origin+"\r\n\r\n")
		if opened := strings.HasPrefix(head, "HTTP/1.1 101 "); opened != allowed {
			t.Errorf("WebSocket of %s: %s", origin, head)
		}
	}
	if got := stored(t, s, "*"); got != `{"a":1} {"a":1}` {
		t.Errorf("stored %s", got)
	}
	for _, origin := range []string{"app.example", "https://app.example/", "*", ""} {
		if _, err := web.New(&web.Options{AllowOrigins: []string{origin}}); err == nil || !strings.Contains(err.Error(), "is not an origin") {
			t.Errorf("%q: %v", origin, err)
		}
	}
}

// Tokens are checked as in the other dialects.
func TestTokens(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s, Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		if c.Token != "red's token" {
			return access.Grant{}, dictwire.ErrUnauthenticated
		}
		return access.Grant{Principal: "red", Allows: func(_ access.Right, topic string) bool { return topic == "t" }}, nil
	}})
	for _, c := range []struct {
		ask    ask
		status int
		answer string
	}{
		{ask{body: `{"a":1}`}, 401, `.*Authorization: Bearer.*"code":"unauthenticated"\}\n`},
		{ask{body: `{"a":1}`, header: "Authorization: Bearer guess"}, 401, `.*"code":"unauthenticated"\}\n`},
		{ask{body: `{"a":1}`, header: "Authorization: Basic cmVkOnRva2Vu"}, 401, `.*"code":"unauthenticated"\}\n`},
		{ask{path: "/v1/topics"}, 401, `.*`},
		{ask{path: "/v1/status"}, 401, `.*`},
		{ask{path: "/healthz"}, 200, `\{"status":"ok"\}\n`},
		{ask{path: "/v1/topics/u", body: `{"a":1}`, header: "Authorization: Bearer red's token"}, 403, `.*red has no right to send to u.*`},
		{ask{path: "/v1/topics/u", header: "Authorization: Bearer red's token"}, 403, `.*red has no right to read from u.*`},
		{ask{body: `{"a":1}`, header: "Authorization: bearer red's token"}, 200, `\{"accepted":1,.*`},
		{ask{path: "/v1/topics/t?envelope=1", header: "Authorization: Bearer red's token"}, 200, `.*"principal":"red".*`},
	} {
		r, text := do(t, addr, c.ask)
		check(t, c.ask.path+c.ask.header, r, text, c.status, c.answer)
		if c.status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate", c.ask.path)
		}
	}
	if got := stored(t, s, "*"); got != `{"a":1}` {
		t.Errorf("stored %s", got)
	}
}

// A store that is unavailable says when to try again.
func TestUnavailable(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	if r, text := do(t, addr, ask{path: "/readyz"}); r.StatusCode != http.StatusOK {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []ask{{body: `{"a":1}`}, {path: "/readyz"}, {header: "Accept: application/json"}} {
		r, text := do(t, addr, a)
		check(t, a.path, r, text, 503, `\{.*"code":"unavailable","retry_ms":500\}\n`)
		if r.Header.Get("Retry-After") != "1" {
			t.Errorf("%v", r.Header)
		}
	}
}

// A slow or silent client does not hold a request forever.
func TestEnds(t *testing.T) {
	s := memory.New(nil)
	srv := &dictwire.Server{Store: s}
	addr := start(t, srv)
	idle, err := net.Dial("tcp", addr) // between two requests
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	_, _ = io.WriteString(idle, "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
	var b [17]byte
	if _, err := io.ReadFull(idle, b[:15]); err != nil || string(b[:15]) != "HTTP/1.1 200 OK" {
		t.Fatalf("%s, %v", b, err)
	}
	following, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer following.Close()
	_, _ = io.WriteString(following, "GET /v1/topics/t?follow=1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
	follower := bufio.NewReader(following)
	for line := ""; line != "{\"a\":1}\n"; {
		if line, err = follower.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	half, err := net.Dial("tcp", addr) // in the middle of a request
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_, _ = io.WriteString(half, "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"b\":2}")
	for stored(t, s, "t") != `{"a":1} {"b":2}` {
		time.Sleep(time.Millisecond) // until the record was stored
	}
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	if text, err := io.ReadAll(idle); err != nil || !strings.Contains(string(text), `{"accepted":1`) {
		t.Errorf("%s, %v", text, err)
	}
	if got, err := io.ReadAll(follower); err != nil || string(got) != "{\"b\":2}\n" {
		t.Errorf("the follower got %s, %v", got, err)
	}
	_, _ = io.WriteString(half, `{"c":3}`)
	if text, err := io.ReadAll(half); err != nil || !strings.Contains(string(text), `{"accepted":2`) {
		t.Errorf("%s, %v", text, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// One append settles a body that arrives at once, since each append costs a sync. A body
// that arrives slowly is settled as it arrives.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failing{Store: memory.New(nil)}
		network := memnet.New()
		servertest.StartAt(t, &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{web.Dialect}}, dictwire.Endpoint{Listener: network.Host("server").Listen()})
		body := strings.Repeat(`{"name":"Alice","age":30,"city":"Paris"}`+"\n", 1000)
		nc, err := network.Host("client").Dial(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for _, parts := range [][]string{{body}, {body[:50], body[50:100], body[100:150], body[150:]}} {
			before := s.n.Load()
			_, _ = fmt.Fprintf(nc, "POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(body))
			for i, part := range parts {
				_, _ = io.WriteString(nc, part)
				time.Sleep(100 * time.Millisecond)
				if n := s.n.Load() - before; n != int64(i+1) {
					t.Errorf("%d appends of %d of %d parts", n, i+1, len(parts))
				}
			}
			r, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			check(t, "1,000 records", answer{r.StatusCode, r.Header}, string(text), 200, `\{"accepted":1000,.*`)
		}
	})
}

// A peer that half-closes after its request, as nc -N does, gets an answer.
func TestHalfClose(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s, Handler: dictwire.HandlerFunc(func(ctx context.Context, _ *dictwire.Request) (*dict.Dict, error) {
		time.Sleep(20 * time.Millisecond) // so that the server sees the end before the record is settled
		return nil, context.Cause(ctx)
	})})
	for i, key := range []string{"", "Idempotency-Key: k\r\n"} {
		nc := exec.CommandContext(t.Context(), "nc.openbsd", "-N", "127.0.0.1", addr[strings.LastIndex(addr, ":")+1:])
		nc.Stdin = strings.NewReader("POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n" + key + "Content-Length: 7\r\n\r\n{\"a\":1}")
		if out, err := nc.CombinedOutput(); err != nil || !strings.Contains(string(out), "200 OK") || len(servertest.Texts(t, s, "t")) != i+1 {
			t.Errorf("a request: %v %s", err, out)
		}
	}
	nc := exec.CommandContext(t.Context(), "nc.openbsd", "-N", "127.0.0.1", addr[strings.LastIndex(addr, ":")+1:])
	nc.Stdin = strings.NewReader("GET /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if out, err := nc.CombinedOutput(); err != nil || strings.Count(string(out), `{"a":1}`) != 2 {
		t.Errorf("reading: %v %s", err, out)
	}
}
