package codec_test

import (
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A format is a codec, and the lossy version of it, or nil if it represents everything.
type format struct {
	title         string
	strict, lossy codec.Codec
}

var formats = []format{
	{"JSON", json.Codec{}, json.Codec{Lossy: true}},
	{"JSON, RFC 8259", json.Codec{Strict: true}, json.Codec{Lossy: true}},
	{"CBOR", cbor.Codec{}, nil},
	{"MessagePack", msgpack.Codec{}, msgpack.Codec{Lossy: true}},
	{"pickle", pickle.Codec{}, pickle.Codec{Lossy: true}},
	{"Python", python.Codec{}, python.Codec{Lossy: true}},
}

// A sample is a value that stands for a row of docs/formats.md.
type sample struct {
	name  string
	value dict.Value
}

// samples has values of every type, several if formats treat them differently.
func samples() []sample {
	day := dict.Date{Year: 2026, Month: 11, Day: 25}
	at := func(z dict.Zone, fold bool) dict.Value {
		return must(dict.DateTime{Date: day, TimeOfDay: dict.TimeOfDay{Hour: 10, Microsecond: 500_000, Zone: z, Fold: fold}}.Value())
	}
	return []sample{
		{"null", dict.Null()},
		{"bool", dict.Bool(true)},
		{"int of at most 64 bits", dict.Int(-7)},
		{"int of any size", dict.BigInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(20), nil))},
		{"float", dict.Float(1.5)},
		{"float: NaN, inf", dict.Float(math.Inf(1))},
		{"complex", dict.Complex(1 + 2i)},
		{"decimal", must(dict.Decimal("1.50"))},
		{"decimal: NaN, Infinity, -0", must(dict.Decimal("-Infinity"))},
		{"decimal beyond floats", must(dict.Decimal("1E+400"))},
		{"string", dict.String("é")},
		{"string with lone surrogates", dict.String("\xed\xa0\x80")},
		{"string with a pair of surrogates, as two code points", dict.String("\xed\xa0\xbd\xed\xb8\x80")},
		{"bytes", dict.Bytes([]byte("ab"))},
		{"bytearray", dict.ByteArray([]byte("ab"))},
		{"uuid", dict.UUID([16]byte{15: 5})},
		{"datetime in UTC", at(dict.UTC(), false)},
		{"datetime with an offset", at(dict.FixedZone(time.Hour), false)},
		{"datetime with a named offset", at(dict.NamedFixedZone(time.Hour, "CET"), false)},
		{"datetime in a named zone", at(dict.KeyZone("Europe/Paris"), false)},
		{"datetime, naive", at(dict.Zone{}, false)},
		{"datetime with fold", at(dict.UTC(), true)},
		{"datetime with nanoseconds", must(dict.DateTime{Date: day, TimeOfDay: dict.TimeOfDay{Hour: 10, Microsecond: 123_456, Nanosecond: 789, Zone: dict.UTC()}}.Value())},
		{"date", must(day.Value())},
		{"time", must(dict.TimeOfDay{Hour: 10}.Value())},
		{"timedelta", must(dict.TimeDelta{Days: 1, Seconds: 2}.Value())},
		{"timedelta with nanoseconds", must(dict.TimeDelta{Seconds: 2, Nanoseconds: 5}.Value())},
		{"timedelta, negative", must(dict.TimeDelta{Days: -1}.Value())},
		{"list", dict.List(dict.Int(1))},
		{"tuple", dict.Tuple(dict.Int(1))},
		{"set", must(dict.SetOf(dict.Int(1)))},
		{"frozenset", must(dict.FrozenSet(dict.Int(1)))},
		{"dict", dict.Of("a", 1).Value()},
		{"ordered dict", dict.Of("a", 1).Ordered().Value()},
		{"CBOR tag without a kind", dict.Tagged(dict.CBORTag, dict.Int(4000), dict.Int(1))},
		{"CBOR simple value", dict.Tagged(dict.CBORSimple, dict.Int(99), dict.Null())},
		{"MessagePack extension", dict.Tagged(dict.MessagePackExt, dict.Int(5), dict.Bytes([]byte("ab")))},
	}
}

