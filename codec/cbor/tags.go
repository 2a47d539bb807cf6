package cbor

import (
	"math"
	"math/big"
	"math/bits"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// tag reads what the tag at i, whose head ends at k, stands in front of: a scalar
// whole, or the head of a container, whose frame it opens. It returns where that
// ends, incomplete or failed.
func (p *parser) tag(buf []byte, i, k int, number uint64) int {
	switch number {
	case tagDateTime, tagDate:
		return p.stringTagged(buf, i, k, number, textString)
	case tagBignum, tagNegBignum, tagUUID, tagWTF8:
		return p.stringTagged(buf, i, k, number, byteString)
	case tagEpoch, tagDays:
		a, end := p.arg(buf, i, k)
		if end < 0 {
			return end
		}
		return p.added(buf, i, end, p.moment(number, &a))
	case tagDecimal, tagComplex:
		n, end := p.argList(buf, i, k, array)
		if end < 0 {
			return end
		}
		if number == tagComplex {
			return p.added(buf, i, end, p.complex(p.args[:n]))
		}
		return p.added(buf, i, end, p.decimal(p.args[:n]))
	case tagDuration:
		n, end := p.argList(buf, i, k, mapping)
		if end < 0 {
			return end
		}
		return p.added(buf, i, end, p.duration(p.args[:n]))
	case tagSet:
		return p.container(buf, i, k, dict.KindSet)
	case tagObject:
		return p.object(buf, i, k)
	case tagStringRef, tagStringRefs:
		return p.refused(buf, i, number, "string references", "string_referencing")
	case tagShareable, tagSharedRef:
		return p.refused(buf, i, number, "shared values", "value_sharing")
	default:
		return p.unknownTag(buf, i, k, number)
	}
}

// unknownTag opens the frame of a tag that has no kind here.
func (p *parser) unknownTag(buf []byte, i, k int, number uint64) int {
	f := p.Open(buf, i, k, dict.KindTagged, 1, false)
	if f == nil {
		return walk.Failed
	}
	f.Total = 2
	if p.B != nil {
		p.buildInt(number, false)
	}
	return k
}

// container opens the container of the given kind whose own head stands at k,
// behind what begins at i.
func (p *parser) container(buf []byte, i, k int, kind dict.Kind) int {
	if k >= len(buf) {
		return p.Stop(buf, i, k+1)
	}
	major, what := byte(array), "a list"
	if kind.IsDict() {
		major, what = mapping, "a map"
	}
	if buf[k]>>5 != major {
		return p.Unexpected(buf, k, what)
	}
	end, count := p.argumentOf(buf, i, k)
	if end < 0 {
		return end
	}
	if p.Open(buf, i, end, kind, count, buf[k]&31 == indefinite) == nil {
		return walk.Failed
	}
	return end
}

// argumentOf is argument for the head at k, where what can't be stopped within begins
// at i.
func (p *parser) argumentOf(buf []byte, i, k int) (end int, arg uint64) {
	if end, arg = p.argument(buf, k); end == walk.Incomplete {
		p.Pos = i
	}
	return end, arg
}

// object reads the generic object at i, behind whose tag k stands.
func (p *parser) object(buf []byte, i, k int) int {
	if k >= len(buf) {
		return p.Stop(buf, i, k+1)
	}
	if buf[k]>>5 != array {
		return p.unknownTag(buf, i, k, tagObject)
	}
	at, count := p.argumentOf(buf, i, k)
	if at < 0 {
		return at
	}
	if at >= len(buf) && count > 0 {
		return p.Stop(buf, i, at+1)
	}
	if count == 0 || buf[at]>>5 != textString {
		return p.unknownTag(buf, i, k, tagObject)
	}
	if buf[at]&31 == indefinite {
		return p.Unexpected(buf, at, "an object's name of definite length")
	}
	from, size := p.argumentOf(buf, i, at)
	if from < 0 {
		return from
	}
	if size > maxName {
		return p.unknownTag(buf, i, k, tagObject)
	}
	end := from + int(size)
	if end > len(buf) {
		return p.Stop(buf, i, end)
	}
	name := buf[from:end]
	var kind dict.Kind
	switch string(name) {
	case objTuple:
		kind = dict.KindTuple
	case objFrozenSet:
		kind = dict.KindFrozenSet
	case objOrderedDict:
		kind = dict.KindOrderedDict
	default:
		if !isObject(name) {
			return p.unknownTag(buf, i, k, tagObject)
		}
		n, last := p.argList(buf, i, k, array)
		if last < 0 {
			return last
		}
		return p.added(buf, i, last, p.objectValue(name, p.args[1:n]))
	}
	if count != 2 {
		return p.Fail(buf, codec.Malformed, k, "want a list of the name "+string(name)+" and one argument, of definite length")
	}
	return p.container(buf, i, end, kind)
}

const maxName = 32 // longer names are not known

// added returns end if the value behind the tag at i was one, and has been added.
// Else problem says what was expected.
func (p *parser) added(buf []byte, i, end int, problem string) int {
	switch problem {
	case "":
		return end
	case tooManyDigits:
		return p.TooManyDigits(buf, i)
	default:
		return p.Fail(buf, codec.Malformed, i, "want "+problem)
	}
}

// tooManyDigits is the problem of an integer over Limits.Digits.
const tooManyDigits = "\x00digits"

// stringTagged reads the string behind the tag at i, whose head ends at k.
func (p *parser) stringTagged(buf []byte, i, k int, number uint64, major byte) int {
	if k >= len(buf) {
		return p.Stop(buf, i, k+1)
	}
	if buf[k]>>5 != major {
		what := "a string"
		if major == byteString {
			what = "bytes"
		}
		return p.Unexpected(buf, k, what)
	}
	from, size := p.argumentOf(buf, i, k)
	if from < 0 {
		return from
	}
	if size > uint64(len(buf)-from) {
		if buf[k]&31 == indefinite {
			p.beginChunks(major, number, i)
			return from
		}
		return p.Short(buf, i, from, size)
	}
	end := from + int(size)
	if major == textString && !utf8.Valid(buf[from:end]) {
		return p.BadUTF8(buf, from, end)
	}
	if !p.stringTag(buf, i, number, buf[from:end]) {
		return walk.Failed
	}
	return end
}

// stringTag takes in the string behind the tag at i.
func (p *parser) stringTag(buf []byte, i int, number uint64, content []byte) bool {
	var problem string
	switch number {
	case tagDateTime:
		problem = p.dateTime(content)
	case tagDate:
		problem = p.date(content)
	case tagUUID:
		if len(content) != 16 {
			problem = "16 bytes of a UUID"
		} else if p.B != nil {
			p.B.OwnRef(dict.KindUUID, append(p.B.Own(), content...))
		}
	case tagWTF8:
		problem = p.wtf8(content)
	default:
		problem = p.bignum(content, number == tagNegBignum)
	}
	return p.added(buf, i, 0, problem) >= 0
}

// wtf8 takes in a string that may hold lone surrogates.
func (p *parser) wtf8(content []byte) string {
	surrogates, ok := isWTF8(content)
	if !ok {
		return "WTF-8, without pairs of surrogates"
	}
	if p.B != nil {
		p.B.OwnText(append(p.B.Own(), content...), surrogates)
	}
	return ""
}

// isWTF8 reports whether text is UTF-8 with surrogates that are no pairs, and
// whether it has any.
func isWTF8(text []byte) (surrogates, ok bool) {
	high := false // the last character was a high surrogate
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r != utf8.RuneError || size > 1 {
			high = false
			text = text[size:]
			continue
		}
		if len(text) < 3 || text[0] != 0xED || text[1] < 0xA0 || text[1] > 0xBF || text[2] < 0x80 || text[2] > 0xBF {
			return surrogates, false
		}
		low := text[1] >= 0xB0
		if high && low {
			return surrogates, false
		}
		surrogates, high = true, !low
		text = text[3:]
	}
	return surrogates, true
}

