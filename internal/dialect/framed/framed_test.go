package framed_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/dialecttest"
	"github.com/dictwire/dictwire/internal/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame prefixes each record with a 4-byte length.
func frame(records ...string) (all string) {
	for _, r := range records {
		all += string(binary.BigEndian.AppendUint32(nil, uint32(len(r)))) + r
	}
	return all
}

// headed prefixes a record with a 2-byte length and a header.
func headed(header, record string) string {
	header = fmt.Sprintf(header, len(record))
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(header)))) + header + record
}

const textHeader = `{"byteorder": "little", "content-type": "text/json", "content-encoding": "utf-8", "content-length": %d}`

// column prefixes each record with a decimal length of a fixed width.
func column(width int, records ...string) (all string) {
	for _, r := range records {
		all += fmt.Sprintf("%-*d%s", width, len(r), r)
	}
	return all
}

func TestConversations(t *testing.T) {
	const js, pickled, packed, cbor = `{"a":1}`, "\x80\x04}\x94\x8c\x01a\x94K\x02s.", "\x81\xa1a\x03", "\xa1\x61a\x04"
	all := []string{"{'a': 1}", "{'a': 2}", "{'a': 3}", "{'a': 4}"}
	for name, c := range map[string]struct {
		first, second, rest string
	}{
		"4 bytes":    {frame(js), frame(pickled), frame(packed, cbor)},
		"2 bytes":    {headed(textHeader, js), headed(`{"content-length": %d}`, pickled), headed(`{"content-length":%d,"x":1}`, packed) + headed(`{"content-length":%d,"x":1}`, cbor)},
		"10 columns": {column(10, js), column(10, pickled), column(10, packed, cbor)},
		"64 columns": {column(64, js), column(64, pickled), column(64, packed, cbor)},
	} {
		t.Run(name, func(t *testing.T) {
			send := c.first + c.second + c.rest
			last := len(c.rest) / 2 // the frames of both have the same length
			dialecttest.Run(t, dialecttest.Conversation{
				Send: send, Records: all,
				Ends: []int{len(c.first), len(c.first + c.second), len(send) - last, len(send)},
			})
		})
	}
}

