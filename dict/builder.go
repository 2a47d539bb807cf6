package dict

import (
	"math"
	"unicode/utf8"
)

// A Builder writes the dictionary that a codec decodes. It trusts the codec to nest
// containers correctly, to pass valid text, and to have checked that keys are unique. All
// other code uses [Dict.Set], which checks everything.
//
// The zero Builder is ready for [Builder.Reset]. It keeps its scratch memory from one
// dictionary to the next and is not safe for concurrent use.
type Builder struct {
	src   []byte
	own   []byte
	nodes []node
	keys  map[int]setKey // of frozensets within keys, by their places; see AppendKey
	view  tape           // of the values that At returns
}

// Reset begins a dictionary over src. The dictionary will refer to src without
// copying it.
func (b *Builder) Reset(src []byte) {
	b.src, b.own, b.nodes, b.keys = src, b.own[:0], b.nodes[:0], nil
}

// Extend replaces src by a longer slice that begins with the same bytes.
func (b *Builder) Extend(src []byte) { b.src = src }

// Scratch returns how many bytes of memory the Builder keeps.
func (b *Builder) Scratch() int { return cap(b.own) + 16*cap(b.nodes) + 128*len(b.keys) }

// Null adds null.
func (b *Builder) Null() { b.nodes = append(b.nodes, node{mark: mark{kind: KindNull}}) }

// Bool adds a bool.
func (b *Builder) Bool(v bool) {
	n := node{mark: mark{kind: KindBool}}
	if v {
		n.data = 1
	}
	b.nodes = append(b.nodes, n)
}

// Int adds an int.
func (b *Builder) Int(v int64) {
	b.nodes = append(b.nodes, node{mark: mark{kind: KindInt}, data: uint64(v)})
}

// BigInt adds the int whose canonical decimal digits (no leading zero, '-' in
// front) are src[off:off+n]. Its value must be outside int64.
func (b *Builder) BigInt(off, n int) {
	b.nodes = append(b.nodes, node{mark: mark{kind: KindInt, flags: flagBig}, n: uint32(n), data: uint64(off)})
}

// Float adds a float.
func (b *Builder) Float(v float64) {
	b.nodes = append(b.nodes, node{mark: mark{kind: KindFloat}, data: math.Float64bits(v)})
}

// Text adds the string src[off:off+n], which must be valid UTF-8.
func (b *Builder) Text(off, n int) { b.Ref(KindString, off, n) }

// Ref adds a value of kind k with the content src[off:off+n]: a string in valid UTF-8,
// bytes, a bytearray, a UUID in 16 bytes, or a decimal as [AppendDecimal] writes it.
func (b *Builder) Ref(k Kind, off, n int) {
	b.nodes = append(b.nodes, node{mark: mark{kind: k}, n: uint32(n), data: uint64(off)})
}

// Own returns the buffer for content that is not in src, such as decoded escapes. Append
// to it and pass the result to one of the methods whose names begin with Own.
func (b *Builder) Own() []byte { return b.own }

// OwnText adds the string that was appended to the result of [Builder.Own]. surrogates
// says that it holds lone surrogates, as WTF-8.
func (b *Builder) OwnText(own []byte, surrogates bool) {
	b.OwnRef(KindString, own)
	if surrogates {
		b.nodes[len(b.nodes)-1].flags |= flagSurrogate
	}
}

// OwnRef is Ref for content that was appended to the result of [Builder.Own].
func (b *Builder) OwnRef(k Kind, own []byte) {
	off := len(b.own)
	b.own = own
	b.nodes = append(b.nodes, node{mark: mark{kind: k, flags: flagOwn}, n: uint32(len(own) - off), data: uint64(off)})
}

// OwnInt adds the int whose canonical decimal digits (no leading zero, '-' in front) were
// appended to the result of [Builder.Own].
func (b *Builder) OwnInt(own []byte) {
	digits := own[len(b.own):]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) <= 19 {
		var i uint64
		for _, c := range digits {
			i = i*10 + uint64(c-'0')
		}
		if v, ok := signed(negative, i); ok {
			b.Int(v)
			return
		}
	}
	b.OwnRef(KindInt, own)
	b.nodes[len(b.nodes)-1].flags |= flagBig
}

