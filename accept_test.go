package dictwire_test

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store/memory"
)

// body reads the bytes after a message.
func body(t *testing.T, s *session, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.r, got); err != nil || string(got) != string(want) {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// In a session of "json+pickle", the first byte of a record shows its format. JSON is
// stored as it is and pickles as CBOR, and the session continues after a pickle that is
// more than data.
func TestMixedRecords(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st})
	tuple := dict.Of("t", dict.Tuple(dict.Int(1)))
	pickled, _ := pickle.Codec{}.Append(nil, tuple)
	const asPython = "{'t': (1,)}"
	all := `{"a":1}` + string(pickled) + ` {"a":2}` + "\n" + string(pickled) + string(pickled) +
		"\x80\x04cos\nsystem\n." + `{"a":3}`
	for _, step := range []int{1, 7, len(all)} { // bytes at a time
		topic := map[int]string{1: "one", 7: "seven", len(all): "all"}[step]
		s := greet(t, addr, `{"dictwire":1,"topic":"`+topic+`","producer":"p","format":"json+pickle"}`)
		s.hear(welcome(1, ""), exact(`{"ack":0}`))
		for rest := all; rest != ""; {
			n := min(step, len(rest))
			s.say(rest[:n])
			rest = rest[n:]
		}
		for line := ""; line != `{"ack":7}`; {
			line = s.hear(`(\{"ack":[0-7]\}|\{"rejected":6,"code":"unsafe_pickle",.*\})`)
		}
		wantStored(t, st, topic, `1 {"a":1}`, "2 "+asPython, `3 {"a":2}`, "4 "+asPython, "5 "+asPython, `7 {"a":3}`)
	}
	// A record in neither format costs the connection, but no earlier record.
	s := greet(t, addr, `{"dictwire":1,"topic":"bad","producer":"p","format":"json+pickle"}`)
	s.hear(welcome(1, ""), exact(`{"ack":0}`))
	s.say(`{"a":1}` + "\xa1\x61a\x01")
	for line := ""; line != `{"ack":2}`; {
		line = s.hear(`(\{"ack":[01]\}|\{"rejected":2,"code":"malformed",.*\}|` + exact(`{"ack":2}`) + `)`)
	}
	s.hear(`\{"error":.*"code":"malformed".*\}`)
	s.end()
}

// A reader gets records as they are stored if it accepts that format, otherwise in the
// first format that can represent them.
func TestAcceptRecords(t *testing.T) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	raw := dict.Of("raw", []byte{0xFF})
	asCBOR, _ := cbor.Codec{}.Append(nil, raw)
	for _, r := range []struct{ format, records string }{
		{"json", `{"a":1}`},
		{"msgpack", "\x81\xa1a\x02\x81\xa3raw\xc4\x01\xff\x81\xa1a\x03"},
	} {
		s := greet(t, addr, `{"dictwire":1,"topic":"`+r.format+`","format":"`+r.format+`"}`)
		s.hear(`.*`, `.*`)
		s.say(r.records)
		s.hear(`\{"ack":[13]\}`)
	}
	s := greet(t, addr, `{"dictwire":1,"subscribe":"json","accept":["cbor","json"]}`)
	s.hear(`.*`, `\{"at":.*"format":"json".*`)
	body(t, s, []byte(`{"a":1}`))

	s = greet(t, addr, `{"dictwire":1,"subscribe":"msgpack","accept":["unknown","json","cbor"]}`)
	s.hear(`.*`, `\{"at":"[a-z0-9]+\.2\.0","next":"[a-z0-9]+\.2\.1",.*"format":"json","lengths":\[7\]\}`)
	body(t, s, []byte(`{"a":2}`))
	s.hear(`\{"at":.*"next":"[a-z0-9]+\.2\.2",.*"format":"cbor",.*`)
	body(t, s, asCBOR)
	s.hear(`\{"at":.*"next":"[a-z0-9]+\.3\.0",.*"format":"json","lengths":\[7\]\}`)
	body(t, s, []byte(`{"a":3}`))
	s.hear(`\{"end":.*\}`)

	s = greet(t, addr, `{"dictwire":1,"subscribe":"msgpack","accept":["json"]}`)
	s.hear(`.*`, `\{"at":.*"format":"json","lengths":\[7\]\}`)
	body(t, s, []byte(`{"a":2}`))
	s.hear(`\{"error":"the record at [a-z0-9]+\.2\.1: /raw: .*","code":"loss"\}`)
	s = greet(t, addr, `{"dictwire":1,"subscribe":"msgpack","accept":["yaml"]}`)
	s.hear(`\{"error":.*yaml.*"code":"unsupported"\}`)
}

// A reply is in the first accepted format that can represent it, and says which.
func TestAcceptReplies(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if v, _ := r.Dict().Get("ask"); v.String() == "'bytes'" {
			return dict.Of("b", []byte{1}), nil
		}
		return dict.Of("n", 1), nil
	})})
	s := greet(t, addr, `{"dictwire":1,"topic":"t","format":"json+pickle","accept":["json","cbor"]}`)
	s.hear(`.*`, `.*`)
	s.say(`{"ask":"n"}`)
	s.hear(exact(`{"reply":1,"length":7,"format":"json"}`))
	body(t, s, []byte(`{"n":1}`))
	s.hear(exact(`{"ack":1}`))
	s.say(`{"ask":"bytes"}`)
	s.hear(exact(`{"reply":2,"length":5,"format":"cbor"}`))
	body(t, s, []byte("\xa1\x61b\x41\x01"))
	s.hear(exact(`{"ack":2}`))
	s = greet(t, addr, `{"dictwire":1,"topic":"t","accept":["json"]}`)
	s.hear(`.*`, `.*`)
	s.say(`{"ask":"bytes"}`)
	s.hear(`\{"reply":1,"length":0,"code":"loss","error":.*\}`, exact(`{"ack":1}`))
}

// A pickle that can't be read takes one number. The checksum covers its bytes up to the
// fault, so that its sender recognizes it.
func TestBadPickleSum(t *testing.T) {
	addr := start(t, &dictwire.Server{Limits: codec.Limits{RecordBytes: 1000}})
	for topic, record := range map[string]string{"large": "\x80\x04\x8d" + strings.Repeat("x", 2000), "opcode": "\x80\x04\xff" + strings.Repeat("x", 100)} {
		for _, format := range []string{"pickle", "json+pickle"} {
			greeting := `{"dictwire":1,"topic":"` + topic + `","producer":"` + format + `","format":"` + format + `"}`
			s := greet(t, addr, greeting)
			s.hear(`\{"dictwire":1,"next":1,.*`, exact(`{"ack":0}`))
			s.say(record)
			s.hear(`\{"rejected":1,.*`, exact(`{"ack":1}`), `\{"error":.*`)
			s.end()
			s = greet(t, addr, greeting)
			found := regexp.MustCompile(`"next":2,"sum":"([0-9a-f]{8})","of":(\d+),`).FindStringSubmatch(s.hear(`.*`))
			if found == nil {
				t.Errorf("%s in %s: no sum of its first bytes", topic, format)
				continue
			}
			of, _ := strconv.Atoi(found[2])
			if found[1] != sumOf(record[:of]) {
				t.Errorf("%s in %s: sum %s of %d bytes, want %s", topic, format, found[1], of, sumOf(record[:of]))
			}
		}
	}
}
