package json

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/jsontext"
)

// A parser reads one dictionary. It can stop at the end of the bytes that have arrived, and
// continue there when more have. The scanner and Decode are the same parser: with a Builder
// it builds what it reads, without one it only checks.
type parser struct {
	lim      codec.Limits // effective
	keepLast bool
	b        *dict.Builder // nil: check only

	// The state of the parser in the record. Offsets count from its first byte.
	state  state
	pos    int  // everything before it has been read
	tok    int  // where the content of the token in hand begins
	escape bool // the string in hand has an escape
	high   bool // the string in hand has bytes from 0x80
	list   bool // the record is a list
	words  bool // the record has NaN or an infinity
	halves int  // of surrogate pairs in the record without the other one
	pair   int  // where the escape of a low half must be for the high one before it
	whole  int  // where the record ends, though it is not a dictionary
	items  int

	frames []frame // the open containers
	keys   keyset.Set
	shapes shape.Shapes
	err    *codec.SyntaxError
}

// A state is what the parser reads next.
type state uint8

const (
	atStart state = iota
	atKeyOrEnd
	atKey
	inKey
	atColon
	atItemOrEnd
	atValue
	inString
	inNumber
	atComma
)

// A frame is an open container.
type frame struct {
	isDict bool
	twice  bool   // a key came twice, and the last value is to be kept
	n      uint32 // items, or keys
	place  uint32 // what Builder.Close wants
	keys   keyset.Frame
}

// reset makes p ready for the next record.
func (p *parser) reset() {
	p.state, p.pos, p.items, p.list, p.whole = atStart, 0, 0, false, 0
	p.words, p.halves, p.pair = false, 0, 0
	p.frames = p.frames[:0]
	p.keys.Reset()
	p.err = nil
}

// What run returns other than the end of a dictionary.
const (
	incomplete = -1
	failed     = -2 // p.err says why
)

// run continues in buf, which begins with the record's first byte, and returns where the
// record ends, incomplete or failed. It is a state machine that can stop at any byte: each
// label is a state, and what a state does before it stops can be repeated.
func (p *parser) run(buf []byte) int {
	var (
		i = p.pos
		c byte
		f *frame

		plain bool
		quick = p.quick()
		s     = p.state
	)
	p.state = atValue // for faults that do not say where they are
	if n := len(p.frames); n > 0 {
		f = &p.frames[n-1]
	}

resume: // in the state s
	switch s {
	case atStart:
		goto start
	case atKeyOrEnd:
		goto keyOrEnd
	case atKey, inKey, atColon:
		goto key
	case atItemOrEnd:
		goto itemOrEnd
	case atValue:
		goto value
	case inString:
		goto text
	case inNumber:
		if i = p.restOfNumber(buf, i); i < 0 {
			return i
		}
		goto valueEnd
	default:
		goto comma
	}

start:
	if i == len(buf) {
		return p.stop(buf, atStart, i)
	}
	if buf[i] != '{' {
		if p.list {
			goto openList
		}
		return p.notADictionary(buf, i, false)
	}
	goto openDict

pairs:
	if i, s = p.pairs(buf, i, f); s == atComma {
		goto comma
	}
	goto resume

keyOrEnd:
	if i = p.space(buf, i); i < len(buf) && buf[i] == '}' {
		goto closeContainer
	}
	s = atKeyOrEnd

key:
	if i = p.key(buf, i, f, s); i < 0 {
		return i
	}
	goto value

itemOrEnd:
	if i = p.space(buf, i); i == len(buf) {
		return p.stop(buf, atItemOrEnd, i)
	}
	if buf[i] == ']' {
		goto closeContainer
	}

value:
	if i < len(buf) && buf[i] == ' ' {
		i++
	}
	if i = p.space(buf, i); i == len(buf) {
		return p.stop(buf, atValue, i)
	}
	switch c = buf[i]; {
	case c == '"':
		i++
		p.tok, p.escape, p.high = i, false, false
		if i, plain = plainText(buf, i); plain {
			goto textEnd
		}
		goto text
	case c-'0' <= 9 || c == '-':
		if i = p.number(buf, i); i < 0 {
			return i
		}
		goto valueEnd
	case c == '{':
		goto openDict
	case c == '[':
		goto openList
	}
	if i = p.literal(buf, i); i < 0 {
		return i
	}
	goto valueEnd

text:
	if i = p.text(buf, inString, i); i < 0 {
		return i
	}

textEnd:
	if p.b != nil {
		p.buildText(buf[p.tok:i], p.tok)
	}
	i++
	goto valueEnd

openDict:
	i++
	if f = p.open(buf, i, true); f == nil {
		return failed
	}
	if quick {
		goto pairs
	}
	goto keyOrEnd

openList:
	i++
	if f = p.open(buf, i, false); f == nil {
		return failed
	}
	goto itemOrEnd

closeContainer:
	i++
	if !p.close(buf, i, f) {
		return failed
	}
	if len(p.frames) == 0 {
		return i
	}
	f = &p.frames[len(p.frames)-1]

valueEnd:
	if !f.isDict {
		f.n++
	}

comma:
	if i < len(buf) && buf[i] == ',' {
		i++
		if !f.isDict {
			goto value
		}
		if quick {
			goto pairs
		}
		s = atKey
		goto key
	}
	if i = p.space(buf, i); i == len(buf) {
		return p.stop(buf, atComma, i)
	}
	switch c = buf[i]; {
	case c == ',':
		i++
		if f.isDict {
			s = atKey
			goto key
		}
		goto value
	case c == '}' && f.isDict, c == ']' && !f.isDict:
		goto closeContainer
	case f.isDict:
		return p.unexpected(buf, atComma, i, "',' or '}'")
	default:
		return p.unexpected(buf, atComma, i, "',' or ']'")
	}
}

