package cbor

import (
	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// usual is integers, floats, bools, null, and strings of up to 255 bytes.
var usual = func() *walk.Usual {
	u := &walk.Usual{Text: textString << 5, Long: 24, Map: mapping << 5, List: array << 5, Few: 24, No: brk, Build: buildUsual}
	for c := range u.Size {
		switch major, info := c>>5, c&31; {
		case major == textString && info < 24:
			u.Size[c] = walk.IsText | uint8(1+info)
		case major == textString && info == 24:
			u.Size[c] = walk.IsText
		case major <= negative && info < 24, major == simple && info >= simpleFalse && info <= simpleNull:
			u.Size[c] = 1
		case (major <= negative || major == simple && info > 24) && info >= 24 && info < 28:
			u.Size[c] = uint8(1 + 1<<(info-24))
		}
	}
	return u
}()

func buildUsual(b *dict.Builder, buf []byte, i int) {
	_, arg, _ := readHead(buf, i)
	switch c := buf[i]; c >> 5 {
	case unsigned, negative:
		buildInt(b, arg, c>>5 == negative)
	default:
		buildSimple(b, c, arg)
	}
}
