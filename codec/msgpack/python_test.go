package msgpack_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// oracle answers each record (a 4-byte length and its bytes) with the result of Python's
// msgpack: "-" and the error, or "+", the value, a line feed, and the value packed again.
const oracle = `
import datetime, msgpack, struct, sys
class Ext:
    def __init__(self, code, data): self.code, self.data = code, data
    def __eq__(self, other): return type(other) is Ext and (self.code, self.data) == (other.code, other.data)
    def __hash__(self): return hash((self.code, self.data))
    def __repr__(self): return 'ExtType(code=%r, data=%r)' % (self.code, self.data)
def default(v):
    if type(v) is Ext: return msgpack.ExtType(v.code, v.data)
    raise TypeError(v)
def dump(v):
    if isinstance(v, tuple): return '[' + ', '.join(map(dump, v)) + ']'
    if isinstance(v, dict): return '{' + ', '.join(dump(k) + ': ' + dump(x) for k, x in v.items()) + '}'
    return repr(v)
def answer(b):
    try:
        v = msgpack.unpackb(b, use_list=False, strict_map_key=False, timestamp=3, ext_hook=Ext, raw=False)
    except Exception as error:
        return ('-' + repr(error)).encode()
    if not isinstance(v, dict): return b'-not a dictionary'
    out = ('+' + dump(v)).encode() + b'\n'
    try:
        return out + msgpack.packb(v, use_bin_type=True, datetime=True, default=default)
    except Exception as error:
        return out + repr(error).encode()
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while head := read(4):
    out = answer(read(*struct.unpack('>I', head)))
    write(struct.pack('>I', len(out)) + out)
`

// dump writes a value as the oracle does.
func dump(v dict.Value) string {
	var all []string
	switch v.Kind() {
	case dict.KindList, dict.KindTuple:
		for item := range v.Items() {
			all = append(all, dump(item))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case dict.KindDict:
		for k, item := range v.Pairs() {
			all = append(all, dump(k)+": "+dump(item))
		}
		return "{" + strings.Join(all, ", ") + "}"
	default:
		return string(dict.AppendRepr(nil, v, dict.Python311))
	}
}

// generator generates what Python's msgpack can represent as well: it has extensions from
// code 0 on.
func generator(t *testing.T) *codectest.Generator {
	g := codectest.NewGenerator(codectest.Seed(t), kinds, keys)
	g.Holds = func(v dict.Value) bool {
		_, code, _, ok := v.Tagged()
		n, _ := code.Int()
		return holds(v) && (!ok || n >= 0) && !v.HasNanoseconds()
	}
	return g
}

// Python reads what we write as the same value, and writes it in the same bytes, which we
// read as the same value.
func TestAppendAgainstPython(t *testing.T) {
	g := generator(t)
	records := make([][]byte, testrand.Many(20_000))
	want := make([]string, len(records))
	for i := range records {
		d := g.Dict()
		var err error
		if records[i], err = (msgpack.Codec{}).Append(nil, d); err != nil {
			t.Fatal(err)
		}
		want[i] = "+" + dump(d.Value()) + "\n" + string(records[i])
		if back, err := (msgpack.Codec{}).Decode(records[i], codec.Limits{}); err != nil || !back.Equal(d) {
			t.Fatalf("%v came back as %v, %v", d, back, err)
		}
	}
	for i, got := range codectest.AskPython(t, oracle, records) {
		if got != want[i] {
			t.Fatalf("%x\npython %q\nwe     %q", records[i], got, want[i])
		}
	}
}

// mutated returns a record that is damaged in a few places.
func mutated(g *codectest.Generator) []byte {
	b, err := msgpack.Codec{}.Append(nil, g.Dict())
	if err != nil {
		panic(err)
	}
	for g.IntN(4) > 0 {
		i := g.IntN(len(b) + 1)
		switch g.IntN(5) {
		case 0:
			b = slices.Insert(b, i, byte(g.Uint32()))
		case 1:
			b = slices.Delete(b, i, min(i+1+g.IntN(3), len(b)))
		case 2, 3:
			if i < len(b) {
				b[i] = byte(g.Uint32())
			}
		default:
			if g.IntN(6) == 0 {
				b = b[:i]
			}
		}
	}
	return b
}

// We accept what Python's msgpack accepts, with the same value, and nothing else, except
// for duplicate keys and timestamps that no datetime can represent.
func TestAgainstPython(t *testing.T) {
	g := generator(t)
	records := make([][]byte, testrand.Many(30_000))
	for i := range records {
		records[i] = mutated(g)
	}
	accepted := 0
	for i, answer := range codectest.AskPython(t, oracle, records) {
		b := records[i]
		want, _, _ := strings.Cut(answer, "\n")
		d, err := msgpack.Codec{}.Decode(b, codec.Limits{})
		if isCode(err, fault.DuplicateKey) && want[0] == '+' {
			continue
		}
		got := fmt.Sprintf("-%v", err)
		if err == nil {
			got = "+" + dump(d.Value())
			accepted++
		}
		if got[0] == '+' && (strings.Contains(got, "ExtType(code=-1,") || strings.Contains(got, "nanosecond=")) {
			continue // Python refuses it, or cuts its nanoseconds
		}
		if got[0] != want[0] || got[0] == '+' && got != want {
			t.Fatalf("%x\npython %s\nwe     %s", b, want, got)
		}
	}
	if accepted < len(records)/8 || accepted > len(records)*7/8 {
		t.Errorf("%d of %d were accepted: the test is lopsided", accepted, len(records))
	}
}

// Timestamps are the same as in Python's msgpack with nanoseconds, in the same bytes.
func TestTimestampsAgainstPython(t *testing.T) {
	const python = `
import msgpack, sys
for line in sys.stdin:
    b = bytes.fromhex(line)
    v = msgpack.unpackb(b, timestamp=0)['t']
    print(v.seconds, v.nanoseconds, msgpack.packb({'t': v}).hex())
`
	g := codectest.NewGenerator(codectest.Seed(t), kinds, keys)
	var in bytes.Buffer
	times := make([]dict.DateTime, testrand.Many(20_000))
	for i := range times {
		v := g.Of(dict.KindDateTime)
		dt, _ := v.DateTime()
		dt.Zone, dt.Fold = dict.UTC(), false
		dt.Nanosecond = g.IntN(1000)
		times[i] = dt
		b, err := msgpack.Codec{}.Append(nil, dict.Of("t", dt))
		if err != nil {
			t.Fatal(err)
		}
		back, err := msgpack.Codec{}.Decode(b, codec.Limits{})
		if err != nil || !back.Equal(dict.Of("t", dt)) {
			t.Fatalf("%v came back as %v, %v", dt, back, err)
		}
		fmt.Fprintf(&in, "%x\n", b)
	}
	sent := strings.Split(in.String(), "\n")
	cmd := exec.Command("/usr/bin/python3", "-c", python)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		at := time.Date(times[i].Year, time.Month(times[i].Month), times[i].Day, times[i].Hour, times[i].Minute, times[i].Second, 0, time.UTC)
		want := fmt.Sprint(at.Unix(), times[i].Microsecond*1000+times[i].Nanosecond, sent[i])
		if strings.ReplaceAll(line, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Fatalf("python %s\nwe     %s", line, want)
		}
	}
}

func isCode(err error, c fault.Code) bool {
	bad, ok := err.(*codec.SyntaxError) //nolint:errorlint // Decode wraps nothing
	return ok && bad.Code == c
}