// bignum takes in an integer of any size.
func (p *parser) bignum(content []byte, minus bool) string {
	if !p.digitsFit(content, minus) {
		return tooManyDigits
	}
	if p.B != nil {
		p.B.OwnInt(bigInt(content, minus).Append(p.B.Own(), 10))
	}
	return ""
}

func bigInt(content []byte, minus bool) *big.Int {
	v := new(big.Int).SetBytes(content)
	if minus {
		v.Not(v)
	}
	return v
}

// digitsFit reports whether an integer has no more digits than the limit.
func (p *parser) digitsFit(content []byte, minus bool) bool {
	for len(content) > 0 && content[0] == 0 {
		content = content[1:]
	}
	if len(content) == 0 {
		return true
	}
	n := 8*(len(content)-1) + bits.Len8(content[0])
	const log2 = 0.30102999566398119521
	switch {
	case float64(n)*log2+2 < float64(p.Lim.Digits):
		return true
	case float64(n-1)*log2 > float64(p.Lim.Digits)+1:
		return false
	default:
		v := bigInt(content, minus)
		return len(v.Abs(v).Append(nil, 10)) <= p.Lim.Digits
	}
}

// An arg is a scalar within a tagged value.
type arg struct {
	kind  dict.Kind // int, float, string, bytes, or null for any other
	minus bool
	n     uint64 // an int: n, or -1 - n
	big   []byte // an int of any size instead: the content of tag 2 or 3
	f     float64
	text  []byte
}