// string adds a string, as [String] makes it.
func (b *Builder) string(s string) {
	if utf8.ValidString(s) {
		b.OwnRef(KindString, append(b.own, s...))
		return
	}
	b.OwnText(toWTF8(b.own, s))
}

// Complex adds a complex number.
func (b *Builder) Complex(v complex128) { b.OwnRef(KindComplex, appendComplex(b.own, v)) }

// Add adds a copy of v, of any kind.
func (b *Builder) Add(v Value) { b.add(v) }

// DateTime adds a datetime. The error is a *[RangeError].
func (b *Builder) DateTime(t DateTime) error {
	date, err := t.Date.pack(KindDateTime)
	if err != nil {
		return err
	}
	clock, err := t.TimeOfDay.pack(KindDateTime)
	if err != nil {
		return err
	}
	b.zoned(KindDateTime, date|clock, &t.TimeOfDay)
	return nil
}

// TimeOfDay adds a time. The error is a *[RangeError].
func (b *Builder) TimeOfDay(t TimeOfDay) error {
	data, err := t.pack(KindTime)
	if err != nil {
		return err
	}
	b.zoned(KindTime, data, &t)
	return nil
}

func (b *Builder) zoned(k Kind, data uint64, t *TimeOfDay) {
	n := zonedNode(k, data, t)
	if t.Zone.kind >= zoneNamed {
		off := len(b.own)
		b.own = t.appendZone(b.own)
		n.flags |= flagOwn
		n.n, n.x = uint32(off), uint16(len(b.own)-off)
	}
	b.nodes = append(b.nodes, n)
}

// Len returns the number of values added so far, which is the place of the next one.
func (b *Builder) Len() int { return len(b.nodes) }

// end returns the place after the value at the given one.
func (b *Builder) end(place int) int { return int(b.nodes[place].end(uint32(place))) }

// At returns the complete value at the given place. It is valid until the Builder is used
// again.
func (b *Builder) At(place int) Value {
	b.view = tape{src: b.src, own: b.own, nodes: b.nodes}
	return Value{t: &b.view, node: b.nodes[place]}
}

// Open begins a container of kind k and returns its place, to be passed to Close. Its
// children follow: in a dictionary, keys and values in turn.
func (b *Builder) Open(k Kind) int {
	b.nodes = append(b.nodes, node{mark: mark{kind: k}})
	return len(b.nodes) - 1
}

// OpenTagged begins a tagged value. Its tag and its value follow, then Close with n 2.
func (b *Builder) OpenTagged(s Space) int {
	b.nodes = append(b.nodes, node{mark: mark{kind: KindTagged, flags: uint8(s) << spaceShift}})
	return len(b.nodes) - 1
}

// SetKind changes the kind of the container at a place to k.
func (b *Builder) SetKind(at int, k Kind) { b.nodes[at].kind = k }

// Unwrap replaces the container at a place, which may still be open, by its only item.
func (b *Builder) Unwrap(at int) {
	b.keys = nil
	b.nodes = append(b.nodes[:at], b.nodes[at+1:]...)
	for i := at; i < len(b.nodes); i++ {
		b.nodes[i].shift(^uint32(0))
	}
}

// Drop removes all values from a place on.
func (b *Builder) Drop(at int) { b.nodes, b.keys = b.nodes[:at], nil }

// Grow reserves memory for n more values.
func (b *Builder) Grow(n int) {
	if n > cap(b.nodes)-len(b.nodes) {
		b.nodes = append(make([]node, 0, len(b.nodes)+n), b.nodes...)
	}
}

// Repeat adds the complete value at a place again. Both share their content.
func (b *Builder) Repeat(place int) {
	end := b.end(place)
	move := uint32(len(b.nodes) - place)
	b.nodes = append(b.nodes, b.nodes[place:end]...)
	for i := len(b.nodes) - (end - place); i < len(b.nodes); i++ {
		b.nodes[i].shift(move)
	}
}

// Close ends the container at a place, which has n items or pairs.
func (b *Builder) Close(at, n int) {
	c := &b.nodes[at]
	c.n = uint32(n)
	c.data = uint64(at+1) | uint64(len(b.nodes))<<32
}

