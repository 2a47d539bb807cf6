package forward_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/internal/dialecttest"
	"github.com/dictwire/dictwire/internal/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dialects = []dictwire.Dialect{forward.Dialect}

// text returns a string in MessagePack.
func text(s string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0xdb}, uint32(len(s)))) + s
}

// record returns {"a": n} in MessagePack.
func record(n int) string { return "\x81\xa1a" + string(rune(n)) }

// at returns an EventTime, in seconds after 2023-11-14T22:13:20Z.
func at(seconds int) string {
	b := binary.BigEndian.AppendUint32([]byte("\xd7\x00"), uint32(1700000000+seconds))
	return string(binary.BigEndian.AppendUint32(b, 5))
}

func entry(n int) string { return "\x92" + at(n) + record(n) }

// packed returns a PackedForward message; option has its keys and values in turn.
func packed(tag, entries string, option ...string) string {
	if len(option) == 0 {
		return "\x92" + text(tag) + text(entries)
	}
	m := "\x93" + text(tag) + text(entries) + string([]byte{byte(0x80 + len(option)/2)})
	for _, s := range option {
		m += text(s)
	}
	return m
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func zstdOf(s string) string {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return string(w.EncodeAll([]byte(s), nil))
}

func TestConversations(t *testing.T) {
	for name, c := range map[string]struct {
		parts []string
		each  int // records in a part
	}{
		"Message":             {[]string{"\x93\xa1t" + at(1) + record(1), "\x94\xa1t\xce\x65\x53\xf1\x02" + record(2) + "\xc0", "\x93\xa1t\x00" + record(3)}, 1},
		"Message, a chunk":    {[]string{"\x94\xa1t" + at(1) + record(1) + "\x81\xa5chunk\xa1x", "\x94\xa1t" + at(2) + record(2) + "\x81\xa5chunk\xa1y"}, 1},
		"Forward":             {[]string{"\x92\xa1t\x92" + entry(1) + entry(2), "\x93\xa1t\xdc\x00\x02" + entry(3) + "\x92\x92" + at(4) + "\x80" + record(4) + "\x80"}, 2},
		"PackedForward":       {[]string{packed("t", entry(1)+entry(2)), "\xc0", packed("t", entry(3)+entry(4), "chunk", "cGl6emE=\n")}, 2},
		"gzip":                {[]string{packed("t", gzipped(entry(1))+gzipped(entry(2)), "compressed", "gzip"), packed("t", gzipped(entry(3)+entry(4)), "compressed", "gzip", "chunk", "x")}, 2},
		"zstd":                {[]string{packed("t", zstdOf(entry(1))+zstdOf(entry(2)), "compressed", "zstd"), packed("t", zstdOf(entry(3)+entry(4)), "compressed", "zstd", "chunk", "x")}, 2},
		"compressed, in text": {[]string{packed("t", entry(1)+entry(2), "compressed", "text", "size", "2")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := dialecttest.Conversation{Dialects: dialects, Topic: "t"}
			for _, part := range c.parts {
				d.Send += part
				for range c.each {
					if part != "\xc0" {
						d.Ends = append(d.Ends, len(d.Send))
						d.Records = append(d.Records, fmt.Sprintf("{'a': %d}", len(d.Records)+1))
					}
				}
			}
			dialecttest.Run(t, d)
		})
	}
}

// times returns the event times of a topic's records.
func times(t *testing.T, p *servertest.Peer, topic string) (all []string) {
	t.Helper()
	for r := range servertest.Records(t, p.Store, topic) {
		when, ok := r.Time(r.At.Index)
		all = append(all, fmt.Sprint(ok, " ", when.Format(time.RFC3339Nano)))
	}
	return all
}

// The time of an entry is stored with its record; zero means no time.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects}, nil)
		p.Say("\x93\xa1t\x00"+record(1), "\x93\xa1t"+at(1)+record(2), "\x93\xa1t\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"+record(3))
		p.Say(packed("u", entry(1)+"\x92\x07\x05"+"\x92\xc0"+record(2)+"\x92\xc7\x08\x00\x00\x00\x00\x09\x00\x00\x00\x01"+record(3), "chunk", "x"))
		none, want := "false 0001-01-01T00:00:00Z", "true 2023-11-14T22:13:21.000000005Z"
		if got := times(t, p, "t"); !slices.Equal(got, []string{none, want, "true 1970-01-01T00:00:01.5Z"}) {
			t.Errorf("t: %q", got)
		}
		if got := times(t, p, "u"); !slices.Equal(got, []string{want, none, "true 1970-01-01T00:00:09.000000001Z"}) {
			t.Errorf("u: %q", got)
		}
	})
}

