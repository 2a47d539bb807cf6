package dictwire_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// A session is the peer of a native session, tested line by line.
type session struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func greet(t testing.TB, addr, greeting string) *session {
	t.Helper()
	c := dial(t, addr)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	s := &session{t: t, Conn: c, r: bufio.NewReader(c)}
	s.say(greeting + "\n")
	return s
}

func (s *session) say(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Fatal(err)
	}
}

// hear reads lines, each of which must match a pattern completely, and returns the last
// one.
func (s *session) hear(patterns ...string) (line string) {
	s.t.Helper()
	for _, p := range patterns {
		var err error
		line, err = s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%v after %q, want %s", err, line, p)
		}
		line = strings.TrimSuffix(line, "\n")
		if !regexp.MustCompile("^" + p + "$").MatchString(line) {
			s.t.Fatalf("heard %s, want %s", line, p)
		}
	}
	return line
}

// end expects the end of the connection.
func (s *session) end() {
	s.t.Helper()
	if rest, err := io.ReadAll(s.r); err != nil || len(rest) > 0 {
		s.t.Fatalf("heard %q, %v, want the end", rest, err)
	}
}

// exact is a pattern for a literal text.
func exact(text string) string { return regexp.QuoteMeta(text) }

func welcome(next int, sum string) string {
	if sum != "" {
		sum = strings.NewReplacer(`"7"`, `7`, `"8"`, `8`).Replace(fmt.Sprintf(`,"sum":"%s"`, sum))
	}
	return exact(fmt.Sprintf(`{"dictwire":1,"next":%d%s,"durability":"memory"`, next, sum)) + `.*"window":65536.*`
}

func sumOf(record string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(record), crc32.MakeTable(crc32.Castagnoli)))
}

// refuser is a handler that rejects, replies or fails as the record says.
func refuser() dictwire.Handler {
	return dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		v, _ := r.Dict().Get("do")
		switch do, _ := v.Text(); do {
		case "reject":
			return nil, dictwire.Reject("", "not wanted")
		case "panic":
			panic("on purpose")
		case "wait":
			return nil, dictwire.ErrUnavailable
		case "reply":
			return dict.Of("you are", r.Number, "of", r.Producer+"/"+r.Topic), nil
		case "unholdable":
			return dict.Of("raw", []byte{0xFF}), nil
		default:
			return nil, nil
		}
	})
}

// stored returns all records of a topic as "number record", or just the record if it has no
// number.
func stored(t testing.TB, s store.Store, topic string) (all []string) {
	t.Helper()
	for r := range servertest.Records(t, s, topic) {
		text := string(r.Bytes)
		if r.Codec == "cbor" {
			text = r.Dict(t).String()
		}
		if !r.Producer.IsZero() {
			text = fmt.Sprintf("%d %s", r.First+uint64(r.At.Index), text)
		}
		all = append(all, text)
	}
	return all
}

