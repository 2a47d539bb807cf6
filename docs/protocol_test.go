// Package docs_test checks that the documentation is true.
package docs_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTranscripts plays every transcript of protocol.md against a server of its
// own. In a block that is marked as a transcript,
//
//	C: text         the client sends a line
//	S: text         the server sends a line
//	S> text         the server sends these bytes, and no line feed
//	C> text         likewise the client; where the block is marked "bytes", both are
//	                written as within quotes in Go
//	C: (half-closes), C: (breaks off), S: (closes)
//	C2:, S2:        another connection at the same time
//	# text          a comment for the reader
//
// An empty line starts new connections. In a transcript of a WebSocket, lines are text
// messages, and the client closes it instead of half-closing. A position or a time matches
// any value at its first occurrence, and the same value from then on. An ack may arrive in
// parts.
func TestTranscripts(t *testing.T) {
	blocks := transcripts(t, "protocol.md")
	if len(blocks) < 9 {
		t.Fatalf("%d transcripts", len(blocks))
	}
	for _, b := range blocks {
		t.Run(fmt.Sprintf("line=%d", b.line), b.play)
	}
}

// A transcript is one block of the page.
type transcript struct {
	line    int
	handler bool
	tokens  bool
	tls     bool
	http    bool
	socket  bool
	bytes   bool
	steps   []step
}

// A step is one line of a transcript. The empty step starts new connections.
type step struct {
	line int
	conn string // "", "2", …
	kind string // "C:", "C>", "S:" or "S>"
	text string
}

var stepLine = regexp.MustCompile(`^([CS])([0-9]*)([:>]) (.*)$`)

// transcripts returns the transcripts of a page.
func transcripts(t *testing.T, page string) (blocks []*transcript) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b *transcript
	for i, line := range strings.Split(string(text), "\n") {
		mark, isFence := strings.CutPrefix(line, "```")
		switch {
		case b == nil && isFence && strings.HasPrefix(mark, "transcript"):
			with := func(word string) bool { return slices.Contains(strings.Fields(mark), word) }
			b = &transcript{line: i + 1, handler: with("handler"), tokens: with("tokens"), tls: with("TLS"), http: with("http"), socket: with("WebSocket"), bytes: with("bytes")}
		case b == nil || strings.HasPrefix(line, "#"):
		case isFence:
			blocks = append(blocks, b)
			b = nil
		case line == "":
			b.steps = append(b.steps, step{})
		default:
			m := stepLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("%s:%d: no step of a transcript: %s", page, i+1, line)
			}
			text := m[4]
			if b.bytes && m[3] == ">" {
				if text, err = strconv.Unquote(`"` + text + `"`); err != nil {
					t.Fatalf("%s:%d: %v", page, i+1, err)
				}
			}
			b.steps = append(b.steps, step{line: i + 1, conn: m[2], kind: m[1] + m[3], text: text})
		}
	}
	return blocks
}

// handle is the handler for the transcripts that have one.
func handle(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
	age, ok := r.Dict().Get("age")
	years, isInt := age.Int()
	if ok && !isInt {
		return nil, dictwire.Reject("wrong_age", "/age: want an int")
	}
	if _, ok := r.Dict().Get("ask"); ok {
		return dict.Of("in ten years", years+10), nil
	}
	return nil, nil //nolint:nilnil // no reply
}

// authorize knows the peers of the transcripts with tokens.
func authorize(_ context.Context, c access.Credentials) (access.Grant, error) {
	switch c.Token {
	case "":
		return access.Grant{Principal: store.Anonymous}, nil
	case "red's token":
		return access.Grant{Principal: "red"}, nil
	case "blue's token":
		return access.Grant{Principal: "blue", Allows: func(right access.Right, topic string) bool {
			return right == access.Read && strings.HasPrefix(topic, "prices.")
		}}, nil
	case "green's token":
		return access.Grant{Principal: "green", Allows: func(_ access.Right, topic string) bool {
			return !strings.HasPrefix(topic, "_")
		}}, nil
	default:
		return access.Grant{}, dictwire.ErrUnauthenticated
	}
}

