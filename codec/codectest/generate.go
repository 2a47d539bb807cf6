package codectest

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/dict"
)

// A Generator makes dictionaries of given kinds, with a taste for extremes.
type Generator struct {
	*rand.Rand
	kinds, keys []dict.Kind
}

// NewGenerator returns a generator that makes the same for the same seed.
func NewGenerator(seed uint64, kinds, keys []dict.Kind) *Generator {
	return &Generator{rand.New(rand.NewPCG(seed, 0)), kinds, keys}
}

// Dict returns a dictionary.
func (g *Generator) Dict() *dict.Dict {
	d, _ := g.dict(0).Dict()
	return d
}

func (g *Generator) dict(depth int) dict.Value {
	d := new(dict.Dict)
	for range g.count() {
		if err := d.SetKey(g.value(g.keys, 100), g.value(g.kinds, depth+1)); err != nil {
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
func (g *Generator) value(kinds []dict.Kind, depth int) dict.Value {
	for {
		k := kinds[g.IntN(len(kinds))]
		if k >= dict.KindList && (depth > 4 || g.IntN(3) > 0 && depth > 1) {
			if !slices.ContainsFunc(kinds, func(k dict.Kind) bool { return k < dict.KindList }) {
				return dict.Null()
			}
			continue
		}
		switch k {
		case dict.KindList:
			items := make([]dict.Value, g.count())
			for i := range items {
				items[i] = g.value(g.kinds, depth+1)
			}
			return dict.List(items...)
		case dict.KindDict:
			return g.dict(depth)
		default:
			v, _ := g.Of(k)
			return v
		}
	}
}

// Of returns a value of kind k: a scalar, or an empty container. ok is false for
// a kind that can't be made.
func (g *Generator) Of(k dict.Kind) (v dict.Value, ok bool) {
	switch k {
	case dict.KindNull:
		return dict.Null(), true
	case dict.KindBool:
		return dict.Bool(g.IntN(2) == 0), true
	case dict.KindInt:
		return g.int(), true
	case dict.KindFloat:
		return dict.Float(g.float()), true
	case dict.KindString:
		return dict.String(g.text()), true
	case dict.KindList:
		return dict.List(), true
	case dict.KindDict:
		return new(dict.Dict).Value(), true
	default:
		return dict.Value{}, false
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
			// A lone surrogate: never the second half of a pair.
			b = append(dict.AppendSurrogate(b, rune(0xDC00+g.IntN(0x400))), 'x')
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