// maxArgs is one more than any tagged value has, the name included.
const maxArgs = 9

// arg reads the scalar at k, behind what begins at i. It returns where the scalar
// ends, incomplete or failed.
func (p *parser) arg(buf []byte, i, k int) (a arg, end int) {
	if k >= len(buf) {
		return a, p.Stop(buf, i, k+1)
	}
	c := buf[k]
	end, n := p.argumentOf(buf, i, k)
	if end < 0 {
		return a, end
	}
	switch major := c >> 5; major {
	case unsigned, negative:
		return arg{kind: dict.KindInt, n: n, minus: major == negative}, end
	case byteString, textString:
		text, end := p.argString(buf, i, k, end, n)
		a = arg{kind: dict.KindBytes, text: text}
		if end >= 0 && major == textString {
			if !utf8.Valid(text) {
				return a, p.BadUTF8(buf, end-len(text), end)
			}
			a.kind = dict.KindString
		}
		return a, end
	case tag:
		if n != tagBignum && n != tagNegBignum && n != tagWTF8 {
			return a, p.Unexpected(buf, k, "a number or a string")
		}
		if end >= len(buf) {
			return a, p.Stop(buf, i, end+1)
		}
		if buf[end]>>5 != byteString {
			return a, p.Unexpected(buf, end, "bytes")
		}
		head := end
		from, size := p.argumentOf(buf, i, head)
		if from < 0 {
			return a, from
		}
		text, end := p.argString(buf, i, head, from, size)
		if end < 0 {
			return a, end
		}
		if n != tagWTF8 {
			return arg{kind: dict.KindInt, big: text, minus: n == tagNegBignum}, end
		}
		if _, ok := isWTF8(text); !ok {
			return a, p.Fail(buf, codec.Malformed, k, "want WTF-8, without pairs of surrogates")
		}
		return arg{kind: dict.KindString, text: text}, end
	case simple:
		if f, ok := float(c, n); ok {
			return arg{kind: dict.KindFloat, f: f}, end
		}
	}
	return a, p.Unexpected(buf, k, "a number or a string")
}

// argString returns the string of the given size at from, whose head is at k.
func (p *parser) argString(buf []byte, i, k, from int, size uint64) (text []byte, end int) {
	if buf[k]&31 == indefinite {
		return nil, p.Unexpected(buf, k, "a string of definite length")
	}
	if size > uint64(len(buf)-from) {
		return nil, p.Short(buf, i, from, size)
	}
	end = from + int(size)
	return buf[from:end], end
}

// argList reads the list or map of scalars at k into p.args and returns how many
// they are, and where it ends, incomplete or failed.
func (p *parser) argList(buf []byte, i, k int, major byte) (n, end int) {
	if k >= len(buf) {
		return 0, p.Stop(buf, i, k+1)
	}
	c := buf[k]
	if c>>5 != major {
		what := "a list"
		if major == mapping {
			what = "a map"
		}
		return 0, p.Unexpected(buf, k, what)
	}
	end, count := p.argumentOf(buf, i, k)
	if end < 0 {
		return 0, end
	}
	if major == mapping && count < math.MaxInt32 {
		count *= 2
	}
	if c&31 != indefinite && count > maxArgs {
		return 0, p.Fail(buf, codec.Malformed, k, "want fewer items behind the tag")
	}
	for c&31 == indefinite || n < int(count) {
		if c&31 == indefinite {
			if end >= len(buf) {
				return 0, p.Stop(buf, i, end+1)
			}
			if buf[end] == brk && (major == array || n%2 == 0) {
				return n, end + 1
			}
			if n == maxArgs {
				return 0, p.Fail(buf, codec.Malformed, k, "want fewer items behind the tag")
			}
		}
		if p.args[n], end = p.arg(buf, i, end); end < 0 {
			return 0, end
		}
		n++
	}
	return n, end
}
