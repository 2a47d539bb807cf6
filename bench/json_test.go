// Package bench compares dictwire with other libraries and servers in one run: each
// benchmark has one sub-benchmark per candidate, so that
//
//	benchstat -col /by
//
// prints the ratios. It is a module of its own to keep its dependencies out of the main
// one.
package bench

import (
	stdjson "encoding/json"
	"testing"

	"github.com/bytedance/sonic"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"github.com/valyala/fastjson"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/corpus"
)

// sets are the measured records: thousands of different ones, so that branch predictors
// can't learn them.
var sets = []struct {
	name    string
	records [][]byte
}{
	{"small", corpus.Small(1, 8192)},
	{"events", corpus.Events(1, 8192)},
}

// each calls f with one record after another, and reports bytes per second.
func each(b *testing.B, records [][]byte, f func(record []byte) bool) {
	b.Helper()
	total := 0
	for _, r := range records {
		total += len(r)
	}
	b.SetBytes(int64(total / len(records)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !f(records[i]) {
			b.Fatalf("refused: %s", records[i])
		}
		if i++; i == len(records) {
			i = 0
		}
	}
}

func scanners() []struct {
	by   string
	scan func([]byte) bool
} {
	s := json.Codec{}.NewScanner(codec.Limits{})
	return []struct {
		by   string
		scan func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool { _, end, err := s.Next(r); return err == nil && end == len(r) }},
		{"sonic", sonic.Valid},
		{"gjson", gjson.ValidBytes},
		{"fastjson", func(r []byte) bool { return fastjson.ValidateBytes(r) == nil }},
		{"jsontext", func(r []byte) bool { return jsontext.Value(r).IsValid() }},
		{"std", stdjson.Valid},
	}
}

func BenchmarkJSONScan(b *testing.B) {
	for _, set := range sets {
		for _, s := range scanners() {
			b.Run(set.name+"/by="+s.by, func(b *testing.B) { each(b, set.records, s.scan) })
		}
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	decoders := []struct {
		by     string
		decode func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool {
			d, err := json.Codec{}.Decode(r, codec.Limits{})
			return err == nil && d.Len() > 0
		}},
		{"sonic", func(r []byte) bool { var m map[string]any; return sonic.Unmarshal(r, &m) == nil }},
		{"std", func(r []byte) bool { var m map[string]any; return stdjson.Unmarshal(r, &m) == nil }},
	}
	for _, set := range sets {
		for _, d := range decoders {
			b.Run(set.name+"/by="+d.by, func(b *testing.B) { each(b, set.records, d.decode) })
		}
	}
}

// TestWhatScannersCheck lists what each library accepts that is not JSON, or not good JSON.
// docs/performance.md has the list as a table.
func TestWhatScannersCheck(t *testing.T) {
	tests := []struct{ name, text string }{
		{"duplicate key", `{"a":1,"a":2}`},
		{"invalid UTF-8", "{\"a\":\"\xff\"}"},
		{"control character", "{\"a\":\"\x01\"}"},
		{"NaN", `{"a":NaN}`}, // Python writes this and the next two
		{"Infinity", `{"a":-Infinity}`},
		{"lone surrogate", `{"a":"\ud800"}`},
	}
	want := map[string]string{ // the accepted ones
		"dictwire": "NaN, Infinity, lone surrogate",
		"sonic":    "duplicate key, invalid UTF-8, control character, lone surrogate",
		"gjson":    "duplicate key, invalid UTF-8, lone surrogate",
		"fastjson": "duplicate key, invalid UTF-8, lone surrogate",
		"jsontext": "",
		"std":      "duplicate key, invalid UTF-8, lone surrogate",
	}
	for i, s := range scanners() {
		accepted := ""
		for _, test := range tests {
			fresh := scanners()[i] // ours would still be looking for the end of a bad record
			if fresh.scan([]byte(test.text)) {
				if accepted != "" {
					accepted += ", "
				}
				accepted += test.name
			}
		}
		if accepted != want[s.by] {
			t.Errorf("%s accepts %q, want %q", s.by, accepted, want[s.by])
		}
	}
}
