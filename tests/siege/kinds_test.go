package siege_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// hold is how long a peer holds a connection that the server does not end.
const hold = 20 * time.Second

// kinds lists the kinds of attack.
var kinds = []kind{
	{"silent", func(h *hostile) {
		c := h.open()
		defer c.close()
		c.lasts(hold)
	}},
	{"half-open", func(h *hostile) { // it half-closes, or disappears silently
		c := h.open()
		defer c.close()
		c.say(pick(h, halves))
		if h.IntN(2) == 0 {
			c.half()
		}
		c.lasts(hold)
	}},
	{"loris-first", func(h *hostile) { // slow first bytes, which decide the protocol
		c := h.open()
		defer c.close()
		c.slowly(append([]byte("  \n  "), pick(h, [][]byte{[]byte("{\"dictwire"), {0x80, 4}, {0x92, 0xa1}, []byte("POST ")})...), 1, time.Second)
		c.lasts(hold)
	}},
	{"loris-greeting", func(h *hostile) {
		c := h.open()
		defer c.close()
		c.slowly(greeting("slow."+strings.Repeat("x", 100), "json"), 1, 200*time.Millisecond)
	}},
	{"loris-record", func(h *hostile) {
		c := h.open()
		defer c.close()
		b := pick(h, slow)
		c.say(b[:len(b)/2])
		c.slowly(b[len(b)/2:], 7, 100*time.Millisecond)
		c.lasts(hold)
	}},
	{"loris-large", func(h *hostile) { // fast enough to stay, but endless
		c := h.open()
		defer c.close()
		c.say([]byte(`{"a":"`), bytes.Repeat([]byte{'x'}, 15_000))
		c.slowly(bytes.Repeat([]byte{'y'}, 200_000), 4500, time.Second)
	}},
	{"loris-commit", func(h *hostile) {
		c := h.open()
		defer c.close()
		c.say(line(map[string]any{"subscribe": "slow.*", "cursor": h.name(), "follow": true}))
		c.slowly([]byte(`{"commit":"`+strings.Repeat("x", 200)), 1, 200*time.Millisecond)
	}},
	{"junk", func(h *hostile) { // every few bytes are a rejected record
		h.tell(hold, pick(h, junk))
	}},
	{"junk-deaf", func(h *hostile) { // it does not read the rejections
		c := h.dial()
		defer c.close()
		c.say(pick(h, junk))
		c.lasts(hold / 4)
	}},
	{"frames", func(h *hostile) { h.tell(hold, pick(h, framedJunk)) }},
	{"forward", func(h *hostile) { h.tell(hold, pick(h, forwardJunk)) }},
	{"forward-chunks", func(h *hostile) { // each a name that the store has to remember
		c := h.open()
		defer c.close()
		for i := range 20 {
			c.say(forwardMessage(forwardEntries(3), fmt.Sprintf("\x81\xa5chunk\xd9\x20%032x", h.Uint64()+uint64(i))))
		}
		c.half()
		c.lasts(hold / 4)
	}},
	{"bomb-pickle", func(h *hostile) { h.tell(hold, pick(h, pickleBombs)) }},
	{"bomb-cbor", func(h *hostile) { h.tell(hold, pick(h, cborBombs)) }},
	{"bomb-msgpack", func(h *hostile) { h.tell(hold, pick(h, msgpackBombs)) }},
	{"bomb-json", func(h *hostile) { h.tell(hold, pick(h, jsonBombs)) }},
	{"grow", func(h *hostile) { // small pickles, large dictionaries
		h.tell(hold, pick(h, growing))
	}},
	{"grow-many", func(h *hostile) { // one after another
		h.tell(hold, greeting("grown", "pickle"), bytes.Repeat(pick(h, growing), 2))
	}},
	{"deaf", func(h *hostile) { // a reader that never reads
		c := h.dial()
		defer c.close()
		if c.nc != nil {
			c.nc.SetReadBuffer(4096)
		}
		c.say(line(map[string]any{"subscribe": pick(h, []string{"*", "large", "grown"}), "follow": true}))
		c.lasts(hold)
	}},
	{"deaf-format", func(h *hostile) { // a reader of another format that never reads
		c := h.dial()
		defer c.close()
		if c.nc != nil {
			c.nc.SetReadBuffer(4096)
		}
		c.say(line(map[string]any{"subscribe": pick(h, []string{"*", "large", "grown"}), "follow": true, "lossy": true, "format": pick(h, []string{"cbor", "msgpack", "json", "pickle", "python"})}))
		c.lasts(hold)
	}},
	{"reader-gone", func(h *hostile) { // it leaves before it is served
		c := h.dial()
		c.say(line(map[string]any{"subscribe": patterns(h, "gone"), "format": "cbor"}))
		c.reset()
	}},
	{"patterns", func(h *hostile) { // many topics without records
		c := h.open()
		defer c.close()
		c.say(line(map[string]any{"subscribe": patterns(h, "none"), "follow": true}))
		c.lasts(hold)
	}},
	{"topics", func(h *hostile) {
		for range 10 {
			h.tell(time.Second, greeting(strings.Repeat("t", 180)+h.name(), "json"), []byte("{}\n"))
		}
	}},
	{"producers", func(h *hostile) {
		for range 10 {
			h.greetFirst(line(map[string]any{"topic": "many", "producer": strings.Repeat("p", 100) + h.name()}), []byte("{}\n"))
		}
	}},
	{"cursors", func(h *hostile) {
		for range 10 {
			h.tell(time.Second, line(map[string]any{"subscribe": strings.Repeat("x", 100), "cursor": strings.Repeat("c", 300) + h.name()}))
		}
	}},
	{"odd", func(h *hostile) { // borderline messages
		h.greetFirst([]byte(strings.ReplaceAll(pick(h, odd), "NAME", h.name())+"\n"), []byte("{\"a\":1}\n"))
	}},
	{"foreign", func(h *hostile) { h.tell(hold, []byte(pick(h, foreign))) }}, // other protocols
	{"cut", func(h *hostile) { // a connection that breaks inside a record
		c := h.open()
		b := pick(h, slow)
		c.say(b[:1+h.IntN(len(b)-1)])
		if h.IntN(2) == 0 {
			c.reset()
			return
		}
		c.close()
	}},
	{"escapes", func(h *hostile) { // escape sequences for terminals
		h.tell(time.Second, []byte(strings.ReplaceAll(pick(h, escapes), "NAME", h.name())))
	}},
	{"http", func(h *hostile) { h.tell(hold, pick(h, httpJunk)) }},
	{"http-slow", func(h *hostile) {
		c := h.open()
		defer c.close()
		c.slowly(pick(h, httpSlow), 1, 200*time.Millisecond)
	}},
	{"http-keys", func(h *hostile) { h.tell(hold, keyed(h)) }}, // each a name that the store has to remember
	{"http-deaf", func(h *hostile) { // a reader that never reads
		c := h.dial()
		defer c.close()
		if c.nc != nil {
			c.nc.SetReadBuffer(4096)
		}
		c.say([]byte("GET /v1/topics/" + pick(h, []string{"*", "large", "grown"}) + "?follow=1&format=" + pick(h, []string{"json", "cbor", "sse"}) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		c.lasts(hold)
	}},
	{"http2", func(h *hostile) { // without a half-close, which would end the requests
		c := h.open()
		defer c.close()
		c.say(pick(h, http2Floods))
		c.lasts(hold)
	}},
	{"websocket", func(h *hostile) {
		c := h.open()
		defer c.close()
		c.say(pick(h, sockets))
		c.lasts(hold)
	}},
}

// pick returns a random element.
func pick[T any](h *hostile, of []T) T { return of[h.IntN(len(of))] }

// patterns returns as many topics as fit in a greeting.
func patterns(h *hostile, prefix string) []string {
	p := make([]string, 500)
	for i := range p {
		p[i] = fmt.Sprintf("%s.%x.%x", prefix, h.id, i)
	}
	return p
}

// halves are beginnings that are never continued.
var halves = [][]byte{
	[]byte("{"),
	{0x80},
	[]byte("\xef\xbb"), []byte("   "), []byte(`{"dictwire":1`), []byte(`{"a":[1,2,`), []byte("\x80\x04}\x8c\x01a"), []byte("\xbf\x61a"),
	greeting("half", "json"), line(map[string]any{"subscribe": "half.*", "follow": true}),
}

// slow are records that arrive slowly.
var slow = [][]byte{
	[]byte(`{"text":"` + strings.Repeat("x", 4000) + `"}`),
	[]byte(`{"a":` + strings.Repeat("[", 100) + strings.Repeat(" ", 2000) + strings.Repeat("]", 100) + `}`),
	[]byte(`{"a":` + strings.Repeat("1", 4000) + `}`),
	[]byte("\x80\x04}\x8c\x01a](" + strings.Repeat("K\x01", 2000) + "es."),
	[]byte("\xa1\x61a\x9f" + strings.Repeat("\x7f\x60\xff", 1500) + "\xff"),
	[]byte("\x81\xa1a\xdc\x0f\xa0" + strings.Repeat("\x01", 4000)),
	slices.Concat(greeting("slow", "pickle"), []byte("\x80\x04}\x8c\x01a]("+strings.Repeat("N", 3000)+"es.")),
}

// junk are floods of rejected records.
var junk = [][]byte{
	[]byte("{}" + strings.Repeat("\x00x", 50_000)),
	[]byte(strings.Repeat("{x\n", 50_000)),
	[]byte(strings.Repeat("{\"a\":1}\n{\"a\":1,\"a\":2}\n", 20_000)),
	slices.Concat(greeting("junk", "pickle"), bytes.Repeat([]byte{'.'}, 50_000)),
	slices.Concat(greeting("junk", "pickle"), bytes.Repeat([]byte("\x80\x04]."), 50_000)),
	bytes.Repeat([]byte("\x80\x04}cos\nsystem\n."), 20_000),
	bytes.Repeat([]byte("\x82\xa1a\x01\xa1a\x02"), 50_000),
	bytes.Repeat([]byte("\xa2\x61a\x01\x61a\x02"), 50_000),
	[]byte("[" + strings.Repeat("1,", 50_000) + "1]"),
	[]byte("[{}" + strings.Repeat(",1", 50_000) + "]"),
}

// pickle returns a pickle whose dictionary has the value that the opcodes build.
func pickle(op string) []byte { return []byte("\x80\x04}\x8c\x01a" + op + "s.") }

// u32, u64 and their big-endian fellows are lengths that nothing has.
func u32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
func u64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
func b64(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

var pickleBombs = [][]byte{
	pickle(laughs(20)),
	pickle("]" + strings.Repeat("]", 100_000) + strings.Repeat("a", 100_000)),
	pickle("](]2" + strings.Repeat("2", 500_000) + "e"),
	pickle(")" + strings.Repeat("2\x86", 300_000)),
	pickle("\x8f()" + strings.Repeat("2\x86", 17) + "\x90"),
	[]byte("\x80\x04}()" + strings.Repeat("2\x86", 17) + "K\x01u."),
	pickle("\x8e" + u64(1<<63-1) + "x"),
	pickle("\x8d" + u64(1<<64-1)),
	[]byte("\x80\x04\x95" + u64(1<<62) + "}"),
	pickle("\x8b" + u32(1<<31-1) + "x"),
	pickle("K\x01r" + u32(1<<32-1)),
	pickle("K\x01r" + u32(900_000)),
}

// laughs returns nested lists, each ten times the one inside it.
func laughs(deep int) string {
	var b strings.Builder
	b.WriteString("]\x94")
	for i := range deep {
		fmt.Fprintf(&b, "](%se\x94", strings.Repeat("h"+string([]byte{byte(i)}), 10))
	}
	return b.String()
}

var cborBombs = [][]byte{
	[]byte("\xa1\x7b" + b64(1<<63)),
	[]byte("\xa1\x61a\x9b" + b64(1<<62)),
	[]byte("\xbb" + b64(1<<63)),
	[]byte("\xa1\x61a" + strings.Repeat("\x9f", 500_000)),
	[]byte(strings.Repeat("\xbf\x61a", 300_000)),
	[]byte("\xa1\x61a" + strings.Repeat("\xc1", 900_000)),
	[]byte("\xa1\x61a\xc4\x82\x1b" + b64(1<<63-1) + "\x01"),
	[]byte("\xa1\x61a\xc5\x82\x1a\x3b\x9a\xca\x00\x01"),
	[]byte("\xa1\x61a\xc2\x5a\x00\x0e\x00\x00" + strings.Repeat("\xff", 0xe0000)),
	[]byte("\xa1\x61a\x7f" + strings.Repeat("\x60", 900_000) + "\xff"),
	[]byte("\xa1\x61a\x5f" + strings.Repeat("\x41x", 450_000) + "\xff"),
}

var msgpackBombs = [][]byte{
	[]byte("\x81\xa1a\xc6\xff\xff\xff\xff"),
	[]byte("\xdf\xff\xff\xff\xff"),
	[]byte("\x81\xa1a\xdd\xff\xff\xff\xff"),
	[]byte("\x81\xa1a" + strings.Repeat("\x91", 900_000)),
	[]byte("\x81\xa1a\xc9\xff\xff\xff\xff\xff"),
	[]byte("\x81\xa1a\xdc\xff\xff" + strings.Repeat("\x90", 65_535)),
}

var jsonBombs = [][]byte{
	func() []byte { // many keys
		b := []byte{'{'}
		for i := range 90_000 {
			b = fmt.Appendf(b, `"%06d":0,`, i)
		}
		return append(b, `"":0}`...)
	}(),
	[]byte(`{"a":"` + strings.Repeat(`\u0001`, 170_000) + `"}`),
	[]byte(`{"a":[` + strings.Repeat(strings.Repeat("9", 4300)+",", 240) + `0]}`),
	[]byte(`{"a":` + strings.Repeat("9", 5000) + `}`),
	[]byte(`{"a":1e999999999,"b":1e-999999999}`),
	[]byte(`{"a":0.` + strings.Repeat("1", 1_000_000) + `}`),
	[]byte(`{"a":1e` + strings.Repeat("1", 1_000_000) + `}`),
	[]byte(strings.Repeat(`{"a":`, 100_000)),
	[]byte(`{"a":[` + strings.Repeat("[],", 340_000) + `0]}`),
	[]byte(`{` + strings.Repeat(" ", 1_040_000) + `}`),
	[]byte(strings.Repeat("{}", 200_000)),
}

// growing are pickles of a few thousand bytes that expand to almost a million items: a list
// of 1,000, 990 times.
var growing = func() (all [][]byte) {
	for _, item := range []string{
		"N", "]", "}", "G\x3f\xf0\x00\x00\x00\x00\x00\x00", "\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x8c\x04text", "h\x01",
	} {
		op := "]" // a list of lists; the memo has a UUID and the inner list
		op += "cuuid\nUUID\n)\x81}\x8c\x03int\x8a\x01\x01sb\x940"
		op += "(](" + strings.Repeat(strings.ReplaceAll(item, "h\x01", "h\x00"), 1000) + "e\x94" + strings.Repeat("h\x01", 900) + "e"
		all = append(all, pickle(op))
	}
	return all
}()

// odd are messages that are not greetings, or nonsensical ones.
var odd = []string{
	`{"dictwire":1,"topic":"odd","producer":"NAME","acked":9223372036854775807}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","acked":18446744073709551616}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","acked":-1}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","acked":1e3}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","acked":4611686018427387904,"accept_lost":true}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","first":4611686018427387904}`,
	`{"dictwire":1,"topic":"odd","producer":"NAME","attempt":9223372036854775807}`,
	`{"dictwire":1,"topic":"odd","producer":"","format":null}`,
	`{"dictwire":1,"topic":"odd","producer":"a b"}`,
	`{"dictwire":1,"topic":"../../etc/passwd"}`,
	`{"dictwire":1,"topic":"a..b"}`,
	`{"dictwire":1,"topic":"_topics"}`,
	`{"dictwire":1,"topic":"_rejected","producer":"NAME"}`,
	`{"dictwire":1,"topic":"a\u0000b"}`,
	`{"dictwire":1,"topic":"` + strings.Repeat("A", 201) + `"}`,
	`{"dictwire":2}`,
	`{"dictwire":1e0}`,
	`{"dictwire":1,"topic":"odd","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
	`{"dictwire":1,"topic":"odd","x":"` + strings.Repeat("y", 9000) + `"}`,
	`{"dictwire":1,"topic":"odd"}` + "\n" + `{"dictwire":1,"topic":"odd2"}`,
	`{"dictwire":1,"subscribe":5}`,
	`{"dictwire":1,"subscribe":[]}`,
	`{"dictwire":1,"subscribe":"a.b.*.c"}`,
	`{"dictwire":1,"subscribe":["t",["t"]]}`,
	`{"dictwire":1,"subscribe":"odd","from":"99999999999d"}`,
	`{"dictwire":1,"subscribe":"odd","from":"9999-01-01T00:00:00Z"}`,
	`{"dictwire":1,"subscribe":"odd","from":"zzzzzzzz.1.0"}`,
	`{"dictwire":1,"subscribe":"odd","from":"` + strings.Repeat("9", 400) + `"}`,
	`{"dictwire":1,"subscribe":"odd","cursor":"NAME"}` + "\n" + `{"commit":5}`,
	`{"dictwire":1,"subscribe":"odd","cursor":"NAME"}` + "\n" + `{"commit":"aaaaaaaa.1.4294967295"}`,
	`{"dictwire":1,"subscribe":"odd","cursor":"NAME"}` + "\n" + `{"commit":"` + strings.Repeat("x", 9000) + `"}`,
	`{"dictwire":1,"subscribe":"odd","cursor":"` + strings.Repeat("x", 600) + `"}`,
	`{"dictwire":1,"subscribe":"odd","cursor":"\ud800"}`,
}

// foreign are other protocols.
var foreign = []string{
	"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n",
	"POST /v1/topics/x HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 16\r\n\r\n{\"put\":\"by http\"}",
	"copy / HTTP/1.1\r\nHost: rebound.example\r\nUser-Agent: " + strings.Repeat("x", 105) + ".}U+{\"evil\":\"put here by a page in a browser\"}!K1s.\r\n\r\n",
	"cos\nsystem\n(S'true'\ntR.",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n{\"a\":1}\n",
	"<34>1 2026-01-01T00:00:00Z host app - - - text\n",
	"\x92\xa3tag\x91\x92\x01\x81\xa1a\x01",
	"\x00\x00\x00\x07{\"a\":1}",
	"\x1f\x8b\x08\x00\x00\x00\x00\x00", "\x28\xb5\x2f\xfd\x00", "\xff\xfe{\x00", "\xfe\xff\x00{",
	"SSH-2.0-OpenSSH_9.9\r\n", "EHLO example\r\n", "*1\r\n$4\r\nPING\r\n", "not a dictionary\n", "2026-01-01 a log line\n",
}

// escapes are names and texts with escape sequences for terminals.
var escapes = []string{
	`{"dictwire":1,"topic":"t","producer":"\u001b[31mNAME"}` + "\n{}\n",
	`{"dictwire":1,"topic":"\u001b]0;pwned\u0007"}` + "\n{}\n",
	`{"dictwire":1,"subscribe":"t","cursor":"\u001b[2J\u009b2J\u202eNAME"}` + "\n",
	`{"dictwire":1,"topic":"_rejected","producer":"NAME"}` + "\n" + `{"code":"c\u001b[2J","error":"e\n\u009b31m","topic":"t\u001b[31m","producer":"p\nspoofed  row","bytes":"x"}` + "\n",
	"\x1b]0;x\x07{\"a\":1}\n",
	"{\"k\x1b[31m\nFAKE level=ERROR\":tru}\n",
	"{\"\u009b31m\u202e\":1,\"\u009b31m\u202e\":2}\n",
}
