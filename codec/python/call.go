package python

import (
	"encoding/hex"

	"github.com/dictwire/dictwire/dict"
)

// callOf reads the parenthesis after a name.
func (p *parser) callOf(buf []byte, i int) int {
	i = p.space(buf, i)
	if i < 0 || i == len(buf) {
		return p.pause(buf, i)
	}
	if buf[i] != '(' {
		return p.unexpected(buf, i, "'(' after the name")
	}
	switch p.word {
	case theOrderedDict:
		p.push(frame{kind: isOrdered})
	case theFrozenSet:
		p.push(frame{kind: isFrozen})
	case theTag:
		if p.depth++; p.depth > p.lim.Depth {
			p.depth--
			return p.tooDeep(i)
		}
		f := p.push(frame{kind: isTag, place: p.b.OpenTagged(dict.CBORTag)})
		p.keys.Open(&f.keys)
	default:
		p.tok, p.state = i, inCall
		p.nest = nesting{}
		return i
	}
	p.state = atValue
	return i + 1
}

// nesting is the state of the parser in a call that is one token.
type nesting struct {
	depth int
	quote byte // of the string in hand
	skip  bool // a backslash was read
}

// plainCall reads a call whose parenthesis is at p.tok; everything before i has been read
// already.
func (p *parser) plainCall(buf []byte, i int) int {
	n := &p.nest
	for ; i < len(buf); i++ {
		switch c := buf[i]; {
		case n.skip:
			n.skip = false
		case n.quote != 0:
			n.skip = c == '\\'
			if c == n.quote {
				n.quote = 0
			}
		case c == '\'' || c == '"':
			n.quote = c
		case c == '(':
			n.depth++
		case c == ')':
			if n.depth--; n.depth == 0 {
				a := arguments{p: p, buf: buf[:i+1], i: p.tok + 1}
				if !a.build(p.word) {
					return failed
				}
				return p.built(i+1, notNumber)
			}
		}
	}
	return p.stop(i)
}

// build adds the value that the call makes.
func (a *arguments) build(w word) bool {
	b := &a.p.b
	switch w {
	case theSet:
		if !a.end() {
			return false
		}
		b.Close(b.Open(dict.KindSet), 0)
		return true
	case theByteArray:
		text, ok := a.text(true)
		if !ok || !a.end() {
			return false
		}
		b.OwnRef(dict.KindByteArray, append(b.Own(), text...))
		return true
	case theDecimal:
		return a.decimal()
	case theUUID:
		return a.uuid()
	case theExtension:
		at := b.OpenTagged(dict.MessagePackExt)
		code, ok := a.named("code=", -128, 127)
		if !ok || !a.want(",", "','") || !a.want("data=", "data=") {
			return false
		}
		data, ok := a.text(true)
		if !ok || !a.end() {
			return false
		}
		b.Int(code)
		b.OwnRef(dict.KindBytes, append(b.Own(), data...))
		b.Close(at, 2)
		return true
	case theSimpleValue:
		at := b.OpenTagged(dict.CBORSimple)
		value, ok := a.named("value=", 0, 255)
		if !ok || !a.end() {
			return false
		}
		b.Int(value)
		b.Null()
		b.Close(at, 2)
		return true
	default:
		return a.time(w)
	}
}

// uuid adds the UUID of a string.
func (a *arguments) uuid() bool {
	begin := a.i
	text, ok := a.text(false)
	if !ok || !a.end() {
		return false
	}
	own := a.p.b.Own()
	a.p.digits = a.p.digits[:0]
	for i, c := range text {
		if c != '-' {
			a.p.digits = append(a.p.digits, c)
		} else if i != 8 && i != 13 && i != 18 && i != 23 {
			ok = false
		}
	}
	own, err := hex.AppendDecode(own, a.p.digits)
	if !ok || err != nil || len(text) != 36 || len(a.p.digits) != 32 {
		a.i = begin
		return a.fail("a UUID of 32 hexadecimal digits and 4 dashes")
	}
	a.p.b.OwnRef(dict.KindUUID, own)
	return true
}
