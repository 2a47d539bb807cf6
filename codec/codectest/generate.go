package codectest

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// A Generator makes dictionaries of given kinds, with a taste for extremes.
type Generator struct {
	*rand.Rand

	// Holds reports whether the format can represent a value of one of the kinds. It is
	// called for values that contain no others, and for tagged ones. nil: all of them.
	Holds func(dict.Value) bool

	kinds, keys []dict.Kind
}

// NewGenerator returns a generator that makes the same for the same seed.
func NewGenerator(seed uint64, kinds, keys []dict.Kind) *Generator {
	return &Generator{Rand: rand.New(rand.NewPCG(seed, 0)), kinds: kinds, keys: keys}
}

// Dict returns a dictionary, of one of the two kinds if OrderedDict is among the
// generator's.
func (g *Generator) Dict() *dict.Dict {
	v := g.dict(0)
	d, _ := v.Dict()
	if slices.Contains(g.kinds, dict.KindOrderedDict) && g.IntN(8) == 0 {
		return d.Ordered()
	}
	return d
}

func (g *Generator) dict(depth int) dict.Value {
	d := new(dict.Dict)
	for range g.count() {
		if err := d.SetKey(g.key(depth+1), g.value(depth+1)); err != nil {
			panic(err)
		}
	}
	return d.Value()
}

// count returns how many items a container has: few, and now and then many.
func (g *Generator) count() int {
	if g.IntN(20) == 0 {
		return g.IntN(80)
	}
	return g.IntN(6)
}

// value returns a value of one of the kinds; below some depth a scalar.
func (g *Generator) value(depth int) dict.Value {
	for {
		k := g.kinds[g.IntN(len(g.kinds))]
		if k >= dict.KindList && (depth > 4 || g.IntN(3) > 0 && depth > 1) {
			if !slices.ContainsFunc(g.kinds, func(k dict.Kind) bool { return k < dict.KindList }) {
				return dict.Null()
			}
			continue
		}
		if v := g.of(k, depth, g.value); g.holds(v) {
			return v
		}
	}
}

// key returns a hashable value of one of the kinds of keys, most often a string.
func (g *Generator) key(depth int) dict.Value {
	for {
		k := g.keys[g.IntN(len(g.keys))]
		if slices.Contains(g.keys, dict.KindString) && g.IntN(2) == 0 {
			k = dict.KindString
		}
		if k >= dict.KindList && depth > 3 {
			continue
		}
		if v := g.of(k, depth, g.key); g.holds(v) && dict.Hashable(v) == nil {
			return v
		}
	}
}

func (g *Generator) holds(v dict.Value) bool {
	return g.Holds == nil || v.Kind().IsContainer() && v.Kind() != dict.KindTagged || g.Holds(v)
}

// of returns a value of kind k whose items are made by the given function.
func (g *Generator) of(k dict.Kind, depth int, item func(depth int) dict.Value) dict.Value {
	items := func() []dict.Value {
		items := make([]dict.Value, g.count())
		for i := range items {
			items[i] = item(depth + 1)
		}
		return items
	}
	var v dict.Value
	switch k {
	case dict.KindList:
		return dict.List(items()...)
	case dict.KindTuple:
		return dict.Tuple(items()...)
	case dict.KindSet:
		item = g.key
		v, _ = dict.SetOf(items()...)
	case dict.KindFrozenSet:
		item = g.key
		v, _ = dict.FrozenSet(items()...)
	case dict.KindDict:
		return g.dict(depth)
	case dict.KindOrderedDict:
		d, _ := g.dict(depth).Dict()
		return d.Ordered().Value()
	case dict.KindTagged:
		return g.tagged(item(depth + 1))
	default:
		v = g.Of(k)
	}
	return v
}

