package wire

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// Every message is read back as it was written.
func TestMessages(t *testing.T) {
	for _, m := range []Message{
		Welcome{
			Next: 4182, Sum: "1a2b3c4d", Durability: "fsync", MaxRecord: 1 << 20, Window: 65536,
			Forgets: time.Hour, Features: []string{"x"},
		},
		Welcome{Next: 1},
		Welcome{Next: 2, Sum: "00000001", Of: 7},
		Ready{Next: "k3f9.18234.5"},
		Ack{Number: 5206},
		Rejected{Number: 5207, Code: "schema", Text: "/age: want integer"},
		Reply{Number: 5208, Length: 57},
		Reply{Number: 5208, Length: 57, Format: "cbor"},
		Reply{Number: 5208, Code: "loss", Text: "/price: JSON has no decimal"},
		Batch{
			At: "k3f9.18234.5", Next: "k3f9.18234.8", Topic: "orders.eu", Producer: "till-7", First: 4182,
			Time: time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC), Format: "json", Lengths: []uint32{45, 45, 46},
		},
		Batch{
			At: "k3f9.18234.5", Next: "k3f9.18234.6", Topic: "orders.eu", Principal: "shop", Producer: "till-7", First: 4182,
			Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Format: "json", Lengths: []uint32{45},
		},
		Batch{
			At: "k3f9.18234.5", Next: "k3f9.18234.7", Topic: "logs", Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
			Times: []int64{1700000000000000005, store.UnknownTime}, Format: "msgpack", Lengths: []uint32{45, 46},
		},
		Progress{Next: "k3f9.18240.0"},
		Committed{Position: "k3f9.18240.0"},
		Skipped{From: "a.1.0", To: "a.9.0", Topic: "orders", Next: "a.9.0"},
		Damaged{From: "a.1.0", To: "a.9.0", Text: "checksum", Next: "a.9.0"},
		End{Position: "k3f9.18240.0"},
		Error{&fault.Error{Code: "lost", Text: "less than was promised", At: -1, Next: 7}},
		Error{&fault.Error{Code: "unavailable", Text: "disk full", At: -1, Retry: 500 * time.Millisecond}},
		Error{&fault.Error{Code: "malformed", Text: "want a value", At: 17}},
	} {
		line, ok := bytes.CutSuffix(m.Append([]byte("before")), []byte("\n"))
		if !ok {
			t.Errorf("%#v: no line feed behind it", m)
		}
		line = line[len("before"):]
		got, err := ParseMessage(line)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s\ngot  %#v, %v\nwant %#v", line, got, err, m)
		}
	}
}

func TestGreetings(t *testing.T) {
	for _, g := range []Greeting{
		{Topic: "orders", Producer: "till-7.k2x9", Format: "cbor", Attempt: 3, Acked: 4150, First: 4151, Token: "secret"},
		{Topic: "orders", AcceptLost: true},
		{Topic: "orders", Format: "json+pickle", Accept: []string{"json", "cbor"}},
		{Subscribe: []string{"orders.*"}, Subscription: "orders.*", Cursor: "billing", From: "earliest", Format: "json", Follow: true, Attempt: 7},
		{Subscribe: []string{"a", "b"}, Subscription: `["a","b"]`, Lossy: true},
		{Subscribe: []string{"a"}, Subscription: `["a"]`},
	} {
		g.Version = Version
		line, _ := bytes.CutSuffix(g.Append(nil), []byte("\n"))
		got, err := ParseGreeting(line)
		if err != nil || !reflect.DeepEqual(got, g) {
			t.Errorf("%s\ngot  %#v, %v\nwant %#v", line, got, err, g)
		}
	}
}