// A repeated chunk is acknowledged and not stored, over any connection and for 24 hours.
// The same chunk with other records is another one.
func TestChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects}, nil)
		const chunk = "p8n9gmxTQVC8/nh2wlKKeQ==\n"
		first := packed("t", entry(1)+entry(2), "chunk", chunk)
		ack := "\x81\xa3ack" + text(chunk)
		for name, c := range map[string]struct{ send, told string }{
			"twice":         {first + first, ack + ack},
			"again":         {first, ack},
			"other records": {packed("t", entry(3), "chunk", chunk), ack},
			"bin":           {"\x93\xa1t" + text(entry(4)) + "\x81\xa5chunk\xc4\x01\xff", "\x81\xa3ack\xc4\x01\xff"},
			"a nil chunk":   {"\x93\xa1t" + text(entry(5)) + "\x81\xa5chunk\xc0", ""},
			"no entries":    {packed("t", "", "chunk", "x"), "\x81\xa3ack" + text("x")},
		} {
			if told := p.Say(c.send); told != c.told {
				t.Errorf("%s: told %q, want %q", name, told, c.told)
			}
		}
		got := p.Stored("t")
		slices.Sort(got)
		if want := []string{"{'a': 1}", "{'a': 2}", "{'a': 3}", "{'a': 4}", "{'a': 5}"}; !slices.Equal(got, want) {
			t.Errorf("stored %q", got)
		}
		time.Sleep(23 * time.Hour)
		p.Say(first)
		if got := p.Stored("t"); len(got) != 5 {
			t.Errorf("after 23 hours: stored %q", got)
		}
	})
}

