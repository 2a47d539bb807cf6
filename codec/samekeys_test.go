package codec_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// lossyCodecs are the codecs that write substitutes.
var lossyCodecs = []codec.Codec{msgpack.Codec{Lossy: true}, pickle.Codec{Lossy: true}, python.Codec{Lossy: true}, json.Codec{Lossy: true}}

func at(nanos int, zone dict.Zone) dict.Value {
	hour := 0
	if offset, _ := zone.Offset(); offset == time.Hour {
		hour = 1
	}
	return must(dict.DateTime{Date: dict.Date{Year: 2024, Month: 1, Day: 2}, TimeOfDay: dict.TimeOfDay{Hour: hour, Nanosecond: nanos, Zone: zone}}.Value())
}

// Keys, or items of a set, that become equal by a loss are an error with its place.
func TestSameKeys(t *testing.T) {
	ext := dict.Tagged(dict.CBORTag, dict.Int(4000), dict.Int(1))
	for _, test := range []struct {
		name string
		keys []dict.Value
		want string // the codecs that refuse a dictionary with these keys
		sets string // the codecs that refuse a set of them
	}{
		{"decimal and its text", []dict.Value{must(dict.Decimal("1.5")), dict.String("1.5")}, "msgpack", ""},
		{"int and its text", []dict.Value{must(dict.Decimal("1e30")), dict.String("1E+30")}, "msgpack", ""},
		{"equal as tuples", []dict.Value{must(dict.FrozenSet(dict.Float(1))), dict.Tuple(dict.Int(1))}, "msgpack", ""},
		{"deep within", []dict.Value{dict.Tuple(dict.Tuple(must(dict.Decimal("1.5")))), dict.Tuple(dict.Tuple(dict.String("1.5")))}, "msgpack", ""},
		{"surrogates", []dict.Value{dict.String("\xed\xa0\x80"), dict.String("\xed\xa0\x81")}, "msgpack", ""},
		{"date and its text", []dict.Value{must(dict.Date{Year: 2024, Month: 1, Day: 2}.Value()), dict.String("2024-01-02")}, "msgpack", ""},
		{"nanoseconds", []dict.Value{at(1, dict.Zone{}), at(2, dict.Zone{})}, "pickle python", "pickle python"},
		{"instants in two zones", []dict.Value{at(1, dict.UTC()), at(2, dict.FixedZone(time.Hour))}, "pickle python", "pickle python"},
		{"in a tuple", []dict.Value{dict.Tuple(at(1, dict.UTC())), dict.Tuple(at(2, dict.FixedZone(time.Hour)))}, "pickle python", "pickle python"},
		{"tagged and its repr", []dict.Value{ext, dict.String(ext.String())}, "msgpack pickle", "pickle"},
		{"the same in a tuple", []dict.Value{dict.Tuple(ext), dict.Tuple(dict.String(ext.String()))}, "msgpack pickle", "pickle"},
		{"the same in a frozenset", []dict.Value{must(dict.FrozenSet(ext)), must(dict.FrozenSet(dict.String(ext.String())))}, "msgpack pickle", "pickle"},
		{"NaN is no key's equal", []dict.Value{dict.Float(math.NaN()), dict.Float(math.NaN()), ext, at(1, dict.UTC())}, "", ""},
		{"all differ", []dict.Value{dict.Int(1), dict.String("1"), dict.Bytes([]byte("1")), ext}, "", ""},
	} {
		keyed := new(dict.Dict)
		for i, k := range test.keys {
			if err := keyed.SetKey(k, dict.Int(int64(i))); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range lossyCodecs {
			set := must(dict.SetOf(test.keys...))
			checkSame(t, c, test.name, keyed.Value(), len(test.keys), c.Name() != "json" && strings.Contains(test.want, c.Name()))
			checkSame(t, c, test.name+", in a set", set, len(test.keys), strings.Contains(test.sets, c.Name()))
			frozen := must(dict.FrozenSet(test.keys...))
			checkSame(t, c, test.name+", in a frozenset", frozen, len(test.keys), strings.Contains(test.sets, c.Name()))
		}
	}
}

func checkSame(t *testing.T, c codec.Codec, name string, v dict.Value, n int, refused bool) {
	t.Helper()
	d := dict.Of("in", []any{0, v})
	b, err := c.Append([]byte("before"), d)
	var loss *codec.LossError
	if refused {
		if !errors.As(err, &loss) || loss.Path != "/in/1" || !strings.Contains(loss.Hint, "written in the same way") || string(b) != "before" {
			t.Errorf("%s: %s writes %v as %q, %+v", name, c.Name(), d, b, loss)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %s: %v", name, c.Name(), err)
		return
	}
	back, err := c.Decode(b[len("before"):], codec.Limits{})
	if err != nil {
		t.Errorf("%s: %s writes %q for %v: %v", name, c.Name(), b, d, err)
		return
	}
	items, _ := back.Get("in")
	i := 0
	for item := range items.Items() {
		if pairs, ok := item.Dict(); ok && pairs.Len() == 1 { // {"_pairs": …}
			for _, list := range pairs.All() {
				item = list
			}
		}
		if i++; i == 2 && item.Len() != n {
			t.Errorf("%s: %s made %v of %v", name, c.Name(), item, v)
		}
	}
}

// Python reads everything that we write with the original number of items.
func TestNothingIsDropped(t *testing.T) {
	const script = `
import pickle, sys
from msgpack import unpackb
def count(v):
    if isinstance(v, dict): return 1 + sum(count(k) + count(x) for k, x in v.items())
    if isinstance(v, (list, tuple, set, frozenset)): return 1 + sum(map(count, v))
    return 1
def read(line):
    format, record = line.split()
    record = bytes.fromhex(record)
    return pickle.loads(record) if format == 'pickle' else unpackb(record, use_list=False, strict_map_key=False)
for line in sys.stdin: print(count(read(line)))
`
	texts := []dict.Value{ // often equal after the loss
		must(dict.Decimal("1.5")), dict.String("1.5"), at(1, dict.UTC()), at(2, dict.UTC()), at(3, dict.FixedZone(time.Hour)), at(0, dict.FixedZone(time.Hour)),
		dict.String("\ufffd"), dict.String("\xed\xa0\x80"), dict.Tagged(dict.CBORTag, dict.Int(4000), dict.Int(1)), dict.String("CBORTag(4000, 1)"),
		dict.Int(1), dict.Float(1.5), must(dict.TimeDelta{Nanoseconds: 1}.Value()), must(dict.TimeDelta{Nanoseconds: 2}.Value()), dict.String("0:00:00.000000001"),
	}
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), dict.Kinds())
	var key func(depth int) dict.Value
	key = func(depth int) dict.Value {
		items := func() (all []dict.Value) {
			for range g.IntN(3) {
				all = append(all, key(depth+1))
			}
			return all
		}
		switch n := g.IntN(6); {
		case n == 0 && depth < 2:
			return dict.Tuple(items()...)
		case n == 1 && depth < 2:
			return must(dict.FrozenSet(items()...))
		default:
			return texts[g.IntN(len(texts))]
		}
	}
	var in bytes.Buffer
	var want []int
	refused := 0
	for range testrand.Many(4000) {
		d := new(dict.Dict)
		for range 1 + g.IntN(4) {
			if err := d.SetKey(key(0), key(0)); err != nil {
				t.Fatal(err)
			}
		}
		d = dict.Of("d", d, "s", must(dict.SetOf(key(0), key(0))))
		for _, c := range lossyCodecs[:2] {
			b, err := c.Append(nil, d)
			if err != nil {
				refused++
				continue
			}
			in.WriteString(c.Name() + " " + hex.EncodeToString(b) + "\n")
			want = append(want, count(d.Value()))
		}
	}
	var stderr bytes.Buffer
	cmd := exec.Command("/usr/bin/python3", "-c", script)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in.Bytes()), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	lines, records := strings.Fields(string(out)), strings.Split(in.String(), "\n")
	if len(lines) != len(want) || refused == 0 || refused > len(want) {
		t.Fatalf("%d answers for %d records; %d were refused", len(lines), len(want), refused)
	}
	for i, line := range lines {
		if line != strconv.Itoa(want[i]) {
			t.Fatalf("Python counts %s values in %s, want %d", line, records[i], want[i])
		}
	}
}

// count counts the values in v, including v itself; a tagged value counts as one.
func count(v dict.Value) int {
	n := 1
	switch {
	case v.Kind().IsDict():
		for k, item := range v.Pairs() {
			n += count(k) + count(item)
		}
	case v.Kind() != dict.KindTagged && v.Kind().IsContainer():
		for item := range v.Items() {
			n += count(item)
		}
	}
	return n
}