// A fault in a frame affects that frame, and a fault in a length ends everything.
func TestFaults(t *testing.T) {
	const text = "; nothing of this connection was taken"
	for name, c := range map[string]struct {
		send, stored, told string
		rejected           int
	}{
		"a list":                    {frame(`{"a":1}`, `[1]`, `{"a":2}`), "{'a': 1} {'a': 2}", `"code":"not_a_dictionary"`, 1},
		"a list first":              {frame(`[1]`, `{"a":2}`), "{'a': 2}", `"code":"not_a_dictionary"`, 1},
		"an array of dictionaries":  {frame(`[{"a":1}]`, `{"a":2}`), "{'a': 2}", `"code":"not_a_dictionary"`, 1},
		"bad JSON":                  {frame(`{"a":1}`, `{"a":1,}`, `{"a":2}`), "{'a': 1} {'a': 2}", `"code":"malformed"`, 1},
		"JSON that is cut off":      {frame(`{"a":1}`, `{"a":1`, `{"a":2}`), "{'a': 1} {'a': 2}", `"code":"truncated"`, 1},
		"two in one":                {frame(`{"a":1}`, `{"a":1}{"a":2}`, `{"a":2} `+"\n"), "{'a': 1} {'a': 2}", "want nothing after the dictionary", 1},
		"a pickle that would call":  {frame(`{"a":1}`, "\x80\x04}(U\x01acos\nsystem\nU\x02id\x85Ru.", `{"a":2}`), "{'a': 1} {'a': 2}", `"code":"unsafe_pickle"`, 1},
		"words":                     {frame(`{"a":1}`, "!DISCONNECT", `{"a":2}`), "{'a': 1} {'a': 2}", "'!' begins no dictionary in any format (at byte 0)\"", 1},
		"too long":                  {frame(`{"a":1}`, `{"`+strings.Repeat("x", 3000)+`":1}`, `{"a":2}`), "{'a': 1} {'a': 2}", `"code":"too_large"`, 1},
		"too long, first":           {frame(`{"`+strings.Repeat("x", 3000)+`":1}`, `{"a":2}`), "{'a': 2}", `"code":"too_large"`, 1},
		"far too long":              {frame(`{"a":1}`) + "\x01\x00\x00\x00{}" + frame(`{"a":2}`), "{'a': 1}", "a frame of 16777216 bytes, more than 16777215; the sequence ends here", 1},
		"no length":                 {frame(`{"a":1}`) + `{"a":2}`, "{'a': 1}", "more than 16777215; the sequence ends here", 1},
		"length zero":               {frame(`{"a":1}`, "", `{"a":2}`), "{'a': 1}", "a frame of length zero; the sequence ends here", 1},
		"cut off":                   {frame(`{"a":1}`, `{"a":2}`)[:20], "{'a': 1}", "the connection ended within a frame", 1},
		"white space and NULs":      {frame(" {\"a\":1} \n", "{\"a\":2}\x00"), "{'a': 1} {'a': 2}", "", 0},
		"a greeting":                {frame(`{"dictwire":1}`), "{'dictwire': 1}", "", 0},
		"columns of words":          {column(64, `{"a":1}`, "!DISCONNECT", `{"a":2}`), "{'a': 1} {'a': 2}", "'!' begins no dictionary in any format (at byte 0)\"", 1},
		"columns, no length":        {column(10, `{"a":1}`) + "x", "{'a': 1}", `want a decimal length of 10 columns: \"x\" is none; the sequence ends here`, 1},
		"columns, blank":            {column(10, `{"a":1}`) + strings.Repeat(" ", 10), "{'a': 1}", `it is blank`, 1},
		"columns of a text":         {"12        hello, world\n", "", "this looks like a decimal length of 10 columns before a record, but the first frame is none", 0},
		"columns of a list":         {column(10, "\x80\x04]."), "", text, 0},
		"columns of half a pickle":  {column(10, "\x80\x04}"), "", text, 0},
		"columns, cut off":          {column(10, `{"a":1}`)[:12], "", "the connection ended within it" + text, 0},
		"columns, too long":         {"99999     {", "", "more than 1000", 0},
		"a header without a length": {headed(`{"content-type": "json", "ab": %d}`, `{"a":1}`), "", `no header with a \"content-length\"`, 0},
		"a record for a header":     {"\x00\x1d" + `{"name": "Alice", "age": 3.5}` + "\x00\x10", "", "this looks like a 2-byte length before a record", 0},
		"a bad header":              {"\x00\x20" + `{"content-length": 7, "oops": 1,` + `{"a":1}`, "", "its header is no JSON dictionary", 0},
		"another encoding": {
			headed(textHeader, `{"a":1}`) + headed(`{"content-encoding": "utf-16", "content-length": %d}`, "{\x00}\x00") + headed(textHeader, `{"a":2}`),
			"{'a': 1} {'a': 2}", `the content-encoding \"utf-16\" is not served`, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parts := range [][]string{{c.send}, strings.Split(c.send, "")} {
				synctest.Test(t, func(t *testing.T) {
					p := servertest.InMemory(t, &dictwire.Server{Limits: codec.Limits{RecordBytes: 1000}}, nil)
					told := p.Say(parts...)
					if got := strings.Join(p.Stored("default"), " "); got != c.stored {
						t.Errorf("stored %s, want %s", got, c.stored)
					}
					if got := p.Stored("_rejected"); len(got) != c.rejected {
						t.Errorf("rejected %q, want %d", got, c.rejected)
					}
					if !strings.Contains(told, c.told) || (c.told == "") != (told == "") {
						t.Errorf("told %q, want %q", told, c.told)
					}
				})
			}
		})
	}
}

// Replies are framed like the records, in the format of the first one.
func TestReplies(t *testing.T) {
	handler := dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		return dict.Of("got", r.Number), nil
	})
	const pickled = "\x80\x04}\x94\x8c\x01a\x94K\x02s."
	for name, c := range map[string]struct{ send, told string }{
		"4 bytes":             {frame(`{"a":1}`, pickled), frame(`{"got":1}`, `{"got":2}`)},
		"2 bytes":             {headed(textHeader, `{"a":1}`), headed(`{"byteorder":"little","content-type":"text/json","content-encoding":"utf-8","content-length":%d}`, `{"got":1}`)},
		"64 columns":          {column(64, `{"a":1}`), column(64, `{"got":1}`)},
		"10 columns, pickles": {column(10, pickled), "22        \x80\x04\x95"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := servertest.InMemory(t, &dictwire.Server{Handler: handler}, nil)
			if told := p.Say(c.send); !strings.HasPrefix(told, c.told) {
				t.Errorf("%s: told %q, want %q", name, told, c.told)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		frame(`{"a":1}`, "\x80\x04}\x94.", "\x80"), frame(`{"a":1}`) + "\xff", headed(textHeader, `{"a":1}`),
		column(10, `{"a":1}`, "x", "{}"), column(64, "{}"), "\x00\xff\xff\xff{", "\x00\x00\x00\x01{",
	} {
		f.Add([]byte(seed), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		if len(b) > 4<<10 {
			return
		}
		synctest.Test(t, func(t *testing.T) { dialecttest.Fuzz(t, nil, b, int(cut)%(len(b)+1)) })
	})
}
