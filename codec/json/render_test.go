package json_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A number without a near float is kept as it was written, not as an infinity or 0, and
// written again.
func TestNumbersBeyondFloats(t *testing.T) {
	long := strings.Repeat("7", 400)
	for in, want := range map[string]string{
		`1e400`: `1e400`, `-1E+400`: `-1e400`, `1.50e400`: `1.50e400`, `1e-400`: `1e-400`, `-0.001e-400`: `-1e-403`,
		long + `.5`: long + `.5`, long + `e0`: long + `e0`, `0.` + strings.Repeat("0", 400) + `1`: `1e-401`,
		`1.7976931348623159e308`: `1.7976931348623159e308`, `2e-324`: `2e-324`, `1e999999999999999999`: `1e999999999999999999`,
		// Floats, and ints.
		`1.7976931348623158e308`: `1.7976931348623157e+308`, `5e-324`: `5e-324`, `0e999`: `0.0`, `-0.0e-999`: `-0.0`, `0e99999999999999999999`: `0.0`,
		`1` + strings.Repeat("0", 300) + `.0`: `1e+300`, `0.` + strings.Repeat("0", 300) + `1e10`: `1e-291`, long: long,
		`1` + strings.Repeat("0", 400) + `e-400`: `1.0`, `0.` + strings.Repeat("0", 400) + `1e401`: `1.0`,
	} {
		record := []byte(`{"v":` + in + `}`)
		d, err := json.Codec{}.Decode(record, codec.Limits{})
		if err != nil {
			t.Errorf("%.60s: %v", in, err)
			continue
		}
		for _, c := range []json.Codec{{}, {Strict: true}, {Lossy: true}} {
			if out, err := c.Append(nil, d); err != nil || string(out) != `{"v":`+want+`}` {
				t.Errorf("%.60s: %+v writes %.60s, %v, want %.60s", in, c, out, err, want)
			}
		}
		for _, piece := range []int{1, 7, len(record)} {
			if found := codectest.Records(t, json.Codec{}, codec.Limits{}, record, piece); len(found) != 1 {
				t.Errorf("%.60s: the scanner finds %q", in, found)
			}
		}
	}
}

