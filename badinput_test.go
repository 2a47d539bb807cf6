package dictwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/internal/testrand"
)

// Each conversation: what a client sends, what is stored, what the client is told, and what
// is logged.
func TestConversations(t *testing.T) {
	long := `{"text":"` + strings.Repeat("x", 2000) + `"}`
	for _, test := range []struct {
		name, send string
		taken      string
		told       []string // per line
		logged     string   // "" means nothing
	}{
		{
			name: "the exercise's client", send: `{"name": "Alice", "age": 30, "city": "Paris"}`,
			taken: "{'name': 'Alice', 'age': 30, 'city': 'Paris'}",
		},
		{name: "nothing"},
		{name: "white space alone", send: " \n\r\t"},
		{name: "newline-delimited", send: "{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}", taken: "{'a': 1}{'b': 2}{'c': 3}"},
		{name: "concatenated", send: `{"a":1}{"b":2} {"c":3}`, taken: "{'a': 1}{'b': 2}{'c': 3}"},
		{name: "NUL-separated", send: "{\"a\":1}\x00{\"b\":2}\x00", taken: "{'a': 1}{'b': 2}"},
		{name: "RS-separated", send: "\x1e{\"a\":1}\n\x1e{\"b\":2}\n", taken: "{'a': 1}{'b': 2}"},
		{name: "pretty-printed", send: "{\n  \"a\": [\n    1\n  ]\n}\n{\n}\n", taken: "{'a': [1]}{}"},
		{name: "byte order marks", send: "\xef\xbb\xbf{\"a\":1}\n\xef\xbb\xbf{\"a\":2}", taken: "{'a': 1}{'a': 2}"},
		{name: "an array", send: "[\n {\"a\":1},\n {\"b\":2}\n]\n{\"c\":3}[{}]", taken: "{'a': 1}{'b': 2}{'c': 3}{}"},
		{
			name: "an array with other items", send: "[{\"a\":1},2,[{}],{\"b\":2}]", taken: "{'a': 1}{'b': 2}",
			told: []string{"got a number", "got a list"}, logged: "not_a_dictionary",
		},
		{
			name: "an array with a malformed item", send: "[{\"a\":1},\n{\"b\":oops},\n{\"c\":3}\n]\n{}", taken: "{'a': 1}",
			told: []string{"the sequence ends here"}, logged: "malformed",
		},
		{
			name: "an array that is cut off", send: "[{\"a\":1},{\"b\":2}", taken: "{'a': 1}{'b': 2}",
			told: []string{"want the end of the array"}, logged: "truncated",
		},

		{
			name: "malformed, then good", send: "{\"a\":1}\n{\"a\":oops}\n{\"b\":2}\n", taken: "{'a': 1}{'b': 2}",
			told:   []string{`{"error":"json: want a value, got 'o' (at byte 5, in /a)","code":"malformed","at":13}`},
			logged: `msg="record refused"`,
		},
		{
			name: "malformed, and its line is cut off in a string", send: "{\"a\":\"x\n{\"b\":2}\n{\"c\":3}", taken: "{'b': 2}{'c': 3}",
			told: []string{`got a line feed`}, logged: "code=malformed",
		},
		{
			name: "malformed, and its line is cut off elsewhere", send: "{\"a\":\n{\"b\":2}\n{\"c\":3}",
			told: []string{`the sequence ends here, since where the next record begins is not certain`}, logged: "code=malformed",
		},
		{
			name: "malformed over lines", send: "{\"a\":1}\n{\n\"a\": 1,,\n\"b\":\n{\n\"c\": 2\n}\n}\n", taken: "{'a': 1}",
			told: []string{`the sequence ends here, since where the next record begins is not certain`}, logged: "code=malformed",
		},
		{
			name: "bad lines", send: "{oops}\n{\"a\":1}\nnot\n", taken: "{'a': 1}",
			told: []string{`got 'o'`, `got 'n'`}, logged: "code=malformed",
		},
		{
			name: "malformed between NULs", send: "{\"a\":1}\x00{\"a\":\x00{\"b\":2}", taken: "{'a': 1}{'b': 2}",
			told: []string{`"code":"malformed"`}, logged: "code=malformed",
		},
		{
			name: "malformed among pretty-printed", send: "{\n\"a\":1\n}\n{\"b\":tru}\n{\"c\":3}\n", taken: "{'a': 1}{'c': 3}",
			told: []string{`"code":"malformed"`}, logged: "code=malformed",
		},
		{
			name: "Python literal", send: `{'name': 'Alice'}`,
			told: []string{"send json.dumps(dictionary)"}, logged: "Python literal",
		},
		{
			name: "Python constant", send: `{"a": None}`,
			told: []string{"send json.dumps(dictionary)"}, logged: "Python literal",
		},
		{
			name: "list", send: `[1, 2]`,
			told: []string{`"want a dictionary, got a JSON list of something else; nothing of this connection was taken; wrap it, as in {\"value\": …}","code":"not_a_dictionary"`}, logged: "not_a_dictionary",
		},
		{
			name: "list, later", send: "{}\n[1, 2]\n{}\n", taken: "{}{}",
			told: []string{`want a dictionary, got a list (at byte 0)`}, logged: "not_a_dictionary",
		},
		{name: "number", send: `42`, told: []string{`this looks like a length or a number in decimal digits, which is not served; nothing of this connection was taken; send the dictionary alone`}, logged: "unsupported"},
		{
			name: "duplicate key", send: `{"a": 1, "a": 2}`,
			told: []string{`the key \"a\" comes twice (at byte 9)`}, logged: "duplicate_key",
		},
		{
			name: "truncated", send: `{"a":1}{"b": [1, 2`, taken: "{'a': 1}",
			told: []string{`want ',' or ']', got the end (at byte 11, in /b/1)","code":"truncated","at":18`}, logged: "truncated",
		},
		{
			name: "too large", send: long + "\n{\"a\":1}\n", taken: "{'a': 1}",
			told: []string{`the record has more than 1000 bytes; Limits.RecordBytes raises the limit`}, logged: "too_large",
		},
		{
			name: "too deep", send: "{\"a\":" + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}\n{\"a\":1}\n", taken: "{'a': 1}",
			told: []string{`the record has more than 128 levels; Limits.Depth raises the limit`}, logged: "too_deep",
		},
		{
			name: "invalid UTF-8", send: "{\"a\":\"\xff\"}",
			told: []string{`want UTF-8, got byte 0xff (at byte 6, in /a)`}, logged: "malformed",
		},
		{
			name: "control character", send: "{\"a\":\"x\x01\"}",
			told: []string{`control character 0x01`}, logged: "malformed",
		},
		{
			name: "HTTP", send: "GET / HTTP/1.1\r\n\r\n", logged: "unsupported",
			told: []string{
				"HTTP/1.1 501 Not Implemented\r", "Content-Type: application/json\r", "Content-Length: ", "Connection: close\r", "\r",
				"this is HTTP, which this server does not speak yet; nothing of this connection was taken",
			},
		},
		{
			name: "HTTP that is a pickle", logged: "unsupported",
			send: "copy / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + strings.Repeat("x", 105) + ".}U+{\"evil\":\"put here by a page in a browser\"}!K1s.\r\n\r\n",
			told: []string{"HTTP/1.1 501", "", "", "", "", "this is HTTP"},
		},
		{name: "pickles", send: "\x80\x04}\x94.\x80\x02}U\x01aK\x01s.(dp0\n.", taken: "{}{'a': 1}{}"},
		{
			name: "a pickle that would call", send: "\x80\x04}\x94.}(U\x01acos\nsystem\nU\x02id\x85Ru.", taken: "{}",
			told: []string{"os.system"}, logged: "unsafe_pickle",
		},
		{name: "MessagePack", send: "\x81\xa1a\x01\x80\x81\x01\xc0", taken: "{'a': 1}{}{1: None}"},
		{name: "bad MessagePack", send: "\x81\xa1a\x01\x81\xa1a\xc1", taken: "{'a': 1}", told: []string{"malformed"}, logged: "malformed"},
		{name: "CBOR", send: "\xa1\x61a\x01\xbf\x01\x82\x02\xf7\xff", taken: "{'a': 1}{1: [2, undefined]}"},
		{
			name: "bad MessagePack between good", send: "\x81\xa1a\x01\x81\xa1v\xa1\xff\x81\xa1a\x03", taken: "{'a': 1}{'a': 3}",
			told: []string{"want UTF-8"}, logged: "malformed",
		},
		{
			name: "bad CBOR between good", send: "\xa1\x61a\x01\xa2\x61a\x01\x61a\x02\xa1\x61a\x03", taken: "{'a': 1}{'a': 3}",
			told: []string{"comes twice"}, logged: "duplicate_key",
		},
		{
			name: "a first pickle that would call", send: "\x80\x04cos\nsystem\nU\x02id\x85R.\x80\x04}\x94.",
			told: []string{"os.system"}, logged: "unsafe_pickle",
		},
		{name: "bad CBOR", send: "\xa1\x61a\x01\xa1\x61a\x1c", taken: "{'a': 1}", told: []string{"malformed"}, logged: "malformed"},
		{name: "Forward", send: "\x93\xa1a\x01", told: []string{"this is Fluent Forward, which"}, logged: "unsupported"},
		{name: "frames", send: "\x00\x00\x00\x07{\"a\":1}", taken: "{'a': 1}"},
		{name: "TLS", send: "\x16\x03\x01\x02\x00", told: []string{"\x15\x03\x01\x00\x02\x02\x28"}, logged: "unsupported"},
		{name: "the shortest MessagePack", send: "\x80", taken: "{}"},
		{name: "half a mark", send: "\xef", told: []string{"ended before its first bytes told a protocol"}, logged: "truncated"},
		{name: "words", send: "not a dictionary", told: []string{"'n' begins no dictionary in any format; nothing of this connection was taken"}, logged: "unsupported"},
		{name: "UTF-16", send: "{\x00\"\x00a\x00\"\x00", told: []string{"this looks like UTF-16"}, logged: "unsupported"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var rec recorder
			var log testlog.Buffer
			srv := &dictwire.Server{Handler: &rec, Logger: log.Logger(), Limits: codec.Limits{RecordBytes: 1000}}
			addr := start(t, srv)
			// The same input in one piece, and split at every byte.
			for _, parts := range [][]string{{test.send}, strings.Split(test.send, "")} {
				if len(parts) > 1000 {
					parts = []string{test.send[:700], test.send[700:1500], test.send[1500:]}
				}
				rec.seen = nil
				told := say(t, addr, parts...)
				if got := strings.Join(rec.all(), ""); got != test.taken {
					t.Errorf("taken in: %s, want %s", got, test.taken)
				}
				var lines []string // of JSON; other formats report one dictionary
				if told != "" {
					lines = strings.Split(strings.TrimSuffix(told, "\n"), "\n")
				}
				if len(lines) != len(test.told) || strings.HasPrefix(told, "{") && !strings.HasSuffix(told, "\n") {
					t.Errorf("told %q, want %q", told, test.told)
					continue
				}
				for i, want := range test.told {
					if !strings.Contains(lines[i], want) {
						t.Errorf("told %q, want %q", lines[i], want)
					}
				}
			}
			if err := srv.Close(); err != nil { // the end of a connection is logged after it
				t.Error(err)
			}
			if got := log.String(); !strings.Contains(got, test.logged) || test.logged == "" && got != "" {
				t.Errorf("logged %q, want %q", got, test.logged)
			}
		})
	}
}