// Of returns a value of kind k: a scalar, or an empty container.
func (g *Generator) Of(k dict.Kind) (v dict.Value) {
	switch k {
	case dict.KindBool:
		return dict.Bool(g.IntN(2) == 0)
	case dict.KindInt:
		return g.int()
	case dict.KindFloat:
		return dict.Float(g.float())
	case dict.KindComplex:
		return dict.Complex(complex(g.float(), g.float()))
	case dict.KindDecimal:
		return g.decimal()
	case dict.KindString:
		return dict.String(g.text())
	case dict.KindBytes:
		return dict.Bytes(g.bytes())
	case dict.KindByteArray:
		return dict.ByteArray(g.bytes())
	case dict.KindUUID:
		var u [16]byte
		copy(u[:], g.bytes())
		return dict.UUID(u)
	case dict.KindDateTime, dict.KindDate, dict.KindTime, dict.KindTimeDelta:
		return g.time(k)
	case dict.KindList:
		return dict.List()
	case dict.KindTuple:
		return dict.Tuple()
	case dict.KindSet:
		v, _ = dict.SetOf()
	case dict.KindFrozenSet:
		v, _ = dict.FrozenSet()
	case dict.KindDict:
		return new(dict.Dict).Value()
	case dict.KindOrderedDict:
		return new(dict.Dict).Ordered().Value()
	case dict.KindTagged:
		return g.tagged(dict.Null())
	case dict.KindNull: // as v is
	}
	return v
}

// tagged returns a tagged value of one of the spaces. v is the content of a CBOR tag.
func (g *Generator) tagged(v dict.Value) dict.Value {
	switch g.IntN(4) {
	case 0:
		simple := []int64{0, 19, dict.CBORUndefined, dict.CBORUndefined, 32, 99, 255}
		return dict.Tagged(dict.CBORSimple, dict.Int(simple[g.IntN(len(simple))]), dict.Null())
	case 1:
		return dict.Tagged(dict.MessagePackExt, dict.Int(int64(g.IntN(256)-128)), dict.Bytes(g.bytes()))
	default:
		// Tags that no kind uses.
		tags := []uint64{6, 21, 70, 255, 4000, 65535, 65536, 1 << 32, 1 << 63, math.MaxUint64}
		return dict.Tagged(dict.CBORTag, dict.BigInt(new(big.Int).SetUint64(tags[g.IntN(len(tags))])), v)
	}
}

func (g *Generator) int() dict.Value {
	switch g.IntN(4) {
	case 0:
		return dict.Int(int64(g.IntN(600) - 300))
	case 1:
		return dict.Int(int64(g.Uint64()) >> g.IntN(64))
	case 2:
		edge := new(big.Int).Lsh(big.NewInt(1), uint(g.IntN(130)))
		edge.Add(edge, big.NewInt(int64(g.IntN(3)-1)))
		if g.IntN(2) == 0 {
			edge.Neg(edge)
		}
		return dict.BigInt(edge)
	default:
		i, _ := new(big.Int).SetString(strconv.Itoa(1+g.IntN(9))+strings.Repeat("7", g.IntN(200)), 10)
		return dict.BigInt(i)
	}
}

func (g *Generator) float() float64 {
	switch g.IntN(4) {
	case 0:
		return math.Float64frombits(g.Uint64())
	case 1:
		edges := []float64{
			0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64,
			math.SmallestNonzeroFloat64, 1e15, 1e16, 1e17, 1e-4, 1e-5, 1 << 53, 1<<63 - 1,
		}
		return edges[g.IntN(len(edges))]
	case 2:
		return float64(int64(g.Uint64()) >> g.IntN(64))
	default:
		return math.Round(g.NormFloat64()*1e5) / 1e3
	}
}

func (g *Generator) decimal() dict.Value {
	odd := []string{
		"NaN", "-NaN", "NaN123", "sNaN", "-sNaN9", "Infinity", "-Infinity", "0", "-0", "0E+5", "-0.00", "0E-30",
		"1E+999999999999999999", "-9.99E+999999999999999999", "1E-1999999999999999997", "1", "1.0", "1.00", "1E+2", "0.5", "1E-7",
	}
	text := odd[g.IntN(len(odd))]
	if g.IntN(2) == 0 {
		digits := []byte(strconv.FormatInt(1+int64(g.Uint64()>>1)>>g.IntN(63), 10) + strings.Repeat("7", max(0, g.IntN(60)-40)))
		text = fmt.Sprintf("%s%sE%d", pick(g, "", "-"), digits, g.IntN(60)-40)
	}
	v, err := dict.Decimal(text)
	if err != nil {
		panic(err)
	}
	return v
}