func (b *transcript) play(t *testing.T) {
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{web.Dialect, forward.Dialect}, BackupDir: t.TempDir()}
	if b.handler {
		srv.Handler = dictwire.HandlerFunc(handle)
	}
	if b.tokens {
		srv.Authorizer = authorize
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	at := dictwire.Endpoint{Listener: l}
	if b.tls { // the page has the plain text
		at.TLS = new(tls.Config)
	}
	go func() { served <- srv.Serve(at) }()
	defer func() {
		srv.Close()
		<-served
	}()
	p := player{t: t, addr: l.Addr().String(), socket: b.socket, conns: map[string]*conn{}, values: map[string]string{}}
	defer p.hangUp()
	if b.http {
		p.requests(b.steps)
		return
	}
	for i, s := range b.steps {
		if s.line == 0 {
			p.hangUp()
			continue
		}
		p.play(s, b.steps[i+1:])
	}
}

// requests plays an HTTP transcript. Each request is C: lines: the method and the path,
// then headers, then the body. Each answer is S: lines: the status, then the body.
func (p *player) requests(steps []step) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for len(steps) > 0 {
		first := steps[0]
		if steps = steps[1:]; first.line == 0 {
			continue
		}
		method, path, _ := strings.Cut(p.filled(first.text), " ")
		var body strings.Builder
		header := http.Header{}
		for ; len(steps) > 0 && steps[0].kind == "C:"; steps = steps[1:] {
			if m := headerLine.FindStringSubmatch(steps[0].text); m != nil {
				header.Add(m[1], p.filled(m[2]))
				continue
			}
			body.WriteString(steps[0].text + "\n")
		}
		r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.addr+path, strings.NewReader(body.String()))
		if err != nil {
			p.t.Fatal(err)
		}
		r.Header = header
		answer, err := client.Do(r)
		if err != nil {
			p.t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			p.t.Fatal(err)
		}
		said := append([]string{fmt.Sprint(answer.StatusCode)}, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
		var want []string
		for ; len(steps) > 0 && steps[0].kind == "S:"; steps = steps[1:] {
			want = append(want, steps[0].text)
		}
		same := len(said) == len(want)
		for i := 0; same && i < len(said); i++ {
			same = p.match(want[i], said[i])
		}
		if !same {
			p.t.Fatalf("protocol.md:%d: %s\nthe server says\n%s", first.line, first.text, strings.Join(said, "\n"))
		}
	}
}

var headerLine = regexp.MustCompile(`^([A-Z][A-Za-z-]+): (.*)$`)

// A player plays the client of a transcript.
type player struct {
	t      *testing.T
	addr   string
	socket bool
	conns  map[string]*conn
	values map[string]string // actual values of the positions and times on the page
}

