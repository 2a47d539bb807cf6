package cbor

import (
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/half"
	"github.com/dictwire/dictwire/dict"
)

// buildInt adds arg, or if minus is set -1 - arg.
func buildInt(b *dict.Builder, arg uint64, minus bool) {
	switch {
	case arg > math.MaxInt64 && minus:
		own := append(b.Own(), '-')
		if arg == math.MaxUint64 {
			b.OwnInt(append(own, "18446744073709551616"...))
			return
		}
		b.OwnInt(strconv.AppendUint(own, arg+1, 10))
	case arg > math.MaxInt64:
		b.OwnInt(strconv.AppendUint(b.Own(), arg, 10))
	case minus:
		b.Int(-1 - int64(arg))
	default:
		b.Int(int64(arg))
	}
}

// simple reads the rest of a simple value or float whose head, at i, ends at k.
func (p *parser) simple(buf []byte, i, k int, arg uint64) int {
	if k == i+2 && arg < 32 {
		return p.Unexpected(buf, i, "a simple value in its short form")
	}
	if p.B != nil {
		buildSimple(p.B, buf[i], arg)
	}
	return k
}

// buildSimple adds the simple value or float whose head begins with c.
func buildSimple(b *dict.Builder, c byte, arg uint64) {
	if v, ok := float(c, arg); ok {
		b.Float(v)
		return
	}
	switch arg {
	case simpleFalse, simpleTrue:
		b.Bool(arg == simpleTrue)
	case simpleNull:
		b.Null()
	default:
		at := b.OpenTagged(dict.CBORSimple)
		b.Int(int64(arg))
		b.Null()
		b.Close(at, 2)
	}
}

const (
	simpleFalse = 20 + iota
	simpleTrue
	simpleNull
)

// float returns the float whose head begins with c, if it is one.
func float(c byte, bits uint64) (float64, bool) {
	switch c {
	case simple<<5 | 25:
		return half.Float64(uint16(bits)), true
	case simple<<5 | 26:
		return float64(math.Float32frombits(uint32(bits))), true
	case simple<<5 | 27:
		return math.Float64frombits(bits), true
	default:
		return 0, false
	}
}
