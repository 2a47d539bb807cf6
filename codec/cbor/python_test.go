package cbor_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
	"github.com/dictwire/dictwire/internal/testrand"
)

// python reads, for each case, the repr of a dictionary and our encoding of it. It answers
// with the differences in what cbor2 reads from it, with what cbor2 writes, and with the
// repr of what it wrote. canon is repr with sets in a fixed order.
const python = `
import collections, datetime, struct, sys, uuid
from decimal import Decimal
from collections import OrderedDict
from uuid import UUID
import cbor2
from cbor2 import CBORTag, CBORSimpleValue, undefined
class Names(dict):
    def __missing__(self, name):
        if name == 'nan': return float('nan') # another one each time
        raise KeyError(name)
names = Names(datetime=datetime, Decimal=Decimal, OrderedDict=OrderedDict, UUID=UUID, CBORTag=CBORTag,
    CBORSimpleValue=CBORSimpleValue, undefined=undefined, inf=float('inf'))
def canon(v):
    if isinstance(v, dict): return type(v).__name__ + '{' + ', '.join(canon(k) + ': ' + canon(x) for k, x in v.items()) + '}'
    if type(v) in (list, tuple): return type(v).__name__ + '[' + ', '.join(map(canon, v)) + ']'
    if type(v) in (set, frozenset): return type(v).__name__ + '{' + ', '.join(sorted(map(canon, v))) + '}'
    if type(v) is CBORTag: return 'CBORTag(%d, %s)' % (v.tag, canon(v.value))
    return repr(v)
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
def item():
    head = read(4)
    return read(*struct.unpack('>I', head)) if head else None
def answer(b):
    write(struct.pack('>I', len(b)) + b)
while (text := item()) is not None:
    ours = item()
    v = eval(text.decode(), {}, names)
    wrong = ''
    try:
        back = canon(cbor2.loads(ours))
        if back != canon(v): wrong = 'reads ' + back
    except Exception as error:
        wrong = repr(error)
    answer(wrong.encode('utf-8', 'backslashreplace'))
    answer(cbor2.dumps(v))
    answer(repr(v).encode())
`

// We read what cbor2 writes as the value it has in Python, and cbor2 reads what we write as
// that value.
func TestAgainstPython(t *testing.T) {
	kinds := []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindDecimal, dict.KindString, dict.KindBytes,
		dict.KindUUID, dict.KindDateTime, dict.KindList, dict.KindSet, dict.KindDict, dict.KindTagged,
	}
	keys := []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindDecimal, dict.KindString, dict.KindBytes,
		dict.KindUUID, dict.KindDateTime, dict.KindTuple, dict.KindFrozenSet, dict.KindTagged,
	}
	g := codectest.NewGenerator(codectest.Seed(t), kinds, keys)
	g.Holds = cbor2Holds
	var in, stderr bytes.Buffer
	put := func(b []byte) {
		in.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		in.Write(b)
	}
	dicts := make([]*dict.Dict, testrand.Many(20_000))
	for i := range dicts {
		dicts[i] = g.Dict()
		put(dict.AppendRepr(nil, dicts[i].Value(), dict.Python311))
		b, err := cbor.Codec{}.Append(nil, dicts[i])
		if err != nil {
			t.Fatal(err)
		}
		put(b)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", python)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	answer := func() []byte {
		n := 4 + binary.BigEndian.Uint32(out)
		b := out[4:n]
		out = out[n:]
		return b
	}
	for _, d := range dicts {
		wrong, theirs, want := answer(), answer(), answer()
		if len(wrong) > 0 {
			ours, _ := cbor.Codec{}.Append(nil, d)
			t.Fatalf("we write %v as %x, which cbor2\n%s", d, ours, wrong)
		}
		back, err := cbor.Codec{}.Decode(theirs, codec.Limits{})
		if err != nil {
			t.Fatalf("cbor2 writes %s as %x: %v", want, theirs, err)
		}
		if got := dict.AppendRepr(nil, back.Value(), dict.Python311); !bytes.Equal(got, want) {
			t.Fatalf("cbor2 writes %x\nfor %s\nwe read %s", theirs, want, got)
		}
		if _, end, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(theirs); err != nil || end != len(theirs) {
			t.Fatalf("the scanner says %d, %v of %x", end, err, theirs)
		}
	}
}

// Moments are rounded, and their text parsed, like in cbor2.
func TestMomentsAgainstPython(t *testing.T) {
	const python = `
import cbor2, sys
for line in sys.stdin:
    try: print(repr(cbor2.loads(bytes.fromhex(line))))
    except Exception as error: print('-')
`
	g := codectest.NewGenerator(codectest.Seed(t), nil, nil)
	var in, stderr bytes.Buffer
	records := make([][]byte, testrand.Many(5000))
	for i := range records {
		b := []byte{0xA1, 0x00}
		switch g.IntN(3) {
		case 0:
			f := (g.Float64() - 0.5) * math.Pow(10, float64(g.IntN(13)))
			if g.IntN(4) == 0 { // between two microseconds
				f = math.Floor(f) + (float64(g.IntN(1e6))+0.5)/1e6
			}
			b = binary.BigEndian.AppendUint64(append(b, 0xC1, 0xFB), math.Float64bits(f))
		case 1:
			b = binary.BigEndian.AppendUint64(append(b, 0xC1, byte(0x1B+g.IntN(2)<<5)), g.Uint64()>>(24+g.IntN(20)))
		default:
			text := fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", g.IntN(10_000), g.IntN(13), g.IntN(32), g.IntN(25), g.IntN(61), g.IntN(61))
			if n := g.IntN(8); n > 0 {
				text += fmt.Sprintf(".%0*d", n, g.IntN(10))
			}
			if g.IntN(2) == 0 {
				text += "Z"
			} else {
				text += fmt.Sprintf("%c%02d:%02d", "+-"[g.IntN(2)], g.IntN(24), g.IntN(60))
			}
			b = append(append(b, 0xC0, 0x78, byte(len(text))), text...)
		}
		records[i] = b
		fmt.Fprintf(&in, "%x\n", b)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", python)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	for i, want := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		got := "-"
		if d, err := (cbor.Codec{}).Decode(records[i], codec.Limits{}); err == nil {
			whole, _ := substitute.CutNanoseconds("cbor", d.Value())        // as Python does
			if v, _ := d.GetKey(dict.Int(0)); v.Kind() != dict.KindTagged { // Python has neither leap seconds nor a year 0
				got = whole.String()
			}
		}
		if got != want {
			t.Errorf("%x: %s, want %s", records[i], got, want)
		}
	}
}

// cbor2Holds reports whether cbor2 writes v without loss.
func cbor2Holds(v dict.Value) bool {
	switch v.Kind() {
	case dict.KindString:
		return !v.HasSurrogates()
	case dict.KindDecimal:
		minus, digits, _, finite := v.DecimalParts()
		return finite && (!minus || string(digits) != "0")
	case dict.KindDateTime:
		t, _ := v.DateTime()
		_, named := t.Zone.Name()
		offset, fixed := t.Zone.Offset()
		return fixed && !named && !v.HasNanoseconds() && offset%time.Minute == 0 && !t.Fold
	case dict.KindTagged:
		space, _, _, _ := v.Tagged()
		return space != dict.MessagePackExt
	default:
		return true
	}
}
