package python

import (
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
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

// top returns the innermost frame.
func (p *parser) top() *frame { return &p.frames[len(p.frames)-1] }

func (p *parser) push(f frame) *frame {
	f.item = p.b.Len()
	p.frames = append(p.frames, f)
	return p.top()
}

func (p *parser) pop() { p.frames = p.frames[:len(p.frames)-1] }

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
		p.fail(fault.TooDeep, i, wording.Levels(p.lim.Depth))
		return nil
	}
	f := p.push(frame{kind: kind, place: p.b.Open(k)})
	p.keys.Open(&f.keys)
	return f
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

// endsItem reports whether an item of f may end after the value that was read.
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
		p.fail(fault.OverLimit, i, wording.Items(p.lim.Items))
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
		p.fail(fault.Malformed, i, "want a hashable "+what+", got a "+v.Kind().String())
		p.err.Hint = err.Error()
		return false, false
	}
	own, equalsItself := p.b.AppendKey(p.keys.Own(), place)
	return equalsItself && p.keys.AddOther(&f.keys, buf, own), true
}

// closed ends the innermost frame, whose last byte is at i.
func (p *parser) closed(i int) int {
	f := *p.top()
	switch f.kind {
	case isPair:
		p.pop()
		p.state = afterValue
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