// recordsOf returns the records of a good sequence.
func recordsOf(t *testing.T, c codec.Codec, b []byte) (all [][]byte) {
	t.Helper()
	s := c.NewScanner(codec.Limits{})
	for len(b) > 0 {
		_, end, err := s.Next(b)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		all = append(all, b[:end])
		b = b[end:]
	}
	return all
}

// binaryFormat returns the codec that b begins like, if it is a binary format.
func binaryFormat(b []byte) codec.Codec {
	switch sniffAll(b) {
	case dialect.CBOR:
		return cbor.Codec{}
	case dialect.MessagePack:
		return msgpack.Codec{}
	case dialect.Pickle:
		return pickle.Codec{}
	default:
		return nil
	}
}

// sniffAll returns the protocol of b, after which nothing follows.
func sniffAll(b []byte) dialect.Protocol {
	p, err := dialect.Sniff(b)
	if errors.Is(err, codec.ErrIncomplete) {
		p, _ = dialect.SniffRecord(b)
	}
	return p
}

// Random bytes are refused with a reason and a code, and the server continues.
func TestRandomBytes(t *testing.T) {
	var rec recorder
	srv := &dictwire.Server{Handler: &rec}
	addr := start(t, srv)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		b := make([]byte, 1+r.IntN(3000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			b = append([]byte(`{"`), b...)
		}
		b = bytes.ReplaceAll(b, []byte("{}"), []byte("{x")) // a dictionary, after a line feed
		c := dial(t, addr)
		_, _ = c.Write(b) // the server may have ended it already
		_ = c.(*net.TCPConn).CloseWrite()
		told, _ := io.ReadAll(c)
		_ = c.Close()
		if b[0] == 0x16 && string(told) == "\x15\x03\x01\x00\x02\x02(" { // a TLS handshake, and the alert that it fails
			continue
		}
		if sniffAll(b) == dialect.Framed && len(told) > 4 {
			told = told[4:] // an answer follows its length
		}
		answers := bytes.SplitAfter(told, []byte("\n"))
		var in codec.Codec = json.Codec{}
		if binary := binaryFormat(b); binary != nil {
			// Such a sequence may contain dictionaries, and is answered in its format.
			in, rec.seen = binary, nil
			answers = recordsOf(t, binary, told)
		}
		for _, answer := range answers {
			if len(answer) == 0 {
				continue
			}
			d, err := in.Decode(answer, codec.Limits{})
			if err != nil {
				t.Fatalf("seed %d: %q is told %q", seed, b, answer)
			}
			text, _ := d.Get("error")
			code, _ := d.Get("code")
			if reason, _ := text.Text(); reason == "" {
				t.Errorf("seed %d: %q is told %v without a reason", seed, b, d)
			}
			switch name, _ := code.Text(); name {
			case "malformed", "truncated", "not_a_dictionary", "unsupported":
			case "too_large", "too_deep", "limit", "duplicate_key", "unsafe_pickle": // of a binary format
			default:
				t.Errorf("seed %d: %q is told %v", seed, b, d)
			}
		}
	}
	if got := rec.all(); len(got) > 0 {
		t.Errorf("seed %d: taken in: %q", seed, got)
	}
	say(t, addr, `{"a":1}`)
	if got := fmt.Sprint(rec.all()); got != "[{'a': 1}]" {
		t.Errorf("seed %d: the server does not go on: %s", seed, got)
	}
}

