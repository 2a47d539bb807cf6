package terminal

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
)

// JSON for people is the same JSON: without its colours it has the same values, and it
// contains nothing that controls a terminal.
func TestAppendJSON(t *testing.T) {
	const in = `{"a":[1,-2.5e3,"x\"y\\",true,null,[],{}],"b":{"` + "\u009b\u202e" + `":{"c":[{"d":"]}"}]}},"":"日本"}`
	for _, indent := range []bool{false, true} {
		plain := AppendJSON(nil, []byte(in), indent, false)
		colored := AppendJSON(nil, []byte(in), indent, true)
		if got := regexp.MustCompile("\x1b\\[[0-9;]+m").ReplaceAll(colored, nil); !bytes.Equal(got, plain) {
			t.Errorf("without colours:\n%s\nwant\n%s", got, plain)
		}
		if bytes.ContainsAny(plain, "\x1b\u009b\u202e") {
			t.Errorf("a terminal obeys %q", plain)
		}
		var got, want bytes.Buffer
		if err := json.Compact(&got, plain); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&want, Escaped([]byte(in))); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("%s\nwant\n%s", &got, &want)
		}
	}
	const want = "{\n  \x1b[1;34m\"a\"\x1b[0m: [\n    \x1b[36m1\x1b[0m,\n    \x1b[35mfalse\x1b[0m\n  ],\n  \x1b[1;34m\"b\"\x1b[0m: \x1b[32m\"c\"\x1b[0m\n}"
	if got := string(AppendJSON(nil, []byte(`{"a":[1,false],"b":"c"}`), true, true)); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if got := string(AppendJSON(nil, []byte(`{"a":[1,false],"b":{}}`), false, false)); got != `{"a": [1, false], "b": {}}` {
		t.Error(got)
	}
}

// For any input, it terminates, and no control sequence gets through.
func FuzzAppendJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"\\`), true)
	f.Add([]byte("\x1b]\"\x9b"), false)
	f.Fuzz(func(t *testing.T, in []byte, indent bool) {
		if len(in) > 1<<12 {
			return
		}
		for _, r := range string(AppendJSON(nil, in, indent, false)) {
			if r != '\n' && r != '\t' && r != '\r' && commands(r) {
				t.Fatalf("%q", r)
			}
		}
	})
}
