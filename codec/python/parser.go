package python

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
)

// A parser reads one dictionary. It can stop at the end of the bytes that have
// arrived, and go on from there with more of them. The scanner and Decode are
// the same parser: the scanner forgets what was built.
//
// A token is read in two steps: first its end is looked for, byte after byte as
// they come, then it is read as a whole. A call of a constructor that takes
// only plain arguments is one token.
type parser struct {
	lim codec.Limits // effective
	b   dict.Builder

	// Where the parser stands in the record. Offsets count from its first byte.
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
	text  []byte  // the string in hand, where the record does not hold it as it is
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
	atCall // behind a name
	inCall
	inString
	behindString
	behindValue
)

// A frame is an open container, call or operation.
type frame struct {
	kind  frameKind
	begun bool // a dictionary's or pair's key was read, and its value was not
	minus bool // the operator
	n     uint32
	place int // what Builder.Close wants; the left operand
	item  int // where the item in hand begins
	key   int // where the last key begins
	left  operand
	keys  keyset.Frame
}

type frameKind uint8

const (
	isList frameKind = iota
	isTuple
	isBrace // a set or a dictionary
	isSet
	isDict
	isPairs // the list in OrderedDict([…])
	isPair  // one of its pairs
	isOrdered
	isFrozen
	isTag
	isSign // an operator in front of a number
	isSum  // an operator between two
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

// What run returns beside the end of a dictionary.
const (
	incomplete = -1
	failed     = -2 // p.err says why
)

// run reads on in buf, which begins with the record's first byte, and returns
// where the record ends, incomplete or failed.
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
		case behindString:
			next = p.concatenated(buf, i)
		default:
			next = p.behind(buf, i)
		}
		if next < 0 {
			return next
		}
		if i = next; len(p.frames) == 0 && p.state == behindValue {
			if i > p.lim.RecordBytes {
				return p.fail(codec.TooLarge, p.lim.RecordBytes, fault.Bytes(p.lim.RecordBytes))
			}
			return i
		}
	}
}

// stop remembers where to go on when more bytes have arrived.
func (p *parser) stop(i int) int {
	if p.pos = i; i >= p.lim.RecordBytes {
		return p.fail(codec.TooLarge, p.lim.RecordBytes, fault.Bytes(p.lim.RecordBytes))
	}
	return incomplete
}

// top returns the innermost frame.
func (p *parser) top() *frame { return &p.frames[len(p.frames)-1] }

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

// closes reports whether c is what ends f where no item is in hand.
func (f *frame) closes(c byte) bool {
	switch f.kind {
	case isList, isPairs:
		return c == ']'
	case isBrace, isDict, isSet:
		return c == '}'
	case isTuple, isOrdered, isFrozen:
		return c == ')'
	case isPair:
		return c == ')' && f.n > 0
	default:
		return false
	}
}

// opened opens a container in the place of a value.
func (p *parser) opened(i int, kind frameKind, k dict.Kind) int {
	if p.open(i, kind, k) == nil {
		return failed
	}
	p.state = atValue
	return i + 1
}

// open opens a container that begins at i. It returns nil where that is too deep.
func (p *parser) open(i int, kind frameKind, k dict.Kind) *frame {
	if p.depth++; p.depth > p.lim.Depth {
		p.fail(codec.TooDeep, i, fault.Levels(p.lim.Depth))
		return nil
	}
	f := p.push(frame{kind: kind, place: p.b.Open(k)})
	p.keys.Open(&f.keys)
	return f
}

func (p *parser) push(f frame) *frame {
	f.item = p.b.Len()
	p.frames = append(p.frames, f)
	return p.top()
}

func (p *parser) pop() { p.frames = p.frames[:len(p.frames)-1] }

// built goes on behind a value that ends at i.
func (p *parser) built(i int, num operand) int {
	p.state, p.num = behindValue, num
	return i
}

// behind reads what follows a value.
func (p *parser) behind(buf []byte, i int) int {
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

// endsItem reports whether an item of f may end behind the value that was read.
func (f *frame) endsItem() bool {
	switch f.kind {
	case isDict, isPair:
		return f.begun
	case isList, isTuple, isBrace, isSet, isPairs:
		return true
	default:
		return false
	}
}

// key ends the key of f, which a value follows.
func (p *parser) key(buf []byte, i int, f *frame) int {
	owner := f
	if f.kind == isPair {
		owner = &p.frames[len(p.frames)-2]
	}
	twice, ok := p.unique(buf, i, owner, f.item, "key")
	switch {
	case !ok:
		return failed
	case twice:
		return p.duplicate(f.item)
	}
	f.begun, f.key = true, f.item
	owner.n++
	p.state = atValue
	if !p.count(i) {
		return failed
	}
	return i + 1
}

// item ends an item of f.
func (p *parser) item(buf []byte, i int, f *frame) bool {
	switch f.kind {
	case isBrace, isSet:
		if f.kind == isBrace {
			f.kind = isSet
			p.b.SetKind(f.place, dict.KindSet)
		}
		twice, ok := p.unique(buf, i, f, f.item, "item of a set")
		if !ok {
			return false
		}
		if twice {
			p.b.Drop(f.item)
			return true
		}
		f.n++
	case isDict, isPair:
		f.begun = false
	case isPairs: // counted by its pairs
		return true
	default:
		f.n++
	}
	return p.count(i)
}

func (p *parser) count(i int) bool {
	if p.items++; p.items > p.lim.Items {
		p.fail(codec.OverLimit, i, fault.Items(p.lim.Items))
		return false
	}
	return true
}

// unique adds the value at the given place to the keys of f and reports whether
// it was there.
func (p *parser) unique(buf []byte, i int, f *frame, place int, what string) (twice, ok bool) {
	v := p.b.At(place)
	if text, ok := v.TextBytes(); ok {
		return p.keys.AddOwn(&f.keys, buf, append(p.keys.Own(), text...)), true
	}
	if err := dict.Hashable(v); err != nil {
		p.fail(codec.Malformed, i, "want a hashable "+what+", got a "+v.Kind().String())
		p.err.Hint = err.Error()
		return false, false
	}
	own, equalsItself := dict.AppendKey(p.keys.Own(), v)
	return equalsItself && p.keys.AddOther(&f.keys, buf, own), true
}

// closed ends the innermost frame, whose last byte is at i.
func (p *parser) closed(i int) int {
	f := *p.top()
	switch f.kind {
	case isPair:
		p.pop()
		p.state = behindValue
		p.num = notNumber
		return i + 1
	case isOrdered, isFrozen:
		k := dict.KindOrderedDict
		if f.kind == isFrozen {
			k = dict.KindFrozenSet
		}
		if p.b.Len() == f.item { // called without an argument
			p.b.Close(p.b.Open(k), 0)
		}
	default:
		n := int(f.n)
		if f.kind == isTag {
			n = 2
		}
		p.b.Close(f.place, n)
		p.keys.Close(&f.keys)
		p.depth--
	}
	p.pop()
	return p.built(i+1, notNumber)
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
