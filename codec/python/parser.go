package python

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A parser reads one dictionary. It can stop at the end of the bytes that have arrived, and
// continue there when more have. The scanner and Decode are the same parser: the scanner
// discards what was built.
//
// A token is read in two steps: first its end is searched, byte by byte as they arrive, and
// then it is read as a whole. A call of a constructor with only plain arguments is one
// token.
type parser struct {
	lim codec.Limits // effective
	b   dict.Builder

	// The state of the parser in the record. Offsets count from its first byte.
	state state
	pos   int // everything before it has been read
	tok   int // where the token in hand begins
	items int
	depth int

	frames []frame
	keys   keyset.Set
	err    *codec.SyntaxError

	word  word    // the name in hand
	str   literal // the string in hand
	nest  nesting // the call in hand
	num   operand // the value that was read last, if it is a number
	text  []byte  // the current string, if it is not in the record as it is
	zones zoneCache

	digits []byte // scratch for numbers
}

// A state is what the parser reads next.
type state uint8

const (
	atStart state = iota
	atValue
	inNumber
	inName
	atCall // after a name
	inCall
	inString
	afterString
	afterValue
)

// An operand says how a number was written, which decides what may be done with
// it.
type operand uint8

const (
	notNumber    operand = iota
	unsigned             // 2, (2), 2j
	signed               // -2
	negativeZero         // -0: an int, and as a part of a complex number -0.0
)

// reset makes p ready for the next record.
func (p *parser) reset() {
	p.state, p.pos, p.items, p.depth = atStart, 0, 0, 0
	p.frames = p.frames[:0]
	p.keys.Reset()
	p.b.Reset(nil)
	p.err = nil
}

// What run returns other than the end of a dictionary.
const (
	incomplete = -1
	failed     = -2 // p.err says why
)

// run continues in buf, which begins with the record's first byte, and returns where the
// record ends, incomplete or failed.
func (p *parser) run(buf []byte) int {
	p.b.Extend(buf)
	i := p.pos
	for {
		var next int
		switch p.state {
		case atStart:
			next = p.start(buf, i)
		case atValue:
			next = p.value(buf, i)
		case inNumber:
			next = p.number(buf, i)
		case inName:
			next = p.name(buf, i)
		case atCall:
			next = p.callOf(buf, i)
		case inCall:
			next = p.plainCall(buf, i)
		case inString:
			next = p.string(buf, i)
		case afterString:
			next = p.concatenated(buf, i)
		default:
			next = p.after(buf, i)
		}
		if next < 0 {
			return next
		}
		if i = next; len(p.frames) == 0 && p.state == afterValue {
			if i > p.lim.RecordBytes {
				return p.fail(fault.TooLarge, p.lim.RecordBytes, wording.Bytes(p.lim.RecordBytes))
			}
			return i
		}
	}
}

// stop records where to continue when more bytes have arrived.
func (p *parser) stop(i int) int {
	if p.pos = i; i >= p.lim.RecordBytes {
		return p.fail(fault.TooLarge, p.lim.RecordBytes, wording.Bytes(p.lim.RecordBytes))
	}
	return incomplete
}

// start reads the beginning of a record.
func (p *parser) start(buf []byte, i int) int {
	switch {
	case i == len(buf):
		return p.stop(i)
	case buf[i] == '{':
		if p.open(i, isDict, dict.KindDict) == nil {
			return failed
		}
		p.state = atValue
		return i + 1
	case buf[i] == 'O':
		p.tok, p.state = i, inName
		return i
	default:
		return p.notADictionary(buf, i)
	}
}

// value reads the beginning of a value, or the end of a container that may end
// here.
func (p *parser) value(buf []byte, i int) int {
	i = p.space(buf, i)
	if i < 0 || i == len(buf) {
		return p.pause(buf, i)
	}
	f := p.top()
	c := buf[i]
	if !f.begun && f.closes(c) && (f.kind != isSet || f.n > 0) {
		return p.closed(i)
	}
	if f.kind == isPairs && c != '(' || f.kind == isFrozen && c != '{' || f.kind == isOrdered && c != '{' && c != '[' {
		return p.unexpected(buf, i, f.wants())
	}
	f.item = p.b.Len()
	switch {
	case f.kind >= isSign && c != '(' && !isDigit(c) && c != '.' && c|0x20 != 'n' && c|0x20 != 'i':
		return p.unexpected(buf, i, "a number without a sign")
	case c == '\'' || c == '"':
		return p.openString(i)
	case isDigit(c) || c == '.':
		p.tok, p.state = i, inNumber
		return i
	case c == '[' && f.kind == isOrdered:
		return p.opened(i, isPairs, dict.KindOrderedDict)
	case c == '[':
		return p.opened(i, isList, dict.KindList)
	case c == '(' && f.kind == isPairs:
		p.push(frame{kind: isPair})
		return i + 1
	case c == '(':
		return p.opened(i, isTuple, dict.KindTuple)
	case c == '{' && f.kind == isOrdered:
		return p.opened(i, isDict, dict.KindOrderedDict)
	case c == '{' && f.kind == isFrozen:
		return p.opened(i, isSet, dict.KindFrozenSet)
	case c == '{':
		return p.opened(i, isBrace, dict.KindDict)
	case c == '-' || c == '+':
		p.push(frame{kind: isSign, minus: c == '-'})
		return i + 1
	case isLetter(c):
		p.tok, p.state = i, inName
		return i
	default:
		return p.unexpected(buf, i, f.wants())
	}
}

