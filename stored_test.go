package dictwire_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// shared returns a pickle of {"a": [list, list, …]} with m references to one list of n
// items of the given opcodes.
func shared(item string, n, m int) string {
	list := "](" + strings.Repeat(item, n) + "e"
	return "\x80\x04}\x8c\x01a](" + list + "\x94" + strings.Repeat("h\x00", m-1) + "es."
}

// The limits also apply to the form in which a record is stored, since later readers have
// the same limits.
func TestStoredForm(t *testing.T) {
	limits := codec.Limits{RecordBytes: 10_000, Items: 5_000}
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st, Limits: limits})
	decimals := "{'a': [" + strings.Repeat("Decimal('1.5'), ", 600) + "]}\n"
	tuples := "{'a': [" + strings.Repeat("(),", 3000) + "]}\n"
	for _, test := range []struct{ name, format, record, want string }{
		{"fits", "pickle", shared("N", 40, 40), ""},
		{"larger as CBOR", "pickle", shared("M\x00\x04", 60, 60), `"code":"too_large","error":"the record has \d+ bytes of pickle, but 1\d{4} of CBOR, as which it is stored: more than 10000; `},
		{"larger as CBOR, written out", "python", tuples, `"code":"too_large","error":"the record has \d+ bytes of python, but \d+ of CBOR, as which it is stored: more than 10000; `},
		{"scalars that are containers as CBOR", "python", decimals, ""},
		{"too many items", "pickle", shared("N", 100, 100), `"code":"limit","error":"pickle: the record has more than 5000 keys and values`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"t","producer":%q,"format":%q}`, strings.ReplaceAll(test.name, " ", "-"), test.format))
			s.hear(welcome(1, ""), exact(`{"ack":0}`))
			s.say(test.record)
			if test.want != "" {
				s.hear(`\{"rejected":1,` + test.want + `.*\}`)
			}
			s.hear(exact(`{"ack":1}`))
			_ = s.Conn.(*net.TCPConn).CloseWrite()
		})
	}
	// Stored records can be read within the limits, and others are refused.
	for r := range servertest.Records(t, st, "t") {
		if _, err := (cbor.Codec{}).Decode(r.Bytes, limits); err != nil {
			t.Errorf("a record at %v: %v", r.At, err)
		}
	}
	rejected := stored(t, st, store.Rejected)
	if len(rejected) != 3 || !strings.Contains(rejected[1], strings.TrimSpace(tuples)) {
		t.Errorf("_rejected holds %.2000q", rejected)
	}
}

// A batch that is settled early because it becomes large keeps its numbers, and each record
// gets its own answer.
func TestTakesInParts(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: -1})
	addr := start(t, &dictwire.Server{Store: st, Handler: refuser(), MaxMemory: 4 << 20})
	reply, _ := pickle.Codec{}.Append(nil, dict.Of("do", "reply"))
	large := shared("N", 300, 300) // 90 KB of CBOR
	s := greet(t, addr, `{"dictwire":1,"topic":"t","producer":"p","format":"pickle"}`)
	s.hear(welcome(1, ""), exact(`{"ack":0}`))
	const n = 6
	go func() { _, _ = s.Write([]byte(strings.Repeat(large+string(reply)+"\x80\x04]."+large, n))) }()
	want, acked := 0, 0
	for acked < 4*n {
		line := s.hear(`.*`)
		var number int
		switch {
		case strings.HasPrefix(line, `{"ack":`):
			_, _ = fmt.Sscanf(line, `{"ack":%d}`, &acked)
		case strings.HasPrefix(line, `{"reply":`):
			var length int64
			_, _ = fmt.Sscanf(line, `{"reply":%d,"length":%d}`, &number, &length)
			body := make([]byte, length)
			for read := 0; read < len(body); {
				k, err := s.r.Read(body[read:])
				if err != nil {
					t.Fatal(err)
				}
				read += k
			}
			d, err := pickle.Codec{}.Decode(body, codec.Limits{})
			if err != nil || d.String() != fmt.Sprintf("{'you are': %d, 'of': 'p/t'}", number) || number%4 != 2 {
				t.Fatalf("record %d is replied %v, %v", number, d, err)
			}
			want++
		case strings.HasPrefix(line, `{"rejected":`):
			_, _ = fmt.Sscanf(line, `{"rejected":%d,`, &number)
			if number%4 != 3 {
				t.Fatalf("heard %s", line)
			}
			want++
		default:
			t.Fatalf("heard %s", line)
		}
	}
	if want != 2*n {
		t.Errorf("%d answers, want %d", want, 2*n)
	}
	next := uint64(1)
	for b, err := range st.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block == nil {
			continue
		}
		if b.Block.First != next {
			t.Fatalf("a block begins with %d, want %d", b.Block.First, next)
		}
		next += uint64(len(b.Block.Lengths))
	}
	if next != 4*n+1 {
		t.Errorf("%d records are stored, want %d", next-1, 4*n)
	}
}

// Converted records are sent in parts, and the end of each part is a position from which to
// continue.
func TestConvertedInParts(t *testing.T) {
	st := memory.New(nil)
	b := &store.Block{Topic: "t", Codec: "json"}
	for i := range 5000 {
		b.Add(fmt.Appendf(nil, `{"number":%d,"text":"some text or other"}`, i))
	}
	if r := st.Append(t.Context(), b)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	addr := start(t, &dictwire.Server{Store: st})
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from, read, parts := "", 0, 0
	for read < 5000 { // each part in a session of its own
		for batch, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"t"}, Codec: cbor.Codec{}, From: from}) {
			if err != nil {
				t.Fatal(err)
			}
			if len(batch.Records) == 0 {
				continue
			}
			for d, err := range batch.All() {
				if v, _ := d.Get("number"); err != nil || !dict.Equal(v, dict.Int(int64(read))) {
					t.Fatalf("record %d is %v, %v", read, d, err)
				}
				read++
			}
			from = batch.Next
			parts++
			break
		}
	}
	if parts < 3 {
		t.Errorf("%d parts", parts)
	}
}