// Errors name the field.
func TestFaults(t *testing.T) {
	for line, want := range map[string]string{
		`{"dictwire":1,"attempt":-1}`:                      "/attempt: want an integer from 0 to 2^63-1",
		`{"dictwire":1,"acked":9223372036854775808}`:       "/acked: want an integer from 0 to 2^63-1",
		`{"dictwire":1,"acked":4611686018427387905}`:       "/acked: want an integer from 0 to 2^62",
		`{"dictwire":1,"first":9223372036854775807}`:       "/first: want an integer from 0 to 2^62",
		`{"dictwire":1,"topic":7}`:                         "/topic: want a string",
		`{"dictwire":1,"accept_lost":"yes"}`:               "/accept_lost: want true or false",
		`{"dictwire":1,"subscribe":[]}`:                    "/subscribe: want at least one topic",
		`{"dictwire":1,"subscribe":["a",7]}`:               "/subscribe: want a list of strings",
		`{"dictwire":1,"subscribe":7}`:                     "/subscribe: want a string or a list of strings",
		`{"dictwire":1,"topic":"a","topic":"b"}`:           "",
		`{"dictwire":1,"unknown":{"a":[1,2]},"follow":1}`:  "/follow: want true or false",
		`{"dictwire":1,"unknown":{"a":[1,2]},"acked":1.0}`: "/acked: want an integer from 0 to 2^63-1",
	} {
		_, err := ParseGreeting([]byte(line))
		if err == nil || want != "" && err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	for _, line := range []string{
		`{"hello":1}`, `{"ack":-1}`, `{"ack":"1"}`, `{"skipped":7,"next":"a.1.0"}`, `{"at":"a.1.0","lengths":[0]}`,
		`{"damaged":{"from":1},"next":"a.1.0"}`, `{"ack":1} `, `[]`, ``,
	} {
		if m, err := ParseMessage([]byte(line)); err == nil && line != `{"ack":1} ` {
			t.Errorf("%s: %#v, want an error", line, m)
		}
	}
}

// What is read is written unchanged, and read again.
func FuzzMessage(f *testing.F) {
	for _, line := range []string{
		`{"dictwire":1,"next":4182,"sum":"1a2b3c4d","durability":"fsync","max_record":1048576,"window":65536,"features":[]}`,
		`{"dictwire":1,"next":"k3f9.18234.5"}`, `{"ack":7}`, `{"rejected":4160,"code":"schema","error":"/age: want integer"}`,
		`{"at":"a.1.0","next":"a.1.2","topic":"t","time":"2026-11-23T10:00:00.123456Z","format":"json","lengths":[45,46]}`,
		`{"skipped":{"from":"a.1.0","to":"a.9.0"},"next":"a.9.0"}`, `{"error":"disk full","code":"unavailable","retry_ms":500}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := ParseMessage(line)
		if err != nil {
			return
		}
		written := m.Append(nil)
		again, err := ParseMessage(written[:len(written)-1])
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%s\nwas  %#v\nread %#v, %v\nfrom %s", line, m, again, err, written)
		}
	})
}

func FuzzGreeting(f *testing.F) {
	for _, line := range []string{
		`{"dictwire":1,"topic":"orders","producer":"till-7.k2x9…","format":"cbor","attempt":3,"acked":4150,"first":4151,"token":"…"}`,
		`{"dictwire":1,"subscribe":["orders.*","a"],"cursor":"billing","from":"earliest","format":"json","follow":true,"lossy":true}`,
		`{"dictwire":1,"subscribe":["a","\ud800"]}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		g, err := ParseGreeting(line)
		if err != nil {
			return
		}
		g.Version = Version // Append writes no other
		if len(g.Subscribe) > 0 {
			g.Topic, g.Producer, g.Acked, g.First, g.AcceptLost = "", "", 0, 0, false
		} else {
			g.Cursor, g.From, g.Follow, g.Lossy = "", "", false, false
		}
		written := g.Append(nil)
		if len(written) > MaxGreeting {
			return
		}
		again, err := ParseGreeting(written[:len(written)-1])
		if err != nil || !reflect.DeepEqual(g, again) {
			t.Errorf("%s\nwas  %#v\nread %#v, %v\nfrom %s", line, g, again, err, written)
		}
	})
}