// built continues after a value that ends at i.
func (p *parser) built(i int, num operand) int {
	p.state, p.num = afterValue, num
	return i
}

// after reads what follows a value.
func (p *parser) after(buf []byte, i int) int {
	for f := p.top(); f.kind >= isSign; f = p.top() {
		if !p.operate(f) {
			return p.unexpected(buf, i, "numbers beside the operator, as in 1+2j")
		}
		p.pop()
	}
	i = p.space(buf, i)
	if i < 0 || i == len(buf) {
		return p.pause(buf, i)
	}
	f := p.top()
	switch c := buf[i]; {
	case (c == '+' || c == '-') && p.num != notNumber && p.b.At(f.item).Kind() != dict.KindComplex:
		p.push(frame{kind: isSum, minus: c == '-', place: f.item, left: p.num})
		p.state = atValue
		return i + 1
	case c == ':' && !f.begun && (f.kind == isBrace && f.n == 0 || f.kind == isDict):
		f.kind = isDict
		return p.key(buf, i, f)
	case c == ',' && f.kind == isPair && f.n == 0:
		f.n++ // the key is the pair's first item, and a key of the list
		return p.key(buf, i, f)
	case c == ',' && f.kind == isTag && f.n == 0:
		if !p.isTagNumber(p.b.At(f.item)) {
			return p.unexpected(buf, i, "the number of the tag before it")
		}
		f.n, p.state = 1, atValue
		return i + 1
	case c == ',' && f.endsItem():
		if !p.item(buf, i, f) {
			return failed
		}
		p.state = atValue
		return i + 1
	case f.closes(c) && f.endsItem(), c == ')' && (f.kind == isTag && f.n == 1 || f.kind == isFrozen || f.kind == isOrdered):
		if f.kind == isTuple && f.n == 0 { // parentheses around one value
			p.b.Unwrap(f.place)
			p.pop()
			p.depth--
			return p.built(i+1, p.num)
		}
		if f.kind <= isPair && !p.item(buf, i, f) {
			return failed
		}
		return p.closed(i)
	default:
		return p.unexpected(buf, i, f.wantsBehind())
	}
}

// isTagNumber reports whether v is an int of 64 bits without a sign.
func (p *parser) isTagNumber(v dict.Value) bool {
	if n, ok := v.Int(); ok {
		return n >= 0
	}
	const most = "18446744073709551615"
	p.digits = v.AppendInt(p.digits[:0])
	n := len(p.digits)
	return n > 0 && p.digits[0] != '-' && (n < len(most) || n == len(most) && string(p.digits) <= most)
}

// pause stops at i, or at what space has said.
func (p *parser) pause(buf []byte, i int) int {
	if i == failed {
		return failed
	}
	if i == incomplete { // a backslash is the last byte
		i = len(buf) - 1
	}
	return p.stop(i)
}

// space returns where the white space that begins at i ends, failed, or
// incomplete for a backslash at the end.
func (p *parser) space(buf []byte, i int) int {
	for ; i < len(buf); i++ {
		switch buf[i] {
		case ' ', '\t', '\f', '\n', '\r':
		case '\\':
			if i+1 == len(buf) {
				return incomplete
			}
			if buf[i+1] != '\n' && buf[i+1] != '\r' {
				return p.unexpected(buf, i+1, "a line feed after the backslash")
			}
		default:
			return i
		}
	}
	return i
}

// blanks returns how many bytes of white space buf begins with.
func blanks(buf []byte) int {
	for i, c := range buf {
		switch c {
		case ' ', '\t', '\f', '\n', '\r':
		default:
			return i
		}
	}
	return len(buf)
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }
