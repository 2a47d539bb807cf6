package dict

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

// A Value is one typed value: a scalar, or a container with its content. It never
// changes, is 24 bytes, is copied by assignment, and may be used by several goroutines at
// once. The zero Value is null.
//
// A decoded Value refers to the bytes it was decoded from: see [Dict].
//
// Compare Values with [Equal]; == compares how they are stored.
type Value struct {
	t *tape // text and children, or nil
	node
}

// Null returns null, which is also the zero Value.
func Null() Value { return Value{} }

// Bool returns a bool.
func Bool(v bool) Value {
	n := node{mark: mark{kind: KindBool}}
	if v {
		n.data = 1
	}
	return Value{node: n}
}

// Int returns an int.
func Int(v int64) Value { return Value{node: node{mark: mark{kind: KindInt}, data: uint64(v)}} }

// BigInt returns an int of any size. It copies v; nil is 0.
func BigInt(v *big.Int) Value {
	switch {
	case v == nil:
		return Int(0)
	case v.IsInt64():
		return Int(v.Int64())
	}
	return textValue(v.Append(nil, 10), node{mark: mark{kind: KindInt, flags: flagBig}})
}

// Float returns a float.
func Float(v float64) Value {
	return Value{node: node{mark: mark{kind: KindFloat}, data: math.Float64bits(v)}}
}

// Complex returns a complex number.
func Complex(v complex128) Value {
	return textValue(appendComplex(nil, v), node{mark: mark{kind: KindComplex}})
}

func appendComplex(dst []byte, v complex128) []byte {
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(real(v)))
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(imag(v)))
}

// String returns a string. v is UTF-8, or WTF-8, in which a lone surrogate is the three
// bytes that UTF-8's scheme would give it (ED A0 80 to ED BF BF). Any other invalid byte
// b becomes the lone surrogate U+DC00+b, as with Python's "surrogateescape".
func String(v string) Value {
	if utf8.ValidString(v) {
		return textValue([]byte(v), node{mark: mark{kind: KindString}})
	}
	text, surrogates := toWTF8(nil, v)
	n := node{mark: mark{kind: KindString}}
	if surrogates {
		n.flags = flagSurrogate
	}
	return textValue(text, n)
}

// Bytes returns bytes that hold a copy of b.
func Bytes(b []byte) Value {
	return textValue(append([]byte(nil), b...), node{mark: mark{kind: KindBytes}})
}

// ByteArray returns a bytearray that holds a copy of b.
func ByteArray(b []byte) Value {
	return textValue(append([]byte(nil), b...), node{mark: mark{kind: KindByteArray}})
}

// UUID returns a UUID.
func UUID(u [16]byte) Value { return textValue(u[:], node{mark: mark{kind: KindUUID}}) }

// textValue returns a value with the given text, which it keeps.
func textValue(text []byte, n node) Value {
	n.n = uint32(len(text))
	return Value{t: &tape{src: text}, node: n}
}

// List returns a list that holds a copy of the given items.
func List(items ...Value) Value {
	return treeValue(KindList, append([]Value(nil), items...), len(items))
}

// Tuple returns a tuple that holds a copy of the given items.
func Tuple(items ...Value) Value {
	return treeValue(KindTuple, append([]Value(nil), items...), len(items))
}

// SetOf returns a set of the given items in their order. Of equal items, the first is
// kept, as in Python. The error is a *[HashError] for an item that is not hashable.
func SetOf(items ...Value) (Value, error) { return setValue(KindSet, items) }

// FrozenSet is [SetOf] for frozensets.
func FrozenSet(items ...Value) (Value, error) { return setValue(KindFrozenSet, items) }

func setValue(k Kind, items []Value) (Value, error) {
	var unique Dict
	for _, item := range items {
		if err := unique.SetKey(item, Null()); err != nil {
			return Value{}, err
		}
	}
	kept := make([]Value, 0, unique.Len())
	for item := range unique.All() {
		kept = append(kept, item)
	}
	return treeValue(k, kept, len(kept)), nil
}

