package cbor

import (
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/half"
	"github.com/dictwire/dictwire/dict"
)

// buildInt adds arg, or if minus is set -1 - arg.
func (p *parser) buildInt(arg uint64, minus bool) {
	switch {
	case arg > math.MaxInt64 && minus:
		own := append(p.B.Own(), '-')
		if arg == math.MaxUint64 {
			p.B.OwnInt(append(own, "18446744073709551616"...))
			return
		}
		p.B.OwnInt(strconv.AppendUint(own, arg+1, 10))
	case arg > math.MaxInt64:
		p.B.OwnInt(strconv.AppendUint(p.B.Own(), arg, 10))
	case minus:
		p.B.Int(-1 - int64(arg))
	default:
		p.B.Int(int64(arg))
	}
}

// simple reads the rest of a simple value or float whose head, at i, ends at k.
func (p *parser) simple(buf []byte, i, k int, arg uint64) int {
	if v, ok := float(buf[i], arg); ok {
		if p.B != nil {
			p.B.Float(v)
		}
		return k
	}
	if k > i+1 && arg < 32 {
		return p.Unexpected(buf, i, "a simple value in its short form")
	}
	if p.B == nil {
		return k
	}
	switch arg {
	case simpleFalse, simpleTrue:
		p.B.Bool(arg == simpleTrue)
	case simpleNull:
		p.B.Null()
	default:
		at := p.B.OpenTagged(dict.CBORSimple)
		p.B.Int(int64(arg))
		p.B.Null()
		p.B.Close(at, 2)
	}
	return k
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