func pick[T any](g *Generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *Generator) bytes() []byte {
	b := make([]byte, pick(g, 0, 1, 2, 4, 8, 16, g.IntN(40), g.IntN(400)))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// time returns a datetime, date, time or timedelta.
func (g *Generator) time(k dict.Kind) dict.Value {
	day := dict.Date{Year: pick(g, 1, 9999, 1969, 1970, 2000, 2024, 1+g.IntN(9999)), Month: 1 + g.IntN(12), Day: 1 + g.IntN(28)}
	clock := dict.TimeOfDay{
		Hour: g.IntN(24), Minute: g.IntN(60), Second: pick(g, 0, g.IntN(60)),
		Microsecond: pick(g, 0, 1, 100_000, 999_999, g.IntN(1_000_000)), Nanosecond: pick(g, 0, 0, 0, 0, 1, 999, g.IntN(1000)),
		Fold: g.IntN(5) == 0, Zone: g.zone(),
	}
	var v dict.Value
	var err error
	switch k {
	case dict.KindDateTime:
		v, err = dict.DateTime{Date: day, TimeOfDay: clock}.Value()
	case dict.KindDate:
		v, err = day.Value()
	case dict.KindTime:
		v, err = clock.Value()
	default:
		v, err = dict.TimeDelta{
			Days: pick(g, 0, 0, -1, 1, 999_999_999, -999_999_999, g.IntN(1000)), Seconds: pick(g, 0, g.IntN(86_400)),
			Microseconds: pick(g, 0, 1, 500_000, g.IntN(1_000_000)), Nanoseconds: pick(g, 0, 0, 0, 1, 999),
		}.Value()
	}
	if err != nil {
		panic(err)
	}
	return v
}

func (g *Generator) zone() dict.Zone {
	minutes := time.Duration(g.IntN(2879)-1439) * time.Minute
	switch g.IntN(7) {
	case 0:
		return dict.Zone{}
	case 1:
		return dict.UTC()
	case 2, 3:
		return dict.FixedZone(minutes)
	case 4:
		return dict.FixedZone(minutes + time.Duration(g.IntN(60_000_000)-30_000_000)*time.Microsecond)
	case 5:
		return dict.NamedFixedZone(minutes, pick(g, "", "CET", "é'", g.text()))
	default:
		return dict.KeyZone(pick(g, "Europe/Paris", "America/New_York", "Asia/Kolkata", "UTC"))
	}
}

// text returns text with all that formats stumble over.
func (g *Generator) text() string {
	var b []byte
	n := g.IntN(10)
	if g.IntN(20) == 0 {
		n = g.IntN(400)
	}
	for range n {
		switch g.IntN(8) {
		case 0:
			const odd = "\"'\\/\x00\x1f\n\r\t\b\f\x7f\u0080\u00a0\u2028\u2029\ufeff\ufffd\uffff"
			runes := []rune(odd)
			b = append(b, string(runes[g.IntN(len(runes))])...)
		case 1:
			b = append(b, string(rune(g.IntN(0xD800)))...)
		case 2:
			b = append(b, string(rune(0x10000+g.IntN(0x100000)))...)
		case 3:
			b = dict.AppendSurrogate(b, rune(0xD800+g.IntN(0x800)))
			if g.IntN(4) == 0 { // now and then a pair, as two code points
				b = dict.AppendSurrogate(dict.AppendSurrogate(b, 0xD83D), 0xDE00)
			}
		default:
			b = append(b, byte('a'+g.IntN(26)))
		}
	}
	return string(b)
}

// mutate returns b, damaged in a few places.
func (g *Generator) mutate(b []byte) []byte {
	b = slices.Clone(b)
	for range g.IntN(3) {
		if len(b) == 0 {
			break
		}
		i := g.IntN(len(b))
		switch g.IntN(6) {
		case 0:
			b[i] = byte(g.Uint32())
		case 1:
			b[i] ^= 1 << g.IntN(8)
		case 2:
			b = slices.Delete(b, i, min(i+1+g.IntN(4), len(b)))
		case 3:
			b = slices.Insert(b, i, byte(g.Uint32()))
		case 4:
			j := min(i+1+g.IntN(12), len(b))
			b = slices.Insert(b, g.IntN(len(b)), slices.Clone(b[i:j])...)
		default:
			b = b[:i]
		}
	}
	return b
}

// cut cuts b into random pieces.
func (g *Generator) cut(b []byte) [][]byte {
	var pieces [][]byte
	for len(b) > 0 {
		n := 1 + g.IntN(min(len(b), 1+g.IntN(40)))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}