func treeValue(k Kind, items []Value, n int) Value {
	t := new(struct {
		tape
		tree tree
	})
	t.tree.items, t.tape.tree = items, &t.tree
	return Value{t: &t.tape, node: node{mark: mark{kind: k, flags: flagTree}, n: uint32(n)}}
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Bool returns a bool, and false, false for any other kind.
func (v Value) Bool() (value, ok bool) { return v.data != 0 && v.kind == KindBool, v.kind == KindBool }

// Int returns an int that fits in int64, and 0, false for anything else.
func (v Value) Int() (int64, bool) {
	if v.kind != KindInt || v.flags&flagBig != 0 {
		return 0, false
	}
	return int64(v.data), true
}

// BigInt returns an int of any size as a new big.Int, and nil, false for any
// other kind.
func (v Value) BigInt() (*big.Int, bool) {
	if v.kind != KindInt {
		return nil, false
	}
	if v.flags&flagBig == 0 {
		return big.NewInt(int64(v.data)), true
	}
	i, ok := new(big.Int).SetString(string(v.t.text(v.node)), 10)
	return i, ok
}

// AppendInt appends an int's decimal digits to dst. It appends nothing for any
// other kind.
func (v Value) AppendInt(dst []byte) []byte {
	switch {
	case v.kind != KindInt:
		return dst
	case v.flags&flagBig == 0:
		return strconv.AppendInt(dst, int64(v.data), 10)
	default:
		return append(dst, v.t.text(v.node)...)
	}
}

// Float returns a float, and 0, false for any other kind: an int is not a
// float.
func (v Value) Float() (float64, bool) {
	if v.kind != KindFloat {
		return 0, false
	}
	return math.Float64frombits(v.data), true
}

// Text returns a string, and "", false for any other kind. It copies. Lone
// surrogates are WTF-8, as in [String].
func (v Value) Text() (string, bool) {
	if v.kind != KindString {
		return "", false
	}
	return string(v.t.text(v.node)), true
}

// TextBytes returns a string's bytes without copying, and nil, false for any other kind.
// The caller must not change them.
func (v Value) TextBytes() (text []byte, ok bool) {
	if v.kind != KindString {
		return nil, false
	}
	return v.t.text(v.node), true
}

// HasSurrogatePairs reports whether v is a string with a high surrogate directly before a
// low one, as two code points. Python can hold that, but in UTF-16 and in JSON's escapes
// they become one character.
func (v Value) HasSurrogatePairs() bool {
	return v.HasSurrogates() && hasSurrogatePairs(v.t.text(v.node))
}

// HasSurrogates reports whether v is a string with lone surrogates, which UTF-8 can't
// hold.
func (v Value) HasSurrogates() bool { return v.kind == KindString && v.flags&flagSurrogate != 0 }

// Complex returns a complex number, and 0, false for any other kind: a float is
// not one.
func (v Value) Complex() (complex128, bool) {
	if v.kind != KindComplex {
		return 0, false
	}
	b := v.t.text(v.node)
	return complex(
		math.Float64frombits(binary.BigEndian.Uint64(b)),
		math.Float64frombits(binary.BigEndian.Uint64(b[8:])),
	), true
}

// Bytes returns bytes or a bytearray without copying, and nil, false for any other kind.
// The caller must not change them.
func (v Value) Bytes() ([]byte, bool) {
	if v.kind != KindBytes && v.kind != KindByteArray {
		return nil, false
	}
	return v.t.text(v.node), true
}

// UUID returns a UUID. ok is false for any other kind.
func (v Value) UUID() (u [16]byte, ok bool) {
	if v.kind != KindUUID {
		return u, false
	}
	copy(u[:], v.t.text(v.node))
	return u, true
}

// Len returns the number of bytes of a string, bytes or bytearray, the number of items of
// a list, tuple or set, the number of pairs of a dictionary, or 0 for any other kind.
func (v Value) Len() int {
	switch {
	case v.kind.IsDict(), v.kind.hasItems(), v.kind == KindString, v.kind == KindBytes, v.kind == KindByteArray:
		return int(v.n)
	default:
		return 0
	}
}

// Items iterates over the items of a list, tuple, set or frozenset in order. It
// yields nothing for any other kind.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if !v.kind.hasItems() {
			return
		}
		c := v.children()
		for range v.n {
			if !yield(c.next()) {
				return
			}
		}
	}
}

// Pairs iterates over the keys and values of a dictionary or ordered dictionary
// in order. It yields nothing for any other kind.
func (v Value) Pairs() iter.Seq2[Value, Value] {
	return func(yield func(key, value Value) bool) {
		if !v.kind.IsDict() {
			return
		}
		c := v.children()
		for range v.n {
			key := c.next()
			if !yield(key, c.next()) {
				return
			}
		}
	}
}

// A cursor walks over the children of a container: items, keys and values in turn, or a
// tag and its value.
type cursor struct {
	t    *tape
	i    uint32
	tree bool
}

func (v Value) children() cursor {
	if v.flags&flagTree != 0 {
		return cursor{t: v.t, tree: true}
	}
	return cursor{t: v.t, i: v.first()}
}

// next returns the next child, which must exist.
func (c *cursor) next() Value {
	if c.tree {
		c.i++
		return c.t.tree.items[c.i-1]
	}
	n := c.t.nodes[c.i]
	c.i = n.end(c.i)
	return Value{t: c.t, node: n}
}

// Dict returns a dictionary of either kind that can be changed without changing v, and
// nil, false for any other kind. Memory is shared until it is changed.
func (v Value) Dict() (*Dict, bool) {
	if !v.kind.IsDict() {
		return nil, false
	}
	return &Dict{v: v.share()}, true
}

// share returns v, whose items are not changed any more.
func (v Value) share() Value {
	if v.flags&flagTree != 0 && !v.t.tree.shared.Load() {
		v.t.tree.shared.Store(true)
	}
	return v
}

// String returns v as CPython prints it: [Repr] with [DefaultPython].
func (v Value) String() string { return string(AppendRepr(nil, v, DefaultPython)) }

var _ fmt.Stringer = Value{}
