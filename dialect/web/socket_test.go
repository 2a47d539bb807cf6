package web_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// A talk is a client's WebSocket.
type talk struct {
	*websocket.Conn
	t testing.TB
}

// connect opens a WebSocket; header has more lines for the request.
func connect(t testing.TB, addr, header string) *talk {
	t.Helper()
	h := http.Header{}
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		h.Add(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	c, r, err := websocket.Dial(t.Context(), "ws://"+addr+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // there is none
		Subprotocols: []string{"dictwire.1"}, HTTPHeader: h, HTTPClient: &http.Client{Transport: transport}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "dictwire.1" || r.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("answered %v", r.Header)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return &talk{c, t}
}

// say sends text messages.
func (k *talk) say(messages ...string) {
	k.t.Helper()
	for _, m := range messages {
		if err := k.Write(k.t.Context(), websocket.MessageText, []byte(m)); err != nil {
			k.t.Fatal(err)
		}
	}
}

// hear returns the next message, prefixed with its type if it is not text. It skips beats.
func (k *talk) hear() string {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 20*time.Second)
	defer cancel()
	kind, m, err := k.Read(ctx)
	switch {
	case err != nil:
		return fmt.Sprint(websocket.CloseStatus(err), " ", err)
	case kind != websocket.MessageText:
		return fmt.Sprintf("%v %x", kind, m)
	}
	return string(m)
}

// want waits for a message with a prefix, and skips acks and progress before it.
func (k *talk) want(begin string) string {
	k.t.Helper()
	for {
		m := k.hear()
		if strings.HasPrefix(m, begin) {
			return m
		}
		if !strings.HasPrefix(m, `{"ack":`) && !strings.HasPrefix(m, `{"next":`) {
			k.t.Fatalf("heard %s, want %s", m, begin)
		}
	}
}

// A native session in a WebSocket works like one without: records are numbered, acked,
// replied to, rejected and read back.
func TestSocket(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s, Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if _, ok := r.Dict().Get("bad"); ok {
			return nil, dictwire.Reject("bad", "not this one")
		}
		if _, ok := r.Dict().Get("ask"); ok {
			return dict.Of("reply", 1), nil
		}
		return nil, nil //nolint:nilnil // nothing to say
	})})
	k := connect(t, addr, "")
	k.say(`{"dictwire":1,"topic":"t","producer":"p","attempt":1}`)
	k.want(`{"dictwire":1,"next":1,`)
	k.say("{\"n\":1}\n{\"n\":2}", `{"bad":3}`, `{"ask":4}`)
	k.want(`{"rejected":3,"code":"handler"`)
	k.want(`{"reply":4,"length":11}`)
	k.want(`{"reply":1}`)
	k.want(`{"ack":4}`)
	if err := k.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Error(err)
	}
	if got := stored(t, s, "t"); got != `{"n":1} {"n":2} {"ask":4}` {
		t.Errorf("stored %s", got)
	}

	k = connect(t, addr, "") // in binary messages, and a log is resumed
	k.say(`{"dictwire":1,"topic":"t","format":"cbor"}`)
	k.want(`{"dictwire":1,`)
	if err := k.Write(t.Context(), websocket.MessageBinary, []byte(encoded(t, cbor.Codec{}, dict.Of("ask", 5)))); err != nil {
		t.Fatal(err)
	}
	k.want(`{"reply":1,"length":8}`)
	k.want("MessageBinary a1657265706c7901")
	k.want(`{"ack":1}`)
	if err := k.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}

	k = connect(t, addr, "")
	k.say(`{"dictwire":1,"subscribe":"t","cursor":"c"}`)
	k.want(`{"dictwire":1,"next":`)
	var texts []string
	last := ""
	for len(texts) < 3 {
		header := k.want(`{"at":`)
		_, rest, _ := strings.Cut(header, `"next":"`)
		last, _, _ = strings.Cut(rest, `"`)
		texts = append(texts, k.hear())
	}
	if got := strings.Join(texts, "; "); got != `{"n":1}{"n":2}; {"ask":4}; MessageBinary a16361736b05` && got != `{"n":1}; {"n":2}; {"ask":4}` {
		t.Errorf("read %s", got)
	}
	k.want(`{"end":`)
	k.say(`{"commit":"` + last + `"}`)
	k.want(`{"committed":"` + last + `"}`)
	if err := k.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

