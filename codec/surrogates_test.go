package codec_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

// surrogatePairs is a Python expression for strings that UTF-16 can't represent: a high and
// a low surrogate in a row that are two code points.
const surrogatePairs = `{
    'pair': '\ud83d\ude00', 'within': 'a\ud83d\ude00b', 'two': '\ud83d\ude00\ud83d\ude00', 'three': '\ud83d\ud83d\ude00',
    'lone': '\ude00\ud83d', 'character': '\U0001f600', '\ud83d\ude00': 1, '\U0001f600': 2, '\ud83d': {'\ude00': 3},
    ('\ud83d\ude00',): ['\ud83d\ude00', ('\ud83d\ude00', '\ud83d', '\ude00')], 'set': {'\ud83d\ude00'},
    'frozen': frozenset(['\ud83d\ude00']), 'ordered': OrderedDict({'\ud83d\ude00': '\ud83d\ude00'}),
    'zone': datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1), '\ud83d\ude00')),
    'time': time(1, 2, tzinfo=timezone(timedelta(hours=1), '\ud83d\ude00')),
}`

// A pair of surrogates that is two code points in Python stays two in every format, and is
// reported where a format can't represent it.
func TestSurrogatePairs(t *testing.T) {
	const imports = "import pickle, sys\nfrom collections import OrderedDict\nfrom datetime import datetime, time, timedelta, timezone\nv = " + surrogatePairs + "\n"
	run := func(script string, stdin []byte) []byte {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command("/usr/bin/python3", "-c", imports+script)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr.Bytes())
		}
		return out
	}
	stored := func(d *dict.Dict) *dict.Dict {
		t.Helper()
		record, err := cbor.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, end, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(record); err != nil || end != len(record) {
			t.Fatalf("the scanner of CBOR says %d, %v", end, err)
		}
		back, err := cbor.Codec{}.Decode(record, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return back
	}
	const same = "\nimport datetime\nw = "
	for protocol := range 6 {
		d, err := pickle.Codec{}.Decode(run("sys.stdout.buffer.write(pickle.dumps(v, "+string(rune('0'+protocol))+"))", nil), codec.Limits{})
		if err != nil {
			t.Fatalf("protocol %d: %v", protocol, err)
		}
		d = stored(d)
		out, err := pickle.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		run(same+"pickle.load(sys.stdin.buffer)\nassert w == v and repr(w) == repr(v), ascii(w)", out)
		text, err := python.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		run(same+"eval(sys.stdin.buffer.read().decode())\nassert w == v and repr(w) == repr(v), ascii(w)", text)
		fromText, err := python.Codec{}.Decode(text, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := stored(fromText); !got.Equal(d) {
			t.Fatalf("%v by way of Python's literals is %v", d, got)
		}
	}

	pair := dict.String("\xed\xa0\xbd\xed\xb8\x80")
	for _, c := range []codec.Codec{json.Codec{}, json.Codec{Strict: true}, msgpack.Codec{}} {
		for _, d := range []*dict.Dict{dict.Of("a", pair), dict.Of("a", dict.Of(pair, 1)), dict.Of("a", []any{pair})} {
			if out, err := c.Append(nil, d); err == nil || !strings.HasPrefix(err.Error(), "/a") {
				t.Errorf("%T writes %v as %q, %v", c, d, out, err)
			}
		}
	}
	for _, c := range []codec.Codec{json.Codec{Lossy: true}, msgpack.Codec{Lossy: true}} {
		out, err := c.Append(nil, dict.Of("a", pair))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Decode(out, codec.Limits{}); err != nil || !got.Equal(dict.Of("a", "\ufffd\ufffd")) {
			t.Errorf("%T writes %v for a pair, %v", c, got, err)
		}
	}
	if d, err := (json.Codec{}).Decode([]byte(`{"a":"\ud83d\ude00"}`), codec.Limits{}); err != nil || !d.Equal(dict.Of("a", "😀")) {
		t.Errorf("a pair of JSON's escapes is %v, %v", d, err)
	}
}