// Renderings are counted, and destructive substitutes are reported with their paths.
func TestRender(t *testing.T) {
	surrogate := "\xed\xa0\x80"
	nan := new(dict.Dict)
	for i := range 2 {
		if err := nan.SetKey(dict.Float(math.NaN()), dict.Int(int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	many := make([]any, 20)
	for i := range many {
		many[i] = math.NaN()
	}
	for _, test := range []struct {
		d        *dict.Dict
		want     string
		rendered int
		losses   string
	}{
		{dict.Of("a", 1, "b", []any{true, nil, "x", 1.5}), `{"a":1,"b":[true,null,"x",1.5]}`, 0, ""},
		{dict.Of("x", math.NaN(), "y", []any{0, math.Inf(-1)}), `{"x":null,"y":[0,null]}`, 0, "/x: NaN is written as null\n/y/1: an infinity is written as null\n"},
		{dict.Of("s", "a"+surrogate+"b"), `{"s":"a` + "\ufffd" + `b"}`, 0, "/s: lone surrogates are written as U+FFFD\n"},
		{dict.Of("in", dict.Of(surrogate, 1)), `{"in":{"` + "\ufffd" + `":1}}`, 0, "/in: in a key, lone surrogates are written as U+FFFD\n"},
		{dict.Of(1, "int", "1", []byte{255}), `{"_pairs":[[1,"int"],["1","/w=="]]}`, 1, `/: keys that would be the same text are written as {"_pairs": [[key, value], …]}` + "\n"},
		{dict.Of(1, "int", true, "bool", 2.5, "f", nil, 1), `{"1":"bool","2.5":"f","null":1}`, 3, ""},
		{dict.Of("in", nan), `{"in":{"_pairs":[[null,0],[null,1]]}}`, 0, `/in: keys that would be the same text are written as {"_pairs": [[key, value], …]}` + "\n/in: NaN is written as null\n/in: NaN is written as null\n"},
		{dict.Of("t", dict.Tuple(dict.Int(1), dict.Bytes(nil)), "o", dict.Of("a", 1).Ordered()), `{"t":[1,""],"o":{"a":1}}`, 3, ""},
		{dict.Of("m", many), `{"m":[` + strings.TrimSuffix(strings.Repeat("null,", 20), ",") + `]}`, 0, ""},
	} {
		var r json.Report
		out := json.Render([]byte("before"), test.d, &r)
		losses := ""
		for _, l := range r.Losses {
			losses += l.String() + "\n"
		}
		if test.losses == "" && r.Lost > 0 { // too many to list
			losses = strings.TrimPrefix(losses, strings.Join([]string{losses}, ""))
			if r.Lost != 20 || len(r.Losses) != json.MaxLosses {
				t.Errorf("%v: %d lost, %d named", test.d, r.Lost, len(r.Losses))
			}
		}
		if string(out) != "before"+test.want || r.Rendered != test.rendered || losses != test.losses {
			t.Errorf("%v:\n got %s, %d, %s\nwant %s, %d, %s", test.d, out, r.Rendered, losses, test.want, test.rendered, test.losses)
		}
		if r.Reset(); r.Lost != 0 || r.Rendered != 0 || len(r.Losses) != 0 {
			t.Errorf("after Reset: %+v", r)
		}
		if silent := json.Render(nil, test.d, nil); string(silent) != test.want {
			t.Errorf("without a report: %s", silent)
		}
	}
}

// Other programs can read what is written for any dictionary: node, Python without its
// extensions, and a strict parser in Go.
func TestRenderIsStrict(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), dict.Kinds())
	var lines bytes.Buffer
	n := testrand.Many(20_000)
	lossy := 0
	for range n {
		d := g.Dict()
		var r json.Report
		out := json.Render(nil, d, &r)
		if !jsontext.Value(out).IsValid() {
			t.Fatalf("%v is written as %s", d, out)
		}
		if !json.IsStrict(out) {
			t.Fatalf("%s is not strict", out)
		}
		strict, err := json.Codec{Strict: true}.Append(nil, d)
		if exact := r.Lost == 0 && r.Rendered == 0; exact != (err == nil) || exact && !bytes.Equal(strict, out) {
			t.Fatalf("%v: %+v, strict %s, %v", d, r, strict, err)
		}
		if r.Lost > 0 {
			lossy++
		}
		lines.Write(append(out, '\n'))
	}
	if lossy < n/50 {
		t.Errorf("only %d of %d lost anything", lossy, n)
	}
	for _, program := range [][]string{
		{"node", "-e", `let n = 0; for (const l of require("fs").readFileSync(0, "utf8").split("\n")) if (l) { JSON.parse(l); n++ } console.log(n)`},
		{"/usr/bin/python3", "-X", "utf8", "-c", "import json, sys\ndef no(c): raise ValueError(c)\nn = 0\nsys.set_int_max_str_digits(0)\n" +
			"for l in sys.stdin.buffer.read().split(b'\\n'):\n  if l: json.dumps(json.loads(l, parse_constant=no), ensure_ascii=False).encode(); n += 1\nprint(n)"},
	} {
		cmd := exec.Command(program[0], program[1:]...)
		cmd.Stdin = bytes.NewReader(lines.Bytes())
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(n) {
			t.Errorf("%s: %s, %v", program[0], out, err)
		}
	}
}

func TestIsStrict(t *testing.T) {
	for record, want := range map[string]bool{
		`{}`: true, `{"a":[1,-2.5e3,true,false,null,"NaN Infinity \" N"]}`: true, `{"Infinity":"\\N"}`: true,
		`{"a":NaN}`: false, `{"a":[-Infinity]}`: false, `{"a":Infinity}`: false, `{"a":1e400}`: true,
		`{"a":"\ud83d\ude00","\uD83D\uDE00":"\u0041"}`: true, `{"a":"\ud800"}`: false, `{"\udc00":1}`: false, `{"a":"\\ud800"}`: true,
		`{"a":"\ud83d\ud83d\ude00"}`: false, `{"a":"\ud83d\u0041"}`: false, `{"a":"\ud83dx\ude00"}`: false, `{"a":"\ud83d\n\ude00"}`: false,
		`{"a":"\ude00\ud83d"}`: false, `{"a":"\ud7ff\ue000"}`: true, `{"a":"\ud83d\ude00\ude00"}`: false,
	} {
		if _, err := (json.Codec{}).Decode([]byte(record), codec.Limits{}); err != nil {
			t.Fatal(err)
		}
		if got := json.IsStrict([]byte(record)); got != want {
			t.Errorf("%s: %v", record, got)
		}
	}
	// It has the same result as decoding and writing again.
	g := generator(t)
	for range testrand.Many(20_000) {
		b := document(g)
		d, err := json.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			continue
		}
		_, err = json.Codec{Strict: true}.Append(nil, d)
		if got := json.IsStrict(b); got != (err == nil) {
			t.Fatalf("%q: %v, but Strict says %v", b, got, err)
		}
	}
}

// A record without white space between its tokens is the same record.
func TestAppendCompact(t *testing.T) {
	for record, want := range map[string]string{
		"{ }": "{}", "{\"a b\" :\t[ 1 ,\r\n2.50 ] }": `{"a b":[1,2.50]}`, `{"a" : "\\" , "b\" " : "\u00e9  \\\" "}`: `{"a":"\\","b\" ":"\u00e9  \\\" "}`,
		`{"a": NaN, "n": 123456789012345678901234567890}`: `{"a":NaN,"n":123456789012345678901234567890}`,
	} {
		if got := string(json.AppendCompact([]byte("x"), []byte(record))); got != "x"+want {
			t.Errorf("%s: %s, want %s", record, got, want)
		}
	}
	g := generator(t)
	for range testrand.Many(20_000) {
		b := document(g)
		if _, err := (json.Codec{}).Decode(b, codec.Limits{}); err != nil || !json.IsStrict(b) {
			continue
		}
		var want bytes.Buffer
		if err := stdjson.Compact(&want, b); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if got := json.AppendCompact(nil, b); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q: %q, want %q", b, got, want.Bytes())
		}
	}
}