// A read that follows ends when the WebSocket or its connection is closed.
func TestSocketFollowerCloses(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	const greeting = `{"dictwire":1,"subscribe":"t","follow":true}`
	k := connect(t, addr, "")
	k.say(greeting)
	k.want(`{"dictwire":1,`)
	if err := k.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, handshake+"\r\n"+sent(0x81, greeting))
	_ = c.(*net.TCPConn).CloseWrite()
	if text, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(text), "\x88\x02\x03\xe8") {
		t.Errorf("%q, %v", text, err)
	}
}

// What ends a session closes the WebSocket, with a code and the name of the fault.
func TestSocketCloses(t *testing.T) {
	srv := &dictwire.Server{Limits: codec.Limits{RecordBytes: 1000}, Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		if c.Token != "red's token" {
			return access.Grant{}, dictwire.ErrUnauthenticated
		}
		return access.Grant{Principal: "red", Allows: func(access.Right, string) bool { return true }}, nil
	}}
	addr := start(t, srv)
	const token = "Authorization: Bearer red's token"
	for _, c := range []struct {
		header string
		say    []string
		error  string
		end    string
	}{
		{"", []string{`{"dictwire":1,"topic":"t"}`}, `"code":"unauthenticated"}`, "StatusPolicyViolation unauthenticated"},
		{"", []string{`{"dictwire":1,"topic":"t","token":"red's token"}`}, "", ""},
		{token, []string{`{"dictwire":2,"topic":"t"}`}, `"code":"version"}`, "StatusPolicyViolation version"},
		{token, []string{`{"a":1}`}, `"code":"version"}`, "StatusPolicyViolation version"},
		{token, []string{`Hello`}, `"code":"malformed","at":0}`, "StatusPolicyViolation malformed"},
		{token, []string{`{"dictwire":1,"topic":"t","x":"` + strings.Repeat("x", 9000) + `"}`}, `"code":"too_large"`, "StatusMessageTooBig too_large"},
		{token, []string{`{"dictwire":1,"topic":"t"}`, `{"x":"` + strings.Repeat("x", 5000) + `"}`}, `"code":"too_large"`, "StatusMessageTooBig too_large"},
		{token, []string{`{"dictwire":1,"topic":"t"}`, `{"a":1}`, `{"a":1,,}`}, `"code":"malformed"`, "StatusPolicyViolation malformed"},
	} {
		k := connect(t, addr, c.header)
		k.say(c.say...)
		if c.end == "" {
			k.want(`{"dictwire":1,`)
			continue
		}
		got, end := "", k.hear()
		for !strings.HasPrefix(end, "Status") && !strings.HasPrefix(end, "-1 ") {
			got, end = end, k.hear()
		}
		if !strings.HasPrefix(got, `{"error":`) || !strings.Contains(got, c.error) {
			t.Errorf("%.60q: %s, want %s", c.say, got, c.error)
		}
		status, name, _ := strings.Cut(c.end, " ")
		if !strings.HasPrefix(end, status) || !strings.Contains(end, `"`+name+`"`) {
			t.Errorf("%.60q: closed with %s", c.say, end)
		}
	}
	k := connect(t, addr, token)
	k.say(`{"dictwire":1,"topic":"t"}`)
	k.want(`{"dictwire":1,`)
	k.want(`{"ack":0}`)
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	k.want(`{"error":"the server is shutting down`)
	if end := k.hear(); !strings.HasPrefix(end, "StatusGoingAway") {
		t.Errorf("closed with %s", end)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const handshake = "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// An invalid handshake, or one from a page of another origin, opens no WebSocket.
func TestSocketHandshake(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	without := func(header string) string {
		var kept []string
		for line := range strings.Lines(handshake) {
			if !strings.HasPrefix(line, header) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	for name, c := range map[string]struct{ send, want string }{
		"good":                  {handshake + "Origin: http://localhost\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"},
		"no browser":            {handshake, "HTTP/1.1 101 "},
		"of several protocols":  {handshake + "Sec-WebSocket-Protocol: mqtt, dictwire.1\r\n", "HTTP/1.1 101 "},
		"another protocol":      {handshake + "Sec-WebSocket-Protocol: mqtt\r\n", "HTTP/1.1 400 "},
		"another origin":        {handshake + "Origin: http://evil.example\r\n", "HTTP/1.1 403 "},
		"no page's":             {handshake + "Origin: null\r\n", "HTTP/1.1 403 "},
		"another port":          {handshake + "Origin: http://localhost:1\r\n", "HTTP/1.1 403 "},
		"another site":          {handshake + "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n", "HTTP/1.1 403 "},
		"a browser without one": {handshake + "Sec-Fetch-Site: none\r\n", "HTTP/1.1 403 "},
		"a rebound name":        {strings.Replace(handshake, "localhost", "rebound.example", 1) + "Origin: http://rebound.example\r\n", "HTTP/1.1 421 "},
		"another version":       {strings.Replace(handshake, "13", "8", 1), "HTTP/1.1 426 "},
		"no upgrade":            {without("Upgrade"), "HTTP/1.1 426 "},
		"no connection":         {without("Connection"), "HTTP/1.1 426 "},
		"no key":                {without("Sec-WebSocket-Key"), "HTTP/1.1 400 "},
		"two keys":              {handshake + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "HTTP/1.1 400 "},
		"a short key":           {strings.Replace(handshake, "dGhl", "", 1), "HTTP/1.1 400 "},
		"a body":                {handshake + "Content-Length: 1\r\n", "HTTP/1.1 400 "},
		"POST":                  {strings.Replace(handshake, "GET", "POST", 1), "HTTP/1.1 405 "},
		"HEAD":                  {strings.Replace(handshake, "GET", "HEAD", 1), "HTTP/1.1 426 "},
		"HTTP/1.0":              {strings.Replace(handshake, "HTTP/1.1", "HTTP/1.0", 1), "HTTP/1.0 426 "},
	} {
		if got := answered(t, addr, c.send+"\r\n"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// answered sends bytes and returns the header of the answer.
func answered(t *testing.T, addr, send string) string {
	t.Helper()
	c := dialed(t, addr, send)
	defer c.Close()
	in, head := bufio.NewReader(c), ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if head += line; err != nil {
			return head + err.Error()
		}
	}
	return head
}

// sent returns a frame of a client: the first byte, and the payload with a zero mask.
func sent(first byte, payload string) string {
	b := []byte{first, 0x80 | 126}
	if n := len(payload); n < 126 {
		b[1] = 0x80 | byte(n)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// Frames that break a rule close the WebSocket. What was complete before is stored.
func TestSocketHostile(t *testing.T) {
	const text, ping = 0x81, 0x89
	hello := sent(text, `{"dictwire":1,"topic":"t"}`)
	for name, c := range map[string]struct {
		send   string
		code   uint16
		error  string
		stored string
	}{
		"not masked":          {hello + "\x81\x07{\"a\":1}", 1002, "not masked", ""},
		"not masked, later":   {hello + sent(text, `{"a":1}`) + "\x81\x07{\"a\":1}", 1002, "not masked", `{"a":1}`},
		"in parts":            {hello + sent(0x01, `{"a"`) + sent(ping, "x") + sent(0x00, `:1`) + sent(0x80, `}`) + sent(0x88, "\x03\xe8"), 1000, "", `{"a":1}`},
		"a greeting by parts": {sent(0x01, `{"dictwire":1,`) + sent(0x80, `"topic":"t"}`) + sent(text, `{"a":1}`) + sent(0x88, "\x03\xe8"), 1000, "", `{"a":1}`},
		"compressed":          {hello + sent(0xc1, "\xaa\x56\x4a\x54\xb2\x32\xac\x05\x00"), 1002, "reserved bit", ""},
		"a flood of pings":    {hello + sent(text, `{"a":1}`) + strings.Repeat(sent(ping, "x"), 1000), 1008, "bring nothing", `{"a":1}`},
		"no UTF-8":            {hello + sent(text, "{\"a\":\"\xff\"}"), 1007, "not UTF-8", ""},
		"HTTP again":          {hello + "GET / HTTP/1.1\r\n\r\n", 1002, "reserved bit", ""},
		"a frame of 2^62":     {hello + "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00{\"a\":\"" + strings.Repeat("x", 2<<20), 1009, "too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			got := raw(t, addr, handshake+"\r\n"+c.send)
			end := binary.BigEndian.AppendUint16(nil, c.code)
			if i := strings.LastIndex(got, "\x88"); i < 0 || !strings.HasPrefix(got[min(i+2, len(got)):], string(end)) || !strings.Contains(got, c.error) {
				t.Errorf("%q, want %q and to be closed by %d", got[strings.Index(got, "\r\n\r\n"):], c.error, c.code)
			}
			if got := stored(t, s, "*"); got != c.stored {
				t.Errorf("stored %s, want %s", got, c.stored)
			}
		})
	}
}

// A client that stops at any stage, or sends nothing useful, is treated as on a connection
// without a WebSocket.
func TestSocketSlow(t *testing.T) {
	hello := handshake + "\r\n" + sent(0x81, `{"dictwire":1,"topic":"t"}`)
	for name, c := range map[string]struct {
		send  string
		again string // every second
		most  time.Duration
		code  string
	}{
		"in the handshake":      {handshake, "X: x\r\n", 11 * time.Second, ""},
		"before the greeting":   {handshake + "\r\n", "", 62 * time.Second, `"code":"rate"`},
		"pings, no greeting":    {handshake + "\r\n", sent(0x89, ""), 62 * time.Second, `"code":"rate"`},
		"in the greeting":       {handshake + "\r\n" + sent(0x01, `{"dict`), "\x00\x81\x00\x00\x00\x00w", 62 * time.Second, `"code":"rate"`},
		"in a record":           {hello + sent(0x01, `{"a":"`), "\x00\x81\x00\x00\x00\x00x", 62 * time.Second, `"code":"rate"`},
		"in a frame's header":   {hello + "\x81", "", time.Hour + 2*time.Minute, `"code":"idle"`},
		"in a frame, by bytes":  {hello + "\x81\xfe\x10\x00\x00\x00\x00\x00{\"a\":\"", "x", 62 * time.Second, `"code":"rate"`},
		"pings between records": {hello, sent(0x89, "x"), time.Hour + 2*time.Minute, `"code":"idle"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dictwire.Server{Logger: slog.New(slog.DiscardHandler), Dialects: []dictwire.Dialect{web.Dialect}}
			text, took := linger(servertest.InMemory(t, srv, nil), c.send, c.again)
			if took > c.most || !strings.Contains(text, c.code) {
				t.Errorf("%s: ended after %v, want %v: %.300q", name, took, c.most, text)
			}
		})
	}
}

// socketScript is a script that uses a browser's WebSocket at a URL, with or without a
// token. It prints what it receives, without positions.
func socketScript(url, token string) string {
	return fmt.Sprintf("const url = %q, token = %q\n", url, token) + socketFunctions
}

const socketFunctions = `
function talk(greeting, send, until) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url + '/v1/connect', 'dictwire.1')
    const heard = []
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => socket.send(JSON.stringify(token ? {...greeting, token} : greeting))
    socket.onerror = () => resolve('an error')
    socket.onclose = (event) => resolve([...heard, event.code].join(' ').replaceAll('}{', '} {'))
    socket.onmessage = (event) => {
      const text = typeof event.data === 'string' ? event.data : 'bytes ' + new Uint8Array(event.data)
      if (text.includes('"dictwire":') && send) send.forEach((record) => socket.send(record))
      if (!/^{"(dictwire|next|at|ack)":/.test(text)) heard.push(text.replace(/[a-z0-9]{8}\.\d+\.\d+/, 'P'))
      if (text.startsWith(until)) socket.close(1000)
    }
  })
}
async function all() {
  return [
    await talk({dictwire: 1, topic: 't', producer: 'page', attempt: 1}, ['{"name":"Zoë"}', '{"a":1}'], '{"ack":2'),
    await talk({dictwire: 1, topic: 't'}, ['{"a":1,"a":2}'], '{"error":'),
    await talk({dictwire: 1, subscribe: 't'}, null, '{"end"'),
  ].join('\n')
}
`

const (
	socketPrints = `1000
{"rejected":1,"code":"duplicate_key","error":"json: the key \"a\" comes twice (at byte 7); json.KeepLast keeps the last value, as Python's json.loads does"} {"error":"json: the key \"a\" comes twice (at byte 7); json.KeepLast keeps the last value, as Python's json.loads does","code":"duplicate_key","at":34} 1008
{"name":"Zoë"} {"a":1} {"end":"P"} 1000`
	socketStored = `{"name":"Zoë"} {"a":1}`
)

// Node's WebSocket can talk to the server.
func TestSocketNode(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	if got := ofNode(t, socketScript("ws://"+addr, "")); got != socketPrints {
		t.Errorf("%s\nwant %s", got, socketPrints)
	}
	if got := stored(t, s, "t"); got != socketStored {
		t.Errorf("stored %s", got)
	}
}

// ofNode returns the output of a script in Node, with env added to its environment.
func ofNode(t *testing.T, script string, env ...string) string {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", "--experimental-websocket", "-")
	node.Env = append(append(os.Environ(), "NODE_NO_WARNINGS=1"), env...)
	node.Stdin = strings.NewReader(script + "all().then(console.log)")
	out, err := node.CombinedOutput()
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Over TLS and with a token in the greeting, the WebSockets of Node and Chromium work as
// without. Without a valid token they get nothing.
func TestSocketTLS(t *testing.T) {
	const token = "red's token"
	config, ca := certified(t)
	key := sha256.Sum256(config.Certificates[0].Leaf.RawSubjectPublicKeyInfo)
	b := openBrowser(t, "--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(key[:]))
	want := strings.Replace(socketPrints, `"at":34`, fmt.Sprintf(`"at":%d`, 34+len(`,"token":"`+token+`"`)), 1)
	for name, run := range map[string]func(host, token string) string{
		"Node": func(host, token string) string {
			return ofNode(t, socketScript("wss://"+host, token), "NODE_EXTRA_CA_CERTS="+ca)
		},
		"Chromium": func(host, token string) string {
			return b.run("https://"+host+"/healthz", socketScript("wss://"+host, token)+"all()")
		},
	} {
		s := memory.New(nil)
		srv := &dictwire.Server{
			Store: s, Dialects: []dictwire.Dialect{web.Dialect}, Logger: slog.New(slog.DiscardHandler),
			Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
				if c.Token != token {
					return access.Grant{}, dictwire.ErrUnauthenticated
				}
				return access.Grant{Principal: "red", Allows: func(access.Right, string) bool { return true }}, nil
			},
		}
		_, port, _ := strings.Cut(servertest.StartAt(t, srv, dictwire.Endpoint{TLS: config}), ":")
		host := "localhost:" + port
		for _, wrong := range []string{"", "blue's token"} {
			got := run(host, wrong)
			if strings.Count(got, `"code":"unauthenticated"} 1008`) != 3 || strings.Contains(got, `"dictwire":`) || stored(t, s, "*") != "" {
				t.Errorf("%s with the token %q: %s", name, wrong, got)
			}
		}
		if got := run(host, token); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
		if got := stored(t, s, "t"); got != socketStored {
			t.Errorf("%s: stored %s", name, got)
		}
	}
}