func wantStored(t testing.TB, s store.Store, topic string, want ...string) {
	t.Helper()
	if got := stored(t, s, topic); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds\n%s\nwant\n%s", topic, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNativeWrite(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st, Handler: refuser(), HandlerRetries: -1})

	// A new producer, and records in pieces.
	s := greet(t, addr, `{"dictwire":1,"topic":"orders","producer":"till","extra":[1]}`)
	s.hear(welcome(1, ""), exact(`{"ack":0}`))
	s.say(`{"a":1}` + "\n" + `{"a":2}{"a"`)
	s.hear(exact(`{"ack":2}`))
	s.say(`:3}` + "\n")
	s.hear(exact(`{"ack":3}`))

	// Rejections and replies precede the ack that covers them.
	s.say(`{"do":"reject"} {"do":"reply"} {"do":"panic"} {"do":"unholdable"} {"a":8}`)
	s.hear(
		exact(`{"rejected":4,"code":"handler","error":"not wanted"}`),
		exact(`{"reply":5,"length":32}`))
	reply := make([]byte, 32)
	if _, err := io.ReadFull(s.r, reply); err != nil || string(reply) != `{"you are":5,"of":"till/orders"}` {
		t.Errorf("replied %s, %v", reply, err)
	}
	s.hear(
		exact(`{"rejected":6,"code":"internal","error":"the handler failed"}`),
		`\{"reply":7,"length":0,"code":"loss","error":".*"\}`,
		exact(`{"ack":8}`))

	// Settled records are stored, the rejected ones with their numbers in _rejected.
	wantStored(t, st, "orders", `1 {"a":1}`, `2 {"a":2}`, `3 {"a":3}`, `5 {"do":"reply"}`, `7 {"do":"unholdable"}`, `8 {"a":8}`)
	if got := stored(t, st, "_rejected"); len(got) != 2 || !strings.HasPrefix(got[0],
		`4 {'code': 'handler', 'error': 'not wanted', 'topic': 'orders', 'producer': 'till', 'number': 4, 'dialect': 'native', 'format': 'json', 'peer': '127.0.0.1:`) ||
		!strings.HasSuffix(got[0], fmt.Sprintf(`, 'size': 15, 'sha256': '%x', 'bytes': b'{"do":"reject"}'}`, sha256.Sum256([]byte(`{"do":"reject"}`)))) {
		t.Errorf("_rejected holds\n%s", strings.Join(got, "\n"))
	}

	// Half-closing ends the session with everything settled, except for a cut-off record,
	// which takes no number.
	s.say(`{"a":9} {"a":`)
	_ = s.Conn.(*net.TCPConn).CloseWrite()
	s.hear(exact(`{"ack":9}`), `\{"error":".*","code":"truncated","at":\d+\}`)
	s.end()

	// After a resume, the client is told the outcome of what was not acked.
	s = greet(t, addr, `{"dictwire":1,"topic":"orders","producer":"till","acked":3}`)
	s.hear(welcome(10, sumOf(`{"a":9}`)),
		exact(`{"rejected":4,"code":"handler","error":"not wanted"}`),
		exact(`{"rejected":6,"code":"internal","error":"the handler failed"}`),
		exact(`{"ack":9}`))

	// A poison record takes a number and ends the session, not the producer.
	s.say(`{"a":10} {"a":1,"a":2} {"a":12}`)
	s.hear(`\{"rejected":11,"code":"duplicate_key","error":".*"\}`, exact(`{"ack":11}`), `\{"error":".*","code":"duplicate_key","at":\d+\}`)
	s.end()
	s = greet(t, addr, `{"dictwire":1,"topic":"orders","producer":"till","acked":10,"first":11}`)
	s.hear(welcome(12, sumOf(`{"a":1,"`)+`","of":"8`), `\{"rejected":11,.*\}`, exact(`{"ack":11}`))

	// If a record can't be read to its end, the sum covers what was read.
	s.say(`{"a":1x,"b":2}`)
	s.hear(`\{"rejected":12,.*\}`, exact(`{"ack":12}`), `\{"error":.*`)
	s.end()
	s = greet(t, addr, `{"dictwire":1,"topic":"orders","producer":"till","acked":12}`)
	s.hear(welcome(13, sumOf(`{"a":1x`)+`","of":"7`), exact(`{"ack":12}`))

	// Records that can't be checked now settle nothing, but earlier ones are settled.
	s.say(`{"a":13} {"do":"wait"} {"a":14}`)
	s.hear(exact(`{"ack":13}`), exact(`{"error":"nothing can be stored for now","code":"unavailable","retry_ms":500}`))
	s.end()
	s = greet(t, addr, `{"dictwire":1,"topic":"orders","producer":"till","acked":13}`)
	s.hear(welcome(14, sumOf(`{"a":13}`)), exact(`{"ack":13}`))
}

// Every format is stored as it is, except for pickles and Python literals, which become
// CBOR.
func TestNativeFormats(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st})
	d := dict.Of("a", 1)
	pickled, _ := pickle.Codec{}.Append(nil, d)
	asCBOR, _ := cbor.Codec{}.Append(nil, d)
	for format, record := range map[string]string{
		"cbor": string(asCBOR), "msgpack": "\x81\xa1a\x01", "pickle": string(pickled), "python": "{'a': 1}\n",
	} {
		s := greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"%s","producer":"p","format":"%s"}`, format, format))
		s.hear(welcome(1, ""), exact(`{"ack":0}`))
		s.say(record)
		s.hear(exact(`{"ack":1}`))
		s.say(record)
		s.hear(exact(`{"ack":2}`))
		s = greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"%s","producer":"p","format":"%s"}`, format, format))
		s.hear(welcome(3, sumOf(strings.TrimSpace(record))), exact(`{"ack":2}`))
		want := "1 {'a': 1}"
		if format == "msgpack" {
			want = "1 " + record
		}
		wantStored(t, st, format, want, "2"+want[1:])
	}
	s := greet(t, addr, `{"dictwire":1,"topic":"pickles","producer":"p","format":"pickle"}`)
	s.hear(welcome(1, ""), exact(`{"ack":0}`))
	s.say("\x80\x04c__builtin__\nprint\n." + string(pickled))
	s.hear(`\{"rejected":1,"code":"unsafe_pickle",.*\}`, exact(`{"ack":2}`))
}