func TestKeepLast(t *testing.T) {
	var rec recorder
	addr := start(t, &dictwire.Server{Handler: &rec, JSON: json.Codec{DuplicateKeys: json.KeepLast}})
	say(t, addr, `{"1": "a", "x": 0, "1": "b"}`)
	if got := fmt.Sprint(rec.all()); got != "[{'1': 'b', 'x': 0}]" {
		t.Error(got)
	}
}

// A peer that sends bad records endlessly and never reads is not blocked by the answers,
// and the log stays short.
func TestManyBadRecords(t *testing.T) {
	n := testrand.Many(50_000)
	var log testlog.Buffer
	srv := &dictwire.Server{Logger: log.Logger()}
	addr := start(t, srv)
	c := dial(t, addr)
	chunk := strings.Repeat("{\"a\":oops}\n{\"a\":1}\n", 1000)
	for range n / 1000 {
		if _, err := io.WriteString(c, chunk); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	told, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(told), "\n"); got != 16 {
		t.Errorf("told %d times", got)
	}
	if got := srv.Stats(); got.Records != int64(n) || got.Rejected != int64(n) {
		t.Errorf("%+v", got)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if got := log.String(); strings.Count(got, "\n") != 17 || !strings.Contains(got, fmt.Sprintf("count=%d", n-16)) {
		t.Errorf("logged %.5000s", got)
	}
}

// 1,000 silent connections leave the server to others, and use almost nothing.
func TestSilentConnections(t *testing.T) {
	srv := new(dictwire.Server)
	addr := start(t, srv)
	for range 1000 {
		dial(t, addr)
	}
	for range 20 {
		say(t, addr, `{"a":1}`)
	}
	if got := srv.Stats(); got.Records != 20 || got.Connections != 20 {
		t.Errorf("%+v", got)
	}
}

// MaxConns makes further connections wait, and loses none.
func TestMaxConns(t *testing.T) {
	srv := &dictwire.Server{MaxConns: 4}
	addr := start(t, srv)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { say(t, addr, `{"a":1}`) })
	}
	wg.Wait()
	if got := srv.Stats().Records; got != 50 {
		t.Errorf("%d records", got)
	}
}

