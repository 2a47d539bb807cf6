package cbor

import (
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// The tags that the codec knows.
const (
	tagDateTime   = 0    // RFC 8949 §3.4.1
	tagEpoch      = 1    // §3.4.2
	tagBignum     = 2    // §3.4.3
	tagNegBignum  = 3    // §3.4.3
	tagDecimal    = 4    // §3.4.4
	tagStringRef  = 25   // refused
	tagObject     = 27   // http://cbor.schmorp.de/generic-object
	tagShareable  = 28   // refused
	tagSharedRef  = 29   // refused
	tagUUID       = 37   // RFC 9562
	tagDays       = 100  // RFC 8943
	tagStringRefs = 256  // refused
	tagSet        = 258  // https://github.com/input-output-hk/cbor-sets-spec
	tagWTF8       = 273  // https://github.com/svaarala/cbor-specs
	tagDuration   = 1002 // RFC 9581 §4
	tagDate       = 1004 // RFC 8943
	tagComplex    = 43000
	selfDescribed = 55799 // RFC 8949 §3.4.6
)

// hasKind reports whether values with a tag are read as a kind other than tagged, or are
// refused.
func hasKind(tag uint64) bool {
	switch tag {
	case tagDateTime, tagEpoch, tagBignum, tagNegBignum, tagDecimal, tagStringRef, tagShareable, tagSharedRef,
		tagUUID, tagDays, tagStringRefs, tagSet, tagWTF8, tagDuration, tagDate, tagComplex:
		return true
	default:
		return false
	}
}

// tag reads the content of the tag at i, whose head ends at k: a whole scalar, or the head
// of a container, whose frame it opens. It returns where that ends, incomplete or failed.
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
		buildInt(p.B, number, false)
	}
	return k
}

// container opens a container of the given kind, whose own head is at k and which is a part
// of the item at i.
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

// The functions that build a tagged value from its parts return a problem: what was
// expected instead, or "".

// add builds v, unless err says that it is invalid: then it returns problem.
func (p *parser) add(v dict.Value, err error, problem string) string {
	if err != nil {
		return problem
	}
	if p.B != nil {
		p.B.Add(v)
	}
	return ""
}

// added returns end if the value of the tag at i has been built. Otherwise problem says
// what was expected.
func (p *parser) added(buf []byte, i, end int, problem string) int {
	switch problem {
	case "":
		return end
	case tooManyDigits:
		return p.TooManyDigits(buf, i)
	default:
		return p.Fail(buf, fault.Malformed, i, "want "+problem)
	}
}

// tooManyDigits is the problem of an integer over Limits.Digits.
const tooManyDigits = "\x00digits"

// stringTagged reads the string in the tag at i, whose head ends at k.
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

// stringTag builds the value of the tag at i from its string.
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

// wtf8 builds a string that may contain lone surrogates.
func (p *parser) wtf8(content []byte) string {
	surrogates, pairs, ok := scanSurrogates(content)
	if !ok || pairs {
		return wantWTF8
	}
	p.surrogateText(content, surrogates)
	return ""
}

// surrogatePass builds a string that may contain any surrogates.
func (p *parser) surrogatePass(content []byte) string {
	surrogates, _, ok := scanSurrogates(content)
	if !ok {
		return wantSurrogates
	}
	p.surrogateText(content, surrogates)
	return ""
}

func (p *parser) surrogateText(content []byte, surrogates bool) {
	if p.B != nil {
		p.B.OwnText(append(p.B.Own(), content...), surrogates)
	}
}

const (
	wantWTF8       = "WTF-8, in which a pair of surrogates is one character"
	wantSurrogates = "UTF-8 that may hold surrogates, as Python's \"surrogatepass\" writes them"
)

// scanSurrogates reports whether text is UTF-8 with or without surrogates, whether it has
// any, and whether a high one directly precedes a low one.
func scanSurrogates(text []byte) (surrogates, pairs, ok bool) {
	high := false // the last character was a high surrogate
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r != utf8.RuneError || size > 1 {
			high = false
			text = text[size:]
			continue
		}
		if len(text) < 3 || text[0] != 0xED || text[1] < 0xA0 || text[1] > 0xBF || text[2] < 0x80 || text[2] > 0xBF {
			return surrogates, pairs, false
		}
		low := text[1] >= 0xB0
		pairs = pairs || high && low
		surrogates, high = true, !low
		text = text[3:]
	}
	return surrogates, pairs, true
}