// Of two readers of a cursor, one wins.
func TestNativeCursorFencing(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	read := func(attempt int) *session {
		return greet(t, addr, fmt.Sprintf(`{"dictwire":1,"subscribe":"t","cursor":"c","follow":true,"attempt":%d}`, attempt))
	}
	first := read(5)
	first.hear(`\{"dictwire":1,"next":.*`, `\{"next":.*`)
	late := read(4)
	late.hear(exact(`{"error":"a later attempt has the cursor","code":"stale"}`))
	late.end()
	for _, attempt := range []int{5, 6, 0} {
		next := read(attempt)
		next.hear(`\{"dictwire":1,"next":.*`, `\{"next":.*`)
		first.hear(exact(`{"error":"another connection has taken over","code":"fenced"}`))
		first.end()
		first = next
	}
}

// Refused greetings have no effect.
func TestNativeGreetings(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	for greeting, want := range map[string]string{
		`{"dictwire":2}`:                                              `"code":"version"`,
		`{"dictwire":1,"topic":"a b"}`:                                `"code":"topic"`,
		`{"dictwire":1,"topic":"_rejected"}`:                          `"code":"topic"`,
		`{"dictwire":1,"topic":7}`:                                    `greeting: /topic: want a string","code":"malformed"`,
		`{"dictwire":1,"producer":"a b"}`:                             `want printable ASCII without spaces`,
		`{"dictwire":1,"format":"xml"}`:                               `"code":"unsupported"`,
		`{"dictwire":1,"producer":"p","acked":7}`:                     `"code":"lost","next":1`,
		`{"dictwire":1,"subscribe":"a..b"}`:                           `"code":"topic"`,
		`{"dictwire":1,"subscribe":"a","from":"yesterday"}`:           `from: want earliest, latest, `,
		`{"dictwire":1,"subscribe":"a","from":"abcd.1.0"}`:            `"code":"lost"`,
		`{"dictwire":1,"subscribe":"a","format":"xml"}`:               `"code":"unsupported"`,
		`{"dictwire":1,"topic":"a","topic":"b"}`:                      `"code":"duplicate_key"`,
		`{"dictwire":1} `:                                             `want one line feed after the greeting`,
		`{"dictwire":1,"producer":"p"}` + "\n" + `{"a":1}`:            `bytes after the greeting before it was answered`,
		`{"dictwire":1,"topic":"` + strings.Repeat("x", 8<<10) + `"}`: `"code":"too_large"`,
	} {
		s := greet(t, addr, greeting)
		s.hear(`\{"error":.*` + exact(want) + `.*\}`)
		s.end()
	}
}