// Many clients at once: each connection's records arrive whole and in order.
func TestManyClients(t *testing.T) {
	const clients = 64
	records := testrand.Many(2000)
	var mu sync.Mutex
	next := make(map[int64]int64)
	srv := &dictwire.Server{Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		client, _ := r.Dict().Get("client")
		number, _ := r.Dict().Get("number")
		id, _ := client.Int()
		n, _ := number.Int()
		mu.Lock()
		defer mu.Unlock()
		if next[id] != n {
			t.Errorf("client %d: got %d, want %d", id, n, next[id])
		}
		next[id] = n + 1
		return nil, nil
	})}
	addr := start(t, srv)
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() {
			var b strings.Builder
			r := rand.New(rand.NewPCG(7, uint64(id)))
			for n := range records {
				fmt.Fprintf(&b, `{"client": %d, "number": %d, "pad": %q}`+"\n", id, n, strings.Repeat("é", r.IntN(300)))
			}
			c := dial(t, addr)
			if err := c.SetDeadline(time.Time{}); err != nil { // no deadline
				t.Error(err)
			}
			for rest := b.String(); rest != ""; {
				n := min(1+r.IntN(20000), len(rest))
				if _, err := io.WriteString(c, rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		})
	}
	wg.Wait()
	if got := srv.Stats().Records; got != int64(clients*records) {
		t.Errorf("%d records, want %d", got, clients*records)
	}
}