// KeepLast makes the keys of the closed dictionary at a place unique, as Python's dict
// does: a key keeps its first place and its last value.
func (b *Builder) KeepLast(at int) {
	var unique Dict
	b.keys = nil
	for k, v := range b.At(at).Pairs() {
		unique.put(k, v) // codecs check that keys are hashable
	}
	if unique.Len() == int(b.nodes[at].n) {
		return
	}
	kept := make([]node, 0, len(b.nodes)-at)
	for k, v := range unique.All() {
		kept = appendMoved(kept, at+1, k)
		kept = appendMoved(kept, at+1, v)
	}
	b.nodes = append(b.nodes[:at+1], kept...)
	b.Close(at, unique.Len())
}

// appendMoved appends v's nodes to kept, whose first node will be at base.
func appendMoved(kept []node, base int, v Value) []node {
	if !v.kind.IsContainer() {
		return append(kept, v.node)
	}
	first, end := v.first(), uint32(v.data>>32)
	move := uint32(base+len(kept)+1) - first
	kept = append(kept, v.node)
	kept[len(kept)-1].shift(move)
	for _, n := range v.t.nodes[first:end] {
		n.shift(move)
		kept = append(kept, n)
	}
	return kept
}

// shift moves a container's children by the given number of nodes, modulo 2³².
func (n *node) shift(by uint32) {
	if n.kind.IsContainer() {
		n.data = uint64(n.first()+by) | uint64(uint32(n.data>>32)+by)<<32
	}
}

// Dict returns the dictionary built since Reset. It copies the tape at its exact size and
// refers to src.
func (b *Builder) Dict() *Dict {
	d, t := newTape(len(b.nodes), len(b.own))
	t.src = b.src
	copy(t.nodes, b.nodes)
	copy(t.own, b.own)
	d.v = Value{t: t, node: t.nodes[0]}
	return d
}

// newTape returns a dictionary with a tape of n nodes and own bytes: small ones in one
// allocation that fits a size class of the allocator, others in up to three.
func newTape(n, own int) (*Dict, *tape) {
	type head struct {
		d Dict
		t tape
	}
	switch {
	case own > 0 && own <= 32 && n <= 9: // four pairs of short texts
		m := new(struct {
			head
			nodes [9]node
			own   [32]byte
		})
		m.t.nodes, m.t.own = m.nodes[:n:n], m.own[:own:own]
		return &m.d, &m.t
	case own > 0 && own <= 128 && n <= 15:
		m := new(struct {
			head
			nodes [15]node
			own   [128]byte
		})
		m.t.nodes, m.t.own = m.nodes[:n:n], m.own[:own:own]
		return &m.d, &m.t
	case n <= 7:
		m := new(struct {
			head
			nodes [7]node
		})
		m.t.nodes = m.nodes[:n:n]
		m.t.makeOwn(own)
		return &m.d, &m.t
	case n <= 15:
		m := new(struct {
			head
			nodes [15]node
		})
		m.t.nodes = m.nodes[:n:n]
		m.t.makeOwn(own)
		return &m.d, &m.t
	default:
		m := new(head)
		m.t.nodes = make([]node, n)
		m.t.makeOwn(own)
		return &m.d, &m.t
	}
}

func (t *tape) makeOwn(n int) {
	if n > 0 {
		t.own = make([]byte, n)
	}
}

// add adds a copy of v.
func (b *Builder) add(v Value) {
	switch {
	case v.kind.IsContainer():
		at := b.Open(v.kind)
		b.nodes[at].flags = uint8(v.space()) << spaceShift
		c := v.children()
		for range v.node.children() {
			b.add(c.next())
		}
		b.Close(at, int(v.n))
	case v.kind.hasText() || v.flags&flagBig != 0:
		n := v.node
		n.flags |= flagOwn
		n.data = uint64(len(b.own))
		b.own = append(b.own, v.t.text(v.node)...)
		b.nodes = append(b.nodes, n)
	case v.kind == KindDateTime || v.kind == KindTime:
		n := v.node
		if text := v.zoneText(); text != nil {
			n.flags |= flagOwn
			n.n = uint32(len(b.own))
			b.own = append(b.own, text...)
		}
		b.nodes = append(b.nodes, n)
	default:
		b.nodes = append(b.nodes, v.node)
	}
}
