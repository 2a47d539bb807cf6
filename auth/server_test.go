package auth_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// A peer talks to a server in lines.
type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, network, addr, text string) *peer {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(c, text)
	return &peer{t, c, bufio.NewReader(c)}
}

// hear reads a line, which must match.
func (p *peer) hear(want string) []string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	m := regexp.MustCompile(want).FindStringSubmatch(line)
	if m == nil {
		p.t.Fatalf("heard %q, %v, want %s", line, err, want)
	}
	return m
}

// all half-closes, and returns everything that the peer is told.
func (p *peer) all() string {
	_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite()
	told, _ := io.ReadAll(p.r)
	return string(told)
}

// serve runs a server for the peers in a file, on a free port and a Unix socket.
func serve(t *testing.T, srv *dictwire.Server, f *auth.File) (addr, path string) {
	t.Helper()
	srv.Authorizer = f.Authorize
	path = filepath.Join(t.TempDir(), "s")
	for _, at := range []string{"127.0.0.1:0", "unix:" + path} {
		l, err := dictwire.Listen(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		addr = cmp.Or(addr, servertest.StartAt(t, srv, dictwire.Endpoint{Listener: l}))
	}
	return addr, path
}

// A principal can't read another one's records: not by a topic, a pattern, a position or a
// cursor's name, nor rejected ones.
func TestReadsOfOthers(t *testing.T) {
	st := memory.New(nil)
	addr, _ := serve(t, &dictwire.Server{Store: st}, open(t, file(t,
		entry("red", tokenA, `, "send": ["red.*"], "read": ["red.*"]`)+","+
			entry("blue", tokenB, `, "send": ["blue.*"], "read": ["blue.*"]`)+","+
			entry("all", "dw_all", `, "read": ["*", "_rejected"]`)), &auth.Options{Every: -1}))
	for topic, token := range map[string]string{"red.a": tokenA, "blue.a": tokenB} {
		p := connect(t, "tcp", addr, fmt.Sprintf(`{"dictwire":1,"topic":%q,"token":%q}`+"\n"+`{"of":%q}`+"\n7\n", topic, token, topic))
		p.hear(`"next":1`)
	}
	read := func(token, more string) *peer {
		return connect(t, "tcp", addr, fmt.Sprintf(`{"dictwire":1,"token":%q,%s}`+"\n", token, more))
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		told := read("dw_all", `"subscribe":["*","_rejected"]`).all()
		if strings.Count(told, `"at":`) == 4 || time.Now().After(deadline) {
			break
		}
	}
	// red has a cursor after its record.
	r := read(tokenA, `"subscribe":"red.*","cursor":"c"`)
	r.hear(`"next":`)
	at := r.hear(`"at":"([^"]+)","next":"([^"]+)"`)
	for _, topics := range []string{`"red.a"`, `"red.*"`, `"*"`, `["blue.*","red.*"]`, `"_rejected"`, `["blue.a","_rejected"]`, `"nowhere"`} {
		told := read(tokenB, `"subscribe":`+topics).all()
		if !strings.Contains(told, `"code":"forbidden"`) || strings.Contains(told, "red.a\"}") {
			t.Errorf("blue reads %s: %s", topics, told)
		}
	}
	for _, from := range []string{at[1], at[2], "earliest"} {
		told := read(tokenB, fmt.Sprintf(`"subscribe":"blue.*","from":%q`, from)).all()
		if strings.Contains(told, "red") || !strings.Contains(told, `"end":`) {
			t.Errorf("blue reads from %s: %s", from, told)
		}
	}
	// A cursor with the same name and subscription is a different one.
	for _, name := range []string{"c", "red/c", "red\\u0000c"} {
		b := read(tokenB, `"subscribe":"blue.*","cursor":"`+name+`"`)
		b.hear(`^\{"dictwire":1,"next":`)
		b.hear(`"topic":"blue.a","principal":"blue"`)
	}
	// It can't be moved to a position that this session has not been sent.
	b := read(tokenB, `"subscribe":"blue.none","cursor":"c"`)
	for b.hear(`"(next|end)":`)[1] != "end" {
	}
	_, _ = io.WriteString(b, `{"commit":"zzzzzzzz.1.0"}`+"\n")
	b.hear(`"code":"malformed"`)
	cursors, err := st.Cursors(t.Context())
	for _, c := range cursors {
		if c.Principal == "red" && (c.Name != "c" || err != nil) {
			t.Errorf("a cursor of red: %v, %v", c, err)
		}
	}
}

// A bare sequence has the principal of its address or its Unix user, and only those rights.
func TestBarePeers(t *testing.T) {
	st := memory.New(nil)
	path := file(t, `{"name": "lan", "principal": "anonymous", "network": "127.0.0.0/8", "send": ["telemetry"]}, {"name": "local", "unix": "*", "send": ["other"]}`)
	f := open(t, path, &auth.Options{Every: -1})
	addr, sock := serve(t, &dictwire.Server{Store: st, Topic: "telemetry"}, f)
	if told := connect(t, "tcp", addr, `{"a":1}`).all(); told != "" {
		t.Errorf("told %s", told)
	}
	if told := connect(t, "unix", sock, `{"a":1}`).all(); !strings.Contains(told, `"error":"local has no right to send to telemetry","code":"forbidden"`) {
		t.Errorf("told %s", told)
	}
	p := connect(t, "unix", sock, `{"dictwire":1,"topic":"other"}`+"\n{}\n")
	if told := p.all(); !strings.Contains(told, `{"ack":1}`) {
		t.Errorf("told %s", told)
	}
	put(t, path, `{"name": "lan", "network": "10.0.0.0/8", "send": ["telemetry"]}`)
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	for network, addr := range map[string]string{"tcp": addr, "unix": sock} {
		if told := connect(t, network, addr, `{"a":1}`).all(); !strings.Contains(told, `"code":"unauthenticated"`) {
			t.Errorf("%s: told %s", network, told)
		}
	}
	topics, err := st.Topics(t.Context())
	if err != nil || len(topics) != 2 || topics[0].Records+topics[1].Records != 2 {
		t.Errorf("stored %v, %v", topics, err)
	}
}

// Revoking a credential ends its sessions, after everything they have acknowledged, and no
// others. A principal outlives its credentials.
func TestRevoke(t *testing.T) {
	path := file(t, entry("till", tokenA, `, "send": ["*"], "read": ["*"]`)+","+entry("other", tokenB, `, "send": ["*"]`))
	f := open(t, path, &auth.Options{Every: -1})
	addr, _ := serve(t, &dictwire.Server{Store: memory.New(nil)}, f)
	greet := func(token, more string) *peer {
		p := connect(t, "tcp", addr, fmt.Sprintf(`{"dictwire":1,"token":%q,%s}`+"\n", token, more))
		p.hear(`"next":`)
		return p
	}
	w := greet(tokenA, `"producer":"p"`)
	w.hear(`^{"ack":0}`)
	_, _ = io.WriteString(w, "{}\n{}\n")
	w.hear(`^{"ack":2}`)
	r := greet(tokenA, `"subscribe":"*","follow":true`)
	o := greet(tokenB, `"topic":"other"`)
	o.hear(`^{"ack":0}`)
	if err := auth.Edit(path, false, func(l *auth.List) error {
		l.Find("till").Token = auth.HashOf("dw_next")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if told, _ := io.ReadAll(w.r); !strings.Contains(string(told), `"code":"unauthenticated"`) {
		t.Errorf("the writer is told %s", told)
	}
	if told, _ := io.ReadAll(r.r); !strings.Contains(string(told), `"code":"unauthenticated"`) {
		t.Errorf("the reader is told %s", told)
	}
	_, _ = io.WriteString(o, "{}\n")
	o.hear(`^{"ack":1}`)
	w = greet("dw_next", `"producer":"p","acked":2`)
	w.hear(`^{"ack":2}`)
	p := connect(t, "tcp", addr, `{"dictwire":1,"token":"`+tokenA+`"}`+"\n")
	p.hear(`"error":"the token is unknown, or not valid any more","code":"unauthenticated"`)
}