// key reads a key of f and its colon, from the state s on, and returns where the value
// begins, incomplete or failed.
func (p *parser) key(buf []byte, i int, f *frame, s state) int {
	var plain bool
	if s == inKey {
		goto text
	}
	if s == atColon {
		goto colon
	}
	if i < len(buf) && buf[i] == ' ' { // as json.dumps writes it
		i++
	}
	if i = p.space(buf, i); i == len(buf) {
		return p.stop(buf, s, i)
	}
	if buf[i] != '"' {
		want := "a key in double quotes after ','"
		if s == atKeyOrEnd {
			want = "a key in double quotes or '}'"
		}
		return p.unexpected(buf, atKey, i, want)
	}
	i++
	p.tok, p.escape, p.high = i, false, false
	// The usual key is plain, and not seen in this dictionary.
	if i, plain = plainText(buf, i); plain && p.keys.AddNew(&f.keys, buf, p.tok, i) {
		goto end
	}

text:
	if i = p.text(buf, inKey, i); i < 0 {
		return i
	}
	if p.addKey(f, buf, i) {
		if !p.keepLast {
			return p.duplicate(buf, i)
		}
		f.twice = true
	}

end:
	f.n++
	if p.b != nil {
		p.buildText(buf[p.tok:i], p.tok)
	}
	i++

colon:
	if i = p.space(buf, i); i == len(buf) {
		return p.stop(buf, atColon, i)
	}
	if buf[i] != ':' {
		return p.unexpected(buf, atKey, i, "':' after the key")
	}
	return i + 1
}

// addKey adds the key that ends at end to f's and reports whether it was there.
func (p *parser) addKey(f *frame, buf []byte, end int) (twice bool) {
	if !p.escape {
		return p.keys.Add(&f.keys, buf, p.tok, end)
	}
	own, _ := jsontext.Unescape(p.keys.Own(), buf[p.tok:end])
	return p.keys.AddOwn(&f.keys, buf, own)
}

// stop records where to continue when more bytes have arrived.
//
//go:noinline
func (p *parser) stop(buf []byte, s state, i int) int {
	p.state, p.pos = s, i
	if i >= p.lim.RecordBytes {
		return p.tooLarge(buf)
	}
	return incomplete
}

// open begins a container whose first byte is before i. It returns nil if it is nested too
// deeply.
func (p *parser) open(buf []byte, i int, isDict bool) *frame {
	n := len(p.frames)
	if n >= p.lim.Depth {
		p.fail(buf, fault.TooDeep, i-1, wording.Levels(p.lim.Depth))
		return nil
	}
	if n < cap(p.frames) {
		p.frames = p.frames[:n+1]
	} else {
		p.frames = append(p.frames, frame{})
	}
	f := &p.frames[n]
	f.isDict, f.twice, f.n = isDict, false, 0
	p.keys.Open(&f.keys)
	if p.b != nil {
		k := dict.KindList
		if isDict {
			k = dict.KindDict
		}
		f.place = uint32(p.b.Open(k))
	}
	return f
}

// close ends the innermost container f, whose last byte is before i. It reports whether the
// record is still within its limits.
func (p *parser) close(buf []byte, i int, f *frame) bool {
	if p.items += int(f.n); f.isDict {
		p.items += int(f.n)
	}
	if p.items > p.lim.Items {
		p.fail(buf, fault.OverLimit, i, wording.Items(p.lim.Items))
		return false
	}
	if f.isDict {
		p.keys.Close(&f.keys)
	}
	if p.b != nil {
		p.b.Close(int(f.place), int(f.n))
		if f.twice {
			p.b.KeepLast(int(f.place))
		}
	}
	p.frames = p.frames[:len(p.frames)-1]
	if len(p.frames) == 0 && i > p.lim.RecordBytes {
		p.tooLarge(buf)
		return false
	}
	return true
}

// space returns where the white space that begins at i ends.
func (p *parser) space(buf []byte, i int) int {
	if i < len(buf) && buf[i] > ' ' {
		return i
	}
	return p.spaces(buf, i)
}

//go:noinline
func (p *parser) spaces(buf []byte, i int) int {
	for i < len(buf) && isSpace(buf[i]) {
		i++
	}
	return i
}

// other reads the value at the beginning of buf, which is no dictionary, to its end,
// and fails there for that.
func (p *parser) other(buf []byte) (end int) {
	if buf[0] == '[' {
		p.list = true
		end = p.run(buf)
	} else {
		end = p.scalar(buf)
	}
	if end < 0 {
		return end
	}
	p.whole = end
	return p.notADictionary(buf, 0, true)
}

// scalar reads the string, number or word at the beginning of buf.
func (p *parser) scalar(buf []byte) (end int) {
	switch c := buf[0]; {
	case c == '"':
		if p.state == atStart {
			p.tok, p.pos, p.escape, p.high = 1, 1, false, false
		}
		if end = p.text(buf, inString, p.pos); end >= 0 {
			end++
		}
		return end
	case c-'0' <= 9 || c == '-':
		p.tok = 0
		return p.restOfNumber(buf, p.pos)
	default:
		return p.literal(buf, 0)
	}
}