// A bad entry affects only itself, and a bad message the connection.
func TestFaults(t *testing.T) {
	ack := "\x81\xa3ack" + text("x")
	for name, c := range map[string]struct {
		send, stored string
		rejected     int
		told         string
	}{
		"a list for a record":      {packed("t", entry(1)+"\x92"+at(1)+"\x91\x01"+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"a key twice":              {packed("t", entry(1)+"\x92"+at(1)+"\x82\xa1a\x01\xa1a\x02"+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"a number for an entry":    {packed("t", entry(1)+"\x07"+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"an entry of three":        {packed("t", entry(1)+"\x93"+at(1)+record(1)+"\x00"+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"text for a time":          {packed("t", entry(1)+"\x92\xa1x"+record(1)+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"a negative time":          {packed("t", entry(1)+"\x92\xd0\xff"+record(1)+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"too long":                 {packed("t", entry(1)+"\x92"+at(1)+"\x81\xa1a"+text(strings.Repeat("x", 2000))+entry(2), "chunk", "x"), "{'a': 1} {'a': 2}", 1, ack},
		"far too long, compressed": {packed("t", gzipped(entry(1)+"\x92"+at(1)+"\x81\xa1a"+text(strings.Repeat("x", 100000))+entry(2)), "chunk", "x", "compressed", "gzip"), "{'a': 1} {'a': 2}", 1, ack},
		"cut off entries":          {packed("t", entry(1)+entry(2)[:9], "chunk", "x"), "{'a': 1}", 1, ack},
		"no entries":               {packed("t", entry(1)+"\xc1"+entry(2), "chunk", "x"), "{'a': 1}", 1, ack},
		"no gzip":                  {packed("t", entry(1), "chunk", "x", "compressed", "gzip"), "", 0, "is not compressed as it says"},
		"half a gzip":              {packed("t", gzipped(entry(1))[:30], "chunk", "x", "compressed", "gzip"), "", 0, "ends within what is compressed"},
		"another compression":      {packed("t", entry(1), "chunk", "x", "compressed", "lz4"), "", 0, `compressed as "lz4"`},
		"a bomb":                   {packed("t", gzipped(strings.Repeat("\x92"+at(1)+"\x81\xa1a"+text(strings.Repeat("x", 900)), 12<<10)), "compressed", "gzip", "chunk", "x"), "many", 0, "times as large as what was sent of it"},
		"a bomb of zstd":           {packed("t", zstdOf(strings.Repeat("\x92"+at(1)+"\x81\xa1a"+text(strings.Repeat("x", 900)), 12<<10)), "compressed", "zstd", "chunk", "x"), "many", 0, "times as large as what was sent of it"},
		"a window of 2^29":         {packed("t", "\x28\xb5\x2f\xfd\x00\x98\x11\x00\x00\x92\x00", "compressed", "zstd", "chunk", "x"), "", 0, "a window of more than 8388608 bytes"},
		"many members":             {packed("t", strings.Repeat(gzipped(""), 10_000)+gzipped(entry(1)), "compressed", "gzip", "chunk", "x"), "{'a': 1}", 0, ack},
		"nested":                   {packed("t", gzipped(gzipped(entry(1))), "compressed", "gzip", "chunk", "x"), "", 2, ack},
		"a message of numbers":     {"\x93\xa1t" + at(1) + record(1) + "\x93\xa1t\x01\x02", "{'a': 1}", 0, "want a record that is a map"},
		"an option that is none":   {"\x94\xa1t" + at(1) + record(1) + "\x07", "", 0, "want an option that is a map or nil"},
		"a chunk that is none":     {"\x94\xa1t" + at(1) + record(1) + "\x81\xa5chunk\x07", "", 0, "want a chunk that is a string"},
		"too many items":           {"\x95\xa1t" + at(1) + record(1) + "\xc0\xc0", "", 0, "first"},
		"an array without end":     {"\x92\xa1t\xdd\xff\xff\xff\xff" + entry(1), "", 0, "ended within a message"},
		"a message that is long":   {"\x92\xa1t\xc6\x7f\xff\xff\xff" + entry(1), "", 0, "a message of more than 16777216 bytes"},
		"claims":                   {"\x92\xa1t" + strings.Repeat("\xdd\xff\xff\xff\xff", 9), "", 0, "claims to hold more than there can be"},
		"another format after it":  {"\x93\xa1t" + at(1) + record(1) + `{"a":1}`, "{'a': 1}", 0, "want an array"},
		"PING where none is asked": {"\x96\xa4PING\xa1h\xa1s\xa1d\xa0\xa0", "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects, Limits: codec.Limits{RecordBytes: 1000}}, nil)
				told := p.Say(c.send)
				got := strings.Join(p.Stored("t"), " ")
				if len(got) > 1000 {
					got = "many"
				}
				if got != c.stored || !strings.Contains(told, c.told) && name != "too many items" {
					t.Errorf("stored %s, told %q\nwant %s, %q", got, told, c.stored, c.told)
				}
				if rejected := p.Stored("_rejected"); len(rejected) != c.rejected {
					t.Errorf("rejected %q, want %d", rejected, c.rejected)
				}
			})
		})
	}
}

// Every tag is a topic.
func TestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects}, nil)
		for tag, topic := range map[string]string{
			"app.access": "app.access", "kube.var.log/x y": "kube.var.log-x-y", "docker.7f3c": "docker.7f3c", "": "default",
			"_rejected": "-rejected", ".a..b.": "-.a.-.b.-", "ünï": "-n-", "\xff": "-", ".": "-.-", strings.Repeat("x", 199) + ".y": strings.Repeat("x", 199),
		} {
			before := len(p.Stored(topic))
			if told := p.Say("\x93" + text(tag) + at(1) + record(1)); told != "" || len(p.Stored(topic)) != before+1 {
				t.Errorf("%q: told %q, %d records in %s", tag, told, len(p.Stored(topic)), topic)
			}
		}
	})
}

// A client of the handshake.
type client struct {
	key, user, password, host string
}

// ping answers a HELO.
func (c client) ping(hello []byte) string {
	// ["HELO", {"nonce": bin 8 16 bytes, "auth": bin 8 …, "keepalive": true}]
	at := bytes.Index(hello, []byte("nonce")) + 5
	nonce := hello[at+2 : at+2+int(hello[at+1])]
	at = bytes.Index(hello, []byte("auth")) + 4
	auth := hello[at+2 : at+2+int(hello[at+1])]
	password := ""
	if c.user != "" {
		password = digest(string(auth), c.user, c.password)
	}
	return "\x96\xa4PING" + text(c.host) + text("salt") + text(digest("salt", c.host, string(nonce), c.key)) + text(c.user) + text(password)
}

func digest(all ...string) string {
	sum := sha512.Sum512([]byte(strings.Join(all, "")))
	return hex.EncodeToString(sum[:])
}

// secure serves an endpoint of its own.
func secure(t *testing.T, s forward.Secure) (addr string, srv *dictwire.Server) {
	t.Helper()
	srv = &dictwire.Server{Dialects: []dictwire.Dialect{forward.Dialect, s}}
	return servertest.StartAt(t, srv, dictwire.Endpoint{Dialects: []string{forward.SecureName}}), srv
}

func read(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil && err != io.EOF {
		t.Error(err)
	}
	return b[:n]
}

func TestHandshake(t *testing.T) {
	addr, srv := secure(t, forward.Secure{SharedKey: "secret", Users: map[string]string{"till": "7"}, Hostname: "server"})
	replay := ""
	for name, c := range map[string]struct {
		client
		refused string
	}{
		"right":          {client{"secret", "till", "7", "client"}, ""},
		"a wrong key":    {client{"secrets", "till", "7", "client"}, "shared_key mismatch"},
		"no key":         {client{"", "till", "7", "client"}, "shared_key mismatch"},
		"wrong password": {client{"secret", "till", "8", "client"}, "username/password mismatch"},
		"another user":   {client{"secret", "tills", "", "client"}, "username/password mismatch"},
		"no user":        {client{"secret", "", "", "client"}, "username/password mismatch"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		hello := read(t, conn)
		if !bytes.HasPrefix(hello, []byte("\x92\xa4HELO")) {
			t.Fatalf("the server says %q", hello)
		}
		_, _ = io.WriteString(conn, c.ping(hello))
		pong := read(t, conn)
		if c.refused == "" {
			replay = c.ping(hello)
			if !bytes.HasPrefix(pong, []byte("\x95\xa4PONG\xc3")) || !bytes.Contains(pong, []byte("server")) {
				t.Errorf("%s: the server says %q", name, pong)
			}
			_, _ = io.WriteString(conn, packed("t", entry(1), "chunk", "x"))
			if ack := read(t, conn); string(ack) != "\x81\xa3ack"+text("x") {
				t.Errorf("acknowledged %q", ack)
			}
		} else {
			if !bytes.HasPrefix(pong, []byte("\x95\xa4PONG\xc2")) || !bytes.Contains(pong, []byte(c.refused)) {
				t.Errorf("%s: the server says %q", name, pong)
			}
			if rest, _ := io.ReadAll(conn); len(rest) > 0 {
				t.Errorf("%s: then it says %q", name, rest)
			}
		}
		_ = conn.Close()
	}
	// A captured handshake is useless on another connection, and so are records without
	// one.
	for _, send := range []string{replay + packed("t", entry(1)), packed("t", entry(1)), "\x96\xa4PING"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, send)
		_ = conn.(*net.TCPConn).CloseWrite()
		if told, err := io.ReadAll(conn); err != nil || bytes.Contains(told, []byte("PONG\xc3")) {
			t.Errorf("told %q, %v", told, err)
		}
		_ = conn.Close()
	}
	if got := srv.Stats(); got.Records != 1 {
		t.Errorf("%+v", got)
	}
}

// Heartbeats are not logged, and those over UDP are answered.
func TestHeartbeats(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- forward.Heartbeat(ctx, pc) }()
	c, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write([]byte("more than a heartbeat"))
	_, _ = c.Write([]byte{0})
	b := make([]byte, 9)
	if n, err := c.Read(b); n != 1 || b[0] != 0 || err != nil {
		t.Errorf("answered %q, %v", b[:n], err)
	}
	_ = c.Close()
	cancel()
	if err := <-done; err == nil {
		t.Error("Heartbeat = nil")
	}
}

func FuzzForward(f *testing.F) {
	for _, seed := range []string{
		"\x93\xa1t" + at(1) + record(1) + "\xc0", packed("t", entry(1)+entry(2), "chunk", "x"), "\x92\xa1t\x92" + entry(1) + entry(2),
		packed("t", gzipped(entry(1)), "compressed", "gzip"), packed("t", zstdOf(entry(1)), "compressed", "zstd"),
		"\x94\xa1t" + at(1) + record(1) + "\x81\xa5chunk\xa1x", "\x92\xa1t\xdd\xff\xff\xff\xff", "\xc0\xc0\x92\xa0\xa0",
	} {
		f.Add([]byte(seed), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		if len(b) > 4<<10 {
			return
		}
		synctest.Test(t, func(t *testing.T) { dialecttest.Fuzz(t, dialects, b, int(cut)%(len(b)+1)) })
	})
}