type conn struct {
	halfCloser
	r   *bufio.Reader
	say []byte // lines that are not written yet
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// upgrade turns a connection into a WebSocket.
func (p *player) upgrade(nc net.Conn) halfCloser {
	dial := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
	c, _, err := websocket.Dial(p.t.Context(), "ws://"+p.addr+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // there is none
		Subprotocols: []string{"dictwire.1"}, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return &socket{Conn: nc, p: p, c: c}
}

// A socket presents a WebSocket as a connection: each line is a message.
type socket struct {
	net.Conn
	p    *player
	c    *websocket.Conn
	line []byte // the rest of a message
}

func (s *socket) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if err := s.c.Write(s.p.t.Context(), websocket.MessageText, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (s *socket) Read(b []byte) (int, error) {
	if len(s.line) == 0 {
		_, m, err := s.c.Read(s.p.t.Context())
		if errors.Is(err, net.ErrClosed) { // Close has seen the server close it
			return 0, io.EOF
		} else if err != nil {
			return 0, err
		}
		s.line = append(m, '\n')
	}
	n := copy(b, s.line)
	s.line = s.line[n:]
	return n, nil
}

func (s *socket) CloseWrite() error { return s.c.Close(websocket.StatusNormalClosure, "") }

func (s *socket) Close() error { return s.c.CloseNow() }

func (p *player) hangUp() {
	for _, c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *player) conn(name string) *conn {
	if p.conns[name] == nil {
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			p.t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		half := nc.(halfCloser)
		if p.socket {
			half = p.upgrade(nc)
		}
		p.conns[name] = &conn{halfCloser: half, r: bufio.NewReader(half)}
	}
	return p.conns[name]
}

// play plays one step. rest has the following ones.
func (p *player) play(s step, rest []step) {
	c := p.conn(s.conn)
	var err error
	switch {
	case s.kind == "C:" && s.text == "(half-closes)":
		err = c.CloseWrite()
	case s.kind == "C:" && s.text == "(breaks off)":
		err = c.Close()
	case s.kind == "C:":
		// Consecutive lines are one write, so that the server receives them together.
		c.say = append(c.say, p.filled(s.text)+"\n"...)
		if len(rest) > 0 && rest[0].conn == s.conn && rest[0].kind == "C:" && !strings.HasPrefix(rest[0].text, "(") {
			return
		}
		_, err = c.Write(c.say)
		c.say = nil
	case s.kind == "C>":
		_, err = io.WriteString(c, s.text)
	case s.text == "(closes)":
		var left []byte
		if left, err = io.ReadAll(c.r); len(left) > 0 {
			err = fmt.Errorf("the server still says %q", left)
		}
	case s.kind == "S>":
		got := make([]byte, len(s.text))
		if _, err = io.ReadFull(c.r, got); err == nil && string(got) != s.text {
			err = fmt.Errorf("the server says %q", got)
		}
	default:
		err = p.expect(c, s, rest)
	}
	if err != nil {
		p.t.Fatalf("protocol.md:%d: %s%s %s\n%v", s.line, s.kind, s.conn, s.text, err)
	}
}

// expect reads a line of the server.
func (p *player) expect(c *conn, s step, rest []step) error {
	for {
		got, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the server says %q: %w", got, err)
		}
		got = strings.TrimSuffix(got, "\n")
		if p.match(s.text, got) {
			return nil
		}
		if strings.HasPrefix(got, `{"next":`) {
			continue // progress, which is sent as time passes
		}
		if n, ok := ack(got); !ok || n >= nextAck(s, rest) {
			return fmt.Errorf("the server says\n%s", got)
		}
	}
}

// ack returns the number in a line that is an ack.
func ack(line string) (uint64, bool) {
	var m struct{ Ack *uint64 }
	if json.Unmarshal([]byte(line), &m) != nil || m.Ack == nil {
		return 0, false
	}
	return *m.Ack, true
}

// nextAck returns the next ack of the step's connection in the transcript.
func nextAck(s step, rest []step) uint64 {
	for _, r := range append([]step{s}, rest...) {
		if r.line == 0 {
			break
		}
		if n, ok := ack(r.text); ok && r.kind == "S:" && r.conn == s.conn {
			return n
		}
	}
	return 0
}

// stand matches the positions and times on a page.
var stand = regexp.MustCompile(`\b(?:[a-z0-9]{8}\.\d+\.\d+|\d{4}-\d\d-\d\dT[0-9:.]+Z)\b`)

// filled returns a line of the page with actual positions and times.
func (p *player) filled(line string) string {
	return stand.ReplaceAllStringFunc(line, func(s string) string {
		if v, ok := p.values[s]; ok {
			return v
		}
		return s
	})
}

// match reports whether a line of the server matches the page, and records the actual
// values of positions and times.
func (p *player) match(want, got string) bool {
	names, values := stand.FindAllString(want, -1), stand.FindAllString(got, -1)
	if len(names) != len(values) || stand.ReplaceAllString(want, "?") != stand.ReplaceAllString(got, "?") {
		return false
	}
	for i, name := range names {
		if v, ok := p.values[name]; ok && v != values[i] {
			return false
		}
		p.values[name] = values[i]
	}
	return true
}

// TestCodes compares the list of codes with the code.
func TestCodes(t *testing.T) {
	_, list, _ := strings.Cut(read(t, "protocol.md"), "## 7. Codes")
	list, _, _ = strings.Cut(list, "\n## ")
	var told, later []string
	for _, row := range strings.Split(list, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			if strings.Contains(row, "not sent yet") {
				later = append(later, m[1])
			} else {
				told = append(told, m[1])
			}
		}
	}
	text, err := os.ReadFile("../fault/code.go")
	if err != nil {
		t.Fatal(err)
	}
	var sources []byte
	for _, pattern := range []string{"../*.go", "../internal/dialect/*.go", "../internal/server/*.go", "../internal/dialect/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, source...)
		}
	}
	var have []string
	for _, m := range regexp.MustCompile(`(?m)^\t([A-Z]\w+) +Code = "([a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
		have = append(have, m[2])
		sent := bytes.Contains(sources, []byte("Code: fault."+m[1]+",")) || bytes.Contains(sources, []byte("Code = fault."+m[1]))
		if sent && slices.Contains(later, m[2]) {
			t.Errorf("the page says that %q is not sent yet", m[2])
		}
	}
	for _, c := range have {
		if !slices.Contains(told, c) && !slices.Contains(later, c) {
			t.Errorf("the page has no code %q", c)
		}
	}
	for _, c := range slices.Concat(told, later) {
		if !slices.Contains(have, c) {
			t.Errorf("the page has %q, which is none", c)
		}
	}
	if len(have) < 15 {
		t.Errorf("%d codes in the code", len(have))
	}
}