// Of two sessions of a producer, one wins.
func TestNativeFencing(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	session := func(attempt int) *session {
		return greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"t","producer":"p","attempt":%d}`, attempt))
	}
	first := session(5)
	first.hear(welcome(1, ""), exact(`{"ack":0}`))
	first.say(`{"a":1}`)
	first.hear(exact(`{"ack":1}`))

	late := session(4)
	late.hear(`\{"error":".*","code":"stale"\}`)
	late.end()
	first.say(`{"a":2}`)
	first.hear(exact(`{"ack":2}`))

	for _, attempt := range []int{5, 6, 0} {
		next := session(attempt)
		next.hear(welcome(3, sumOf(`{"a":2}`)), exact(`{"ack":2}`))
		first.hear(exact(`{"error":"another connection has taken over","code":"fenced"}`))
		first.end()
		first = next
	}
}

func TestNativeLost(t *testing.T) {
	addr := start(t, &dictwire.Server{})
	s := greet(t, addr, `{"dictwire":1,"producer":"p","first":41}`)
	s.hear(welcome(41, ""), exact(`{"ack":40}`))
	s.say(`{}`)
	s.hear(exact(`{"ack":41}`))
	for _, greeting := range []string{`"acked":42`, `"first":43`} {
		s = greet(t, addr, `{"dictwire":1,"producer":"p",`+greeting+`}`)
		s.hear(`\{"error":"the server has less than it promised: it wants number 42; .*","code":"lost","next":42\}`)
		s.end()
	}
	s = greet(t, addr, `{"dictwire":1,"producer":"p","acked":50,"first":50,"accept_lost":true}`)
	s.hear(welcome(50, ""), exact(`{"ack":49}`))
	s.say(`{}`)
	s.hear(exact(`{"ack":50}`))
	for greeting, refused := range map[string]bool{``: true, `"acked":48,`: true, `"acked":49,`: false, `"first":50,`: false} {
		s = greet(t, addr, `{"dictwire":1,`+greeting+`"producer":"p"}`)
		if refused {
			s.hear(`\{"error":"not all records below number 50 were stored: another session gave them up; .*","code":"lost","next":51\}`)
			s.end()
		} else {
			s.hear(welcome(51, sumOf(`{}`)), exact(`{"ack":50}`))
		}
	}
}

// An overtaken store lets another session claim the producer, and reject a record, before a
// session reads its rejections.
type overtaken struct {
	*memory.Store
	t *testing.T
}

func (s overtaken) Rejections(ctx context.Context, p store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		s.t.Error(err)
	}
	b := &store.Block{
		Topic: store.Rejected, Codec: "cbor", Principal: p.Principal, Producer: p, Epoch: c.Epoch, First: c.Next,
		Rejected: []store.Rejection{{Number: c.Next, Code: "handler", Text: "another's"}},
	}
	b.Add([]byte{0xa0})
	if r := s.Append(ctx, b)[0]; r.Err != nil {
		s.t.Error(r.Err)
	}
	return s.Store.Rejections(ctx, p, after)
}

// A session that was overtaken does not see records of the other one.
func TestNativeOvertaken(t *testing.T) {
	addr := start(t, &dictwire.Server{Store: overtaken{memory.New(nil), t}})
	s := greet(t, addr, `{"dictwire":1,"producer":"p"}`)
	s.hear(welcome(1, ""), exact(`{"ack":0}`))
}

// A session without a producer numbers records from 1, and stores no numbers.
func TestNativeWithoutProducer(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st, Topic: "here"})
	for range 2 {
		s := greet(t, addr, `{"dictwire":1}`+"\n"+`{"a":1}`)
		s.hear(welcome(1, ""), exact(`{"ack":0}`), exact(`{"ack":1}`))
	}
	wantStored(t, st, "here", `{"a":1}`, `{"a":1}`)
}

func TestNativeRead(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st})
	send := func(topic string, records ...string) {
		s := greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"%s","producer":"p"}`, topic))
		s.hear(`.*`)
		n := regexp.MustCompile(`\d+`).FindString(s.hear(`\{"ack":\d+\}`))
		s.say(strings.Join(records, "\n"))
		last := 0
		_, _ = fmt.Sscan(n, &last)
		for want := last + len(records); last < want; {
			_, _ = fmt.Sscanf(s.hear(`\{"ack":\d+\}`), `{"ack":%d}`, &last)
		}
	}
	pos := `[a-z0-9]+\.\d+\.\d+`
	body := func(s *session, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(s.r, got); err != nil || string(got) != want {
			t.Fatalf("read %s, %v, want %s", got, err, want)
		}
	}
	send("orders.eu", `{"a":1}`, `{"a":22}`)
	send("orders.us", `{"a":3}`)
	send("other", `{"a":4}`)

	s := greet(t, addr, `{"dictwire":1,"subscribe":"orders.*"}`)
	s.hear(`\{"dictwire":1,"next":"`+pos+`"\}`,
		`\{"at":"`+pos+`","next":"`+pos+`","topic":"orders.eu","producer":"p","first":1,"time":"20.*Z","format":"json","lengths":\[7,8\]\}`)
	body(s, `{"a":1}{"a":22}`)
	s.hear(`\{"at":.*"topic":"orders.us".*"lengths":\[7\]\}`)
	body(s, `{"a":3}`)
	next := regexp.MustCompile(pos).FindString(s.hear(`(\{"next":.*\}|\{"end":"` + pos + `"\})`))
	if next == "" {
		t.Fatal("no position")
	}

	// A reader that follows with a cursor.
	s = greet(t, addr, `{"dictwire":1,"subscribe":["orders.eu","other"],"cursor":"c","follow":true}`)
	s.hear(`\{"dictwire":1,"next":.*`)
	at := s.hear(`\{"at":.*"topic":"orders.eu".*`)
	body(s, `{"a":1}{"a":22}`)
	s.hear(`\{"at":.*"topic":"other".*`)
	body(s, `{"a":4}`)
	found := regexp.MustCompile(`"next":"(` + pos + `)"`).FindStringSubmatch(at)
	s.say(fmt.Sprintf(`{"commit":"%s"}`, found[1]) + "\n")
	for line := ""; !strings.Contains(line, "committed"); {
		line = s.hear(`(\{"next":.*\}|` + exact(fmt.Sprintf(`{"committed":"%s"}`, found[1])) + `)`)
	}
	send("other", `{"a":5}`)
	for line := ""; !strings.HasPrefix(line, `{"at"`); {
		line = s.hear(`(\{"next":.*\}|\{"at":.*"topic":"other".*)`)
	}
	body(s, `{"a":5}`)

	// The next reader continues after the commit, and fences the older one.
	s2 := greet(t, addr, `{"dictwire":1,"subscribe":["orders.eu","other"],"cursor":"c"}`)
	s2.hear(exact(fmt.Sprintf(`{"dictwire":1,"next":"%s"}`, found[1])), `\{"at":.*"topic":"other".*`)
	body(s2, `{"a":4}`)
	for line := ""; !strings.Contains(line, "fenced"); {
		line = s.hear(`(\{"next":.*\}|\{"error":.*"code":"fenced"\})`)
	}
	s.end()

	// In another format.
	s = greet(t, addr, `{"dictwire":1,"subscribe":"other","format":"python"}`)
	s.hear(`.*`, `\{"at":.*"format":"python","lengths":\[8\]\}`)
	body(s, `{'a': 4}`)
	asCBOR, _ := cbor.Codec{}.Append(nil, dict.Of("raw", []byte{0xFF}))
	r := greet(t, addr, `{"dictwire":1,"topic":"raw","format":"cbor"}`)
	r.hear(`.*`, `.*`)
	r.say(string(asCBOR))
	r.hear(exact(`{"ack":1}`))
	s = greet(t, addr, `{"dictwire":1,"subscribe":"raw","format":"json"}`)
	s.hear(`.*`, `\{"error":"the record at `+pos+`: /raw: .*read without \\"format\\", or with \\"lossy\\":true","code":"loss"\}`)
	s = greet(t, addr, `{"dictwire":1,"subscribe":"raw","format":"json","lossy":true}`)
	s.hear(`.*`, `\{"at":.*"format":"json".*`)
	body(s, `{"raw":"/w=="}`)

	// An index beyond the end of its block is not a position; the end itself is one.
	block, _ := strings.CutSuffix(found[1], ".0")
	dot := strings.LastIndexByte(block, '.')
	var last int
	_, _ = fmt.Sscan(block[dot+1:], &last)
	block = fmt.Sprintf("%s.%d", block[:dot], last-1) // of the two records of orders.eu
	for index, bad := range map[string]bool{"1": false, "2": false, "3": true, "4294967295": true} {
		s = greet(t, addr, fmt.Sprintf(`{"dictwire":1,"subscribe":"orders.eu","from":"%s.%s"}`, block, index))
		if bad {
			s.hear(`\{"error":".*` + exact(block+"."+index) + ` is after the end of its block of 2; .*","code":"lost"\}`)
			s.end()
		} else {
			s.hear(`\{"dictwire":1,"next":"` + exact(block+"."+index) + `"\}`)
		}
		s = greet(t, addr, fmt.Sprintf(`{"dictwire":1,"subscribe":"orders.eu","cursor":"index%s","follow":true}`, index))
		s.hear(`\{"dictwire":1,.*`, `\{"at":.*`)
		body(s, `{"a":1}{"a":22}`)
		s.say(fmt.Sprintf(`{"commit":"%s.%s"}`, block, index) + "\n")
		line := s.hear(`.*`)
		for strings.HasPrefix(line, `{"next"`) {
			line = s.hear(`.*`)
		}
		if strings.Contains(line, `"code":"malformed"`) != bad || strings.Contains(line, `"committed"`) == bad {
			t.Errorf("commit %s of a block of 2: heard %s", index, line)
		}
	}

	// Invalid commits.
	for commit, want := range map[string]string{
		`{"commit":"abcd.1.0"}`: "malformed", `{"hello":1}`: "malformed", strings.Repeat("x", 9000): "too_large",
		`{"commit":"` + strings.Replace(found[1], ".", ".9", 1) + `"}`: "not among what was sent here",
	} {
		s = greet(t, addr, `{"dictwire":1,"subscribe":"none","cursor":"d"}`)
		s.say(commit + "\n")
		for line := ""; !strings.Contains(line, "error"); {
			line = s.hear(`.*`)
			if strings.Contains(line, "error") && !strings.Contains(line, want) {
				t.Errorf("%.100s: heard %s", commit, line)
			}
		}
	}
}
