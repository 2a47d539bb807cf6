package dict

import "math"

// Equal reports whether a and b have the same kind and value and, for dictionaries, the
// same keys in the same order. It is stricter than Python's ==: 1, 1.0 and True differ,
// as do decimals with different trailing zeros, and times in different zones. NaN equals
// NaN, and 0.0 differs from -0.0, so that a decoded value equals the encoded one. The
// order of a set does not matter.
func Equal(a, b Value) bool {
	if a.kind != b.kind {
		return false
	}
	switch {
	case a.kind.hasText():
		if a.kind == KindComplex {
			return equalComplex(a, b)
		}
		return string(a.t.text(a.node)) == string(b.t.text(b.node))
	case a.kind.IsContainer():
		if a.n != b.n || a.space() != b.space() {
			return false
		}
		return equalChildren(a, b) || a.kind == KindSet && equalSets(a, b) || a.kind == KindFrozenSet && equalSets(a, b)
	}
	switch a.kind {
	case KindInt:
		if (a.flags|b.flags)&flagBig != 0 {
			return a.flags&b.flags&flagBig != 0 && string(a.t.text(a.node)) == string(b.t.text(b.node))
		}
	case KindFloat:
		return equalBits(math.Float64frombits(a.data), math.Float64frombits(b.data))
	case KindTimeDelta:
		return a.n == b.n && a.data == b.data
	case KindDateTime, KindTime:
		return a.data == b.data && a.zone() == b.zone() && a.nanosecond() == b.nanosecond()
	default: // data says all of it
	}
	return a.data == b.data
}

func equalBits(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}

func equalComplex(a, b Value) bool {
	x, _ := a.Complex()
	y, _ := b.Complex()
	return equalBits(real(x), real(y)) && equalBits(imag(x), imag(y))
}

// equalChildren compares what two containers of the same kind and size hold, in
// order.
func equalChildren(a, b Value) bool {
	x, y := a.children(), b.children()
	for range a.node.children() {
		if !Equal(x.next(), y.next()) {
			return false
		}
	}
	return true
}

// equalSets compares two sets of the same kind and size in any order.
func equalSets(a, b Value) bool {
	in := make(map[string]Value, a.n)
	for item := range a.Items() {
		key, _ := AppendKey(nil, item)
		in[string(key)] = item
	}
	for item := range b.Items() {
		key, _ := AppendKey(nil, item)
		if other, ok := in[string(key)]; !ok || !Equal(other, item) {
			return false
		}
	}
	return true
}