// A record larger than any buffer arrives whole, in pieces of any size.
func TestLargeRecord(t *testing.T) {
	var rec recorder
	addr := start(t, &dictwire.Server{Handler: &rec})
	text := strings.Repeat("0123456789", 100_000)
	say(t, addr, `{"a":"`, text[:3], text[3:70_000], text[70_000:], `"}{"b":`, `2}`)
	if got := rec.all(); len(got) != 2 || got[0] != "{'a': '"+text+"'}" || got[1] != "{'b': 2}" {
		t.Errorf("%d records, %.100q", len(got), got)
	}
}

// Records that stall while others wait for memory are cut off, and the others are served.
func TestMemoryPressure(t *testing.T) {
	srv := &dictwire.Server{MaxMemory: 32 << 20}
	addr := start(t, srv)
	half := []byte(`{"a":"` + strings.Repeat("x", 512<<10))
	for range 100 {
		c := dial(t, addr)
		go func() { _, _ = c.Write(half) }()
	}
	whole := `{"a":"` + strings.Repeat("x", 900<<10) + `"}`
	began := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := say(t, addr, whole); got != "" {
				t.Errorf("an honest client was told %q", got)
			}
		})
	}
	wg.Wait()
	if got := srv.Stats().Records; got != 8 {
		t.Errorf("%d records", got)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the honest clients took %v", took)
	}
}
