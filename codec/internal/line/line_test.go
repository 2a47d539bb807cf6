package line_test

import (
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec/internal/line"
)

// The fault of each record is where it says oops.
func TestSearch(t *testing.T) {
	const next = "\n}"
	for record, want := range map[string]line.Outcome{
		`{"a":oops}`:                       line.Found,
		`{"a":1,oops,}`:                    line.Found,
		`{"a":[1,2oops}`:                   line.Found, // the brace ends what it holds
		`{"a":1oops]}`:                     line.Found,
		`{"a":1oops}}`:                     line.Found,
		`oops`:                             line.Found,
		`oops }`:                           line.Found,
		`oops 2026-11-29 [worker 3] it's`:  line.Found,
		`[1, oops]`:                        line.Found,
		`{"a": "19"oops monitor"}`:         line.Found, // a quote too many
		`{"a": "x", "b": "y { z", oops}`:   line.Found, // a brace in a string
		`{"a": "\"}", oops}`:               line.Found,
		`{"a": "\\", oops}`:                line.Found,
		`{"a":oops, "b":`:                  line.None,
		`{"a":oops, "b":{`:                 line.None,
		`{"a":oops} {`:                     line.None,
		`oops data: {`:                     line.None,
		`oops data: [`:                     line.None,
		`[1, oops, {"x":[`:                 line.None,
		`{"a": "19oops" monitor", "b": {"`: line.None,
		"{\n\"a\":oops}":                   line.None, // it spans lines
	} {
		fault := strings.Index(record, "oops")
		for cut := fault + 1; cut <= len(record); cut++ { // in pieces, too
			s := line.Search{Quotes: `"`, Separators: "\x00\x1e"}
			n, o := s.Begin([]byte(record[:cut]), fault, false)
			if o == line.More {
				n, o = s.On([]byte(record[cut:] + next))
				n += cut
			}
			if o != want || o == line.Found && n != len(record)+1 {
				t.Errorf("%s, cut at %d: %d, %v, want %v", record, cut, n, o, want)
			}
		}
		// Behind a separator the next beginning is always certain, once one was seen.
		s := line.Search{Quotes: `"`, Separators: "\x00\x1e", Separated: true}
		if n, o := s.Begin([]byte(record+next+"\x1e"), fault, want == line.None); o != line.Found || want == line.None && n != len(record+next) {
			t.Errorf("%s: separated: %d, %v", record, n, o)
		}
	}
}

func TestCut(t *testing.T) {
	for record, want := range map[string]line.Outcome{
		"{\"a\":\"xy\n":    line.Found,
		"{\"a\":\"x{y\n":   line.None,
		"{\"a\":{\"xy\n}}": line.Found,
	} {
		var s line.Search
		fault, text := strings.Index(record, "\n"), strings.Index(record, "x")
		if n, o := s.Cut([]byte(record), fault, text); o != want || o == line.Found && n != fault+1 {
			t.Errorf("%q: %d, %v, want %v", record, n, o, want)
		}
	}
}