// cell describes how a format writes d, a dictionary with one pair. part picks the part to
// describe.
func cell(t *testing.T, f format, d *dict.Dict, part func(*dict.Dict) dict.Value) string {
	t.Helper()
	through := func(c codec.Codec) (*dict.Dict, []byte, error) {
		b, err := c.Append(nil, d)
		if err != nil {
			return nil, nil, err
		}
		back, err := c.Decode(b, codec.Limits{})
		if err != nil {
			t.Fatalf("%s does not read back %v: %v", f.title, d, err)
		}
		return back, b, nil
	}
	back, b, err := through(f.strict)
	if err == nil {
		if !back.Equal(d) {
			t.Fatalf("%s made %v of %v", f.title, back, d)
		}
		return spelling(f.strict, b)
	}
	if f.lossy == nil {
		t.Fatalf("%s does not hold %v: %v", f.title, d, err)
	}
	if back, _, err = through(f.lossy); err != nil {
		t.Fatalf("%s has no substitute for %v: %v", f.title, d, err)
	}
	return "as `" + part(back).String() + "`"
}

// spelling describes the special form in which a binary format wrote the value of the key
// "v".
func spelling(c codec.Codec, b []byte) string {
	switch value := b[min(3, len(b)-1):]; c.(type) {
	case cbor.Codec:
		if string(b[:3]) != "\xa1\x61v" || value[0]>>5 != 6 {
			return "yes"
		}
		number, size := uint(value[0]&31), 1
		for range map[uint]int{24: 1, 25: 2, 26: 4}[number] {
			if size == 1 {
				number = 0
			}
			number = number<<8 | uint(value[size])
			size++
		}
		if object := value[size:]; number == 27 {
			return "object " + string(object[2:2+object[1]&31])
		}
		return fmt.Sprint("tag ", number)
	case msgpack.Codec:
		switch {
		case string(b[:3]) != "\x81\xa1v":
		case value[0] >= 0xD4 && value[0] <= 0xD8:
			return fmt.Sprint("extension ", int8(value[1]))
		case value[0] == 0xC7:
			return fmt.Sprint("extension ", int8(value[2]))
		}
	}
	return "yes"
}

// table renders a table in Markdown.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
	return b.String()
}

func header(first string) [][]string {
	row := []string{first}
	for _, f := range formats {
		row = append(row, f.title)
	}
	return [][]string{row}
}

var update = flag.Bool("update", false, "write the tables of docs/formats.md anew")

// TestFormats compares the tables of docs/formats.md with the codecs.
func TestFormats(t *testing.T) {
	values, keys, objects := header("value"), header("key"), [][]string{{"name", "arguments", "what it is"}}
	for _, s := range samples() {
		row := []string{s.name}
		for _, f := range formats {
			row = append(row, cell(t, f, dict.Of("v", s.value), func(d *dict.Dict) dict.Value {
				v, _ := d.Get("v")
				return v
			}))
		}
		values = append(values, row)
		d := new(dict.Dict)
		if d.SetKey(s.value, dict.Null()) != nil {
			continue // not hashable
		}
		row = []string{s.name}
		for _, f := range formats {
			row = append(row, cell(t, f, d, func(d *dict.Dict) dict.Value {
				for k := range d.All() {
					return k
				}
				return dict.Value{}
			}))
		}
		keys = append(keys, row)
	}
	for _, o := range cbor.Objects() {
		objects = append(objects, []string{"`" + o.Name + "`", "`" + o.Args + "`", o.Text})
	}

	types := [][]string{{"type", "read as"}}
	for _, p := range pickle.Types() {
		types = append(types, []string{p.Name, p.Becomes})
	}

	const path = "../docs/formats.md"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for name, rows := range map[string][][]string{"values": values, "keys": keys, "objects": objects, "types": types} {
		before, rest, ok := strings.Cut(text, "<!-- "+name+" -->\n")
		_, behind, end := strings.Cut(rest, "<!-- end -->")
		if !ok || !end {
			t.Fatalf("%s has no place for %s", path, name)
		}
		text = before + "<!-- " + name + " -->\n" + table(rows) + "<!-- end -->" + behind
	}
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: go test ./codec -run TestFormats -update", path)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A dictionary that is converted between formats that can represent it does not change.
func TestTranscode(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), dict.Kinds())
	steps := 0
	for range testrand.Many(3000) {
		d := g.Dict()
		at := d
		for range 6 {
			f := formats[g.IntN(len(formats))]
			b, err := f.strict.Append(nil, at)
			if err != nil {
				continue
			}
			steps++
			if at, err = f.strict.Decode(b, codec.Limits{Digits: -1}); err != nil {
				t.Fatalf("%s does not read back %v: %v", f.title, d, err)
			}
			if !at.Equal(d) {
				t.Fatalf("%s made %v of %v", f.title, at, d)
			}
		}
	}
	if steps < testrand.Many(5000) {
		t.Errorf("only %d steps: the formats hold less than they should", steps)
	}
}

func must(v dict.Value, err error) dict.Value {
	if err != nil {
		panic(err)
	}
	return v
}
