package msgpack

import (
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// usual is null, bools, numbers, and strings of up to 255 bytes.
var usual = func() *walk.Usual {
	u := &walk.Usual{Text: fixstr, Long: 32, Map: fixmap, List: fixarray, Few: 16, No: unused, Build: buildUsual}
	for i := range u.Size {
		switch c := byte(i); classOf(c) {
		case ofNull, ofBool, ofInt, ofFloat:
			u.Size[c] = uint8(headSize(c))
		case ofStr:
			switch {
			case c < null:
				u.Size[c] = walk.IsText | 1 + c&31
			case c == str8:
				u.Size[c] = walk.IsText
			}
		default: // not usual
		}
	}
	return u
}()

// buildUsual adds the null, bool or number at i.
func buildUsual(b *dict.Builder, buf []byte, i int) {
	c := buf[i]
	bits := number(buf[i+1 : i+headSize(c)])
	switch classOf(c) {
	case ofNull:
		b.Null()
	case ofBool:
		b.Bool(c == yes)
	case ofFloat:
		b.Float(floatOf(c, bits))
	default:
		if c == uint64s && bits > math.MaxInt64 {
			b.OwnInt(strconv.AppendUint(b.Own(), bits, 10))
			return
		}
		b.Int(intOf(c, bits))
	}
}
