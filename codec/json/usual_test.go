package json_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
)

// usual are similar records, good and bad ones.
var usual = []string{
	`{}`, `{ }`, `{"a":1}`, `{"a":2}`, `{"b":1}`, `{"ab":1}`, `{"":1}`, `{"a":1,}`, `{,"a":1}`, `{"a":1 }`, `{"a" :1}`, `{"a":  1}`,
	`{"a":1,"b":2,"c":3}`, `{"a": 1, "b": 2, "c": 3}`, `{"a":1,  "b":2,"c":3}`, `{"a":1,"b":2,"c":3,"d":4}`, `{"a":1,"c":3,"b":2}`,
	`{"a":1,"a":2}`, `{"a":1,"b":2,"b":3}`, `{"a":1,"b":2,"a":3}`, `{"a":1,"b":2,"c":3,"a":4}`, `{"a":1,"x":2,"a":3}`, `{"a":1,"b":2,"c":3,"\u0061":4}`,
	`{"a":1,"b":{"a":1,"b":2},"c":3}`, `{"a":1,"b":{"a":1,"a":2},"c":3}`, `{"a":1,"b":[1,2],"a":3}`, `{"a":1,"b":1.5,"a":3}`, `{"a":1,"b":2,"c":[{"a":1,"b":2}]}`,
	`{"a":true,"b":false,"c":null}`, `{"a":trux,"b":2}`, `{"a":1,"b":falsy}`, `{"a":1,"b":nulL}`, `{"a":truee}`, `{"a":falsee}`, `{"a":nan}`, `{"a":NaN}`,
	`{"a":01}`, `{"a":0}`, `{"a":10}`, `{"a":-1}`, `{"a":1.}`, `{"a":1.5}`, `{"a":1e5}`, `{"a":1E}`, `{"a":1x}`, `{"a":1234567}`, `{"a":12345678}`, `{"a":123456789,"b":2}`,
	`{"a":"","b":"x"}`, `{"a":"xxxxxx","b":"xxxxxxx","c":"xxxxxxxx"}`, `{"a":"xxxxxxxxx","b":"\n"}`, `{"a":"é","b":1}`, `{"a":"xxxxxxxxxxxxé","b":1}`,
	"{\"a\":\"\x01\"}", "{\"a\":\"\xff\",\"b\":1}", "{\"a\x01\":1}", "{\"a\xff\":1}", `{"é":1,"b":2}`, `{"a\n":1,"b":2}`,
	`{"seven77":1,"eight888":2,"nine99999":3,"fifteen15151515":4,"sixteen161616161":5,"n":6}`,
	`{"seven77":1,"eight888":2,"nine99999":3,"fifteen15151515":4,"sixteen161616161":5,"seven77":6}`,
	`{"seven77":1,"eight889":2,"nine99998":3,"fifteen15151514":4,"sixteen161616161":5,"n":6}`,
	`{"seven77":1,"eight888":2,"nine99999":3,"fifteen25151515":4,"eight888":5,"n":6}`,
	`{"nine99999":1,"nine99998":2}`, `{"nine99999":1,"nine99999":2}`, `{"nine9999999":1,"nine99999":2}`, `{"nine9999":1,"nine99998":2}`,
	many(16, ""), many(17, ""), many(20, ""), many(40, ""), many(17, `,"k0":1`), many(20, `,"k19":1`), many(40, `,"k39":1`),
}

// many returns a record with n keys, followed by the given text.
func many(n int, rest string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"k%d":%d`, i, i)
	}
	return b.String() + rest + "}"
}

// Whatever records a scanner has found before, however the next one arrives and whatever
// follows it, the scanner's result is that of Decode.
func TestUsual(t *testing.T) {
	space := strings.Repeat(" ", 20)
	for _, lim := range []codec.Limits{{}, {Items: 6}, {RecordBytes: 19}, {Digits: 3}, {Digits: 8}, {Depth: 1}} {
		for _, c := range []json.Codec{{}, {DuplicateKeys: json.KeepLast}} {
			befores := usual
			if c != (json.Codec{}) || lim != (codec.Limits{}) {
				befores = []string{`{"a":1}`, `{"a":1,"b":2,"c":3}`}
			}
			// after returns a scanner that has found a record many times, or nil for a bad
			// record.
			after := func(before string) codec.Scanner {
				if _, err := c.Decode([]byte(before), lim); err != nil {
					return nil
				}
				s := c.NewScanner(lim)
				for range 6 {
					if _, _, err := s.Next([]byte(before + space)); err != nil {
						t.Fatalf("%+v: %s again: %v", lim, before, err)
					}
				}
				return s
			}
			check := func(s codec.Scanner, record string, want error, cut, behind int) {
				t.Helper()
				whole := []byte(record + space[:behind])
				start, end, err := s.Next(whole[:cut])
				if errors.Is(err, codec.ErrIncomplete) {
					whole = whole[start:]
					start, end, err = s.Next(whole)
				}
				if errors.Is(err, codec.ErrIncomplete) {
					_, _, err = s.End(whole[start:])
				}
				if err != nil && lim.RecordBytes > 0 && len(record) > lim.RecordBytes {
					return // which fault is found first depends on how much has arrived
				}
				if fmt.Sprint(err) != fmt.Sprint(want) || err == nil && (start != 0 || end != len(record)) {
					t.Fatalf("%+v: %s, of which %d bytes come first: %d, %d, %v, want %v", lim, record, cut, start, end, err, want)
				}
			}
			for i, record := range usual {
				_, want := c.Decode([]byte(record), lim)
				for _, before := range befores {
					for _, behind := range []int{0, 20} {
						if s := after(before); s != nil {
							check(s, record, want, len(record)+behind, behind)
						}
					}
				}
				for cut := range len(record) {
					if s := after(befores[i%len(befores)]); s != nil {
						check(s, record, want, cut, 20)
					}
				}
			}
		}
	}
}
