package stream_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire/internal/dialecttest"
)

// Bare sequences of all formats, including GELF, and a native session of a writer without a
// producer: split at every byte, byte by byte, followed by garbage, silent, and in TLS.
func TestConversations(t *testing.T) {
	for name, c := range map[string]struct {
		before  string
		records []string
		between string
		after   string
		want    []string
		topic   string
	}{
		"JSON":           {records: []string{`{"a":1}`, `{"a":"é"}`, `{"a":[2]}`}, want: []string{"{'a': 1}", "{'a': 'é'}", "{'a': [2]}"}},
		"lines of JSON":  {records: []string{`{"a":1}`, `{"a":2}`}, between: "\r\n", want: []string{"{'a': 1}", "{'a': 2}"}},
		"GELF":           {records: []string{`{"version":"1.1"}`, `{"version":"1.1"}`}, between: "\x00", want: []string{"{'version': '1.1'}", "{'version': '1.1'}"}},
		"RFC 7464":       {before: "\x1e", records: []string{`{"a":1}`, `{"a":2}`}, between: "\n\x1e", want: []string{"{'a': 1}", "{'a': 2}"}},
		"CBOR":           {records: []string{"\xa1\x61a\x01", "\xa1\x61a\x82\x01\x02"}, want: []string{"{'a': 1}", "{'a': [1, 2]}"}},
		"MessagePack":    {records: []string{"\x81\xa1a\x01", "\x81\xa1a\xc0"}, want: []string{"{'a': 1}", "{'a': None}"}},
		"pickles":        {records: []string{"}U\x01aK\x01s.", "\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x02s."}, want: []string{"{'a': 1}", "{'a': 2}"}},
		"native session": {before: `{"dictwire":1,"topic":"t"}` + "\n", records: []string{`{"a":1}`, `{"a":2}`}, between: "\n", want: []string{"{'a': 1}", "{'a': 2}"}, topic: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			d := dialecttest.Conversation{Send: c.before, Records: c.want, Topic: c.topic}
			for _, r := range c.records {
				d.Send += r
				d.Ends = append(d.Ends, len(d.Send))
				d.Send += c.between
			}
			dialecttest.Run(t, d)
		})
	}
}

// FuzzStream feeds a bare sequence of any format, or a native session.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"{\"a\":1}\n{\"a\":2}", "[{\"a\":1},2,{}]{}", "{\"a\":1}\x00{\"a\":2}\x00", "\x1e{\"a\":1}\n\x1e{\"a\":1}\n",
		"\xa1\x61a\x01\xa1\x61a\x82\x01\x02", "\x81\xa1a\x01\x81\xa1a\xc0", "}U\x01aK\x01s.\x80\x02}q\x00.", "{'a': (1,)}\n",
		"{\"dictwire\":1,\"topic\":\"t\"}\n{\"a\":1}{\"a\":2}\n",
		"{\"dictwire\":1,\"topic\":\"t\",\"producer\":\"p\",\"attempt\":1,\"first\":7}\n{\"a\":1}\n{\"a\":1,\"a\":2}",
		"{\"dictwire\":1,\"topic\":\"t\",\"format\":\"json+pickle\"}\n{\"a\":1}\x80\x02}q\x00.", "{\"dictwire\":1,\"topic\":\"t\",\"format\":\"cbor\"}\n\xa0",
		"{\"dictwire\":1,\"subscribe\":[\"*\",\"_*\"],\"from\":\"earliest\",\"cursor\":\"c\",\"accept\":[\"cbor\"]}\n{\"commit\":\"x.1.0\"}\n",
		"{\"dictwire\":1,\"subscribe\":\"t\",\"follow\":true,\"attempt\":2}\n",
	} {
		f.Add([]byte(seed), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		if len(b) > 4<<10 {
			return
		}
		if bytes.Contains(b, []byte(`"producer"`)) { // records before the answer are refused if they are seen in time
			cut = 0
		}
		synctest.Test(t, func(t *testing.T) { dialecttest.Fuzz(t, nil, b, int(cut)%(len(b)+1)) })
	})
}
