package pickle

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

const (
	// maxDepth caps how deep a dictionary nests even where Limits.Depth does not:
	// writeOut calls itself for each level.
	maxDepth = 10_000

	// textFactor caps the texts of the result, in multiples of Limits.RecordBytes.
	textFactor = 4
	maxText    = 1 << 30
)

func (m *machine) maxItems() int { return min(m.lim.Items, math.MaxInt32) }

func (m *machine) maxText() int { return textFactor * min(m.lim.RecordBytes, maxText/textFactor) }

// A step is a part of the way from the fault to the top: the place of a key in the
// Builder, or the number of an item.
type step struct {
	key   bool
	place int
}

// notBuilt is the place of a key that is only counted.
const notBuilt = -1

// A sum is the size of an object that has been written out, so that it can be copied where
// it occurs again.
type sum struct {
	items, text, levels uint32
	place               uint32 // in the Builder; 0, where the top is: not yet
}

// writeOut passes the dictionary, the only value on the stack, to the Builder, and repeats
// shared values wherever they occur. A pickle of a few bytes can make a large dictionary of
// shared objects, and most pickles have none. So if there are any, it first counts the
// result, which takes time proportional to the pickle.
func (m *machine) writeOut() bool {
	root := m.stack[0]
	if m.isForeign(root) {
		m.foreign.hit = root.data + 1
		return false
	}
	if root.kind() != kindRef || !m.objects[root.data].kind.IsDict() {
		m.err = &codec.SyntaxError{
			Codec: name, Code: fault.NotADictionary,
			Msg: "want a dictionary, got " + m.describe(root), Hint: `wrap it, as in {"value": …}`,
		}
		return false
	}
	if m.shared {
		m.dry = true
		nodes, ok := m.writeRoot(root)
		if m.dry = false; !ok {
			return false
		}
		m.b.Reset(m.src)
		m.b.Grow(nodes)
	}
	_, ok := m.writeRoot(root)
	return ok
}

// writeRoot writes the dictionary out and returns how many values it is.
func (m *machine) writeRoot(root value) (nodes int, ok bool) {
	if m.shared {
		m.sums = slices.Grow(m.sums[:0], len(m.objects))[:len(m.objects)]
		clear(m.sums)
	}
	m.room.items = m.maxItems()
	m.room.text = m.maxText()
	if m.write(root, min(m.lim.Depth, maxDepth)) {
		return 1 + m.maxItems() - m.room.items, true
	}
	m.err.Path = m.path()
	return 0, false
}

// write writes a value out. levels is how many more containers may nest.
func (m *machine) write(v value, levels int) bool {
	if v.head&(ownBit|kindMask) == uint64(kindText) {
		if m.room.text -= int(v.n()); m.room.text < 0 {
			return m.tooMuchText()
		}
		m.b.Text(int(v.data), int(v.n()))
		return true
	}
	switch v.kind() {
	case kindNull:
		m.b.Null()
	case kindBool:
		m.b.Bool(v.data != 0)
	case kindInt:
		m.b.Int(int64(v.data))
	case kindFloat:
		m.b.Float(math.Float64frombits(v.data))
	case kindText, kindBytes, kindByteArray:
		if m.room.text -= int(v.n()); m.room.text < 0 {
			return m.tooMuchText()
		}
		if !v.own() {
			m.b.Ref(dictKinds[v.kind()], int(v.data), int(v.n()))
			return true
		}
		own := append(m.b.Own(), m.bytesOf(v)...)
		if v.kind() == kindText {
			m.b.OwnText(own, v.odd())
		} else {
			m.b.OwnRef(dictKinds[v.kind()], own)
		}
	case kindLong, kindDigits:
		return m.writeInt(v)
	case kindMade:
		if m.room.text -= madeSize; m.room.text < 0 {
			return m.tooMuchText()
		}
		before := len(m.b.Own())
		m.b.Add(m.made[v.data])
		m.room.text -= len(m.b.Own()) - before
	case kindRef:
		return m.writeObject(v, levels)
	default: // kindZone, kindGlobal
		return m.faultIn(fault.UnsafePickle, m.describe(v)+" is no value that a dictionary can hold")
	}
	return true
}

// madeSize is the size as text of a value that kind made, in addition to its own text.
const madeSize = 8

var dictKinds = [...]dict.Kind{kindText: dict.KindString, kindBytes: dict.KindBytes, kindByteArray: dict.KindByteArray}

func (m *machine) writeInt(v value) bool {
	b := m.bytesOf(v)
	size := len(b)
	if v.kind() == kindLong {
		size *= 2 // 2.4 digits a byte
	}
	if size-16 > m.lim.Digits {
		return m.faultIn(fault.OverLimit, wording.Digits(m.lim.Digits))
	}
	if m.room.text -= size; m.room.text < 0 {
		return m.tooMuchText()
	}
	own := m.b.Own()
	at := len(own)
	if v.kind() == kindLong {
		own = bigInt(b).Append(own, 10)
	} else {
		own = append(own, b...)
	}
	if n := len(own) - at; n > m.lim.Digits {
		if own[at] == '-' {
			n--
		}
		if n > m.lim.Digits {
			return m.faultIn(fault.OverLimit, wording.Digits(m.lim.Digits))
		}
	}
	m.b.OwnInt(own)
	return true
}

// bigInt returns the number of two's complement bytes, little-endian.
func bigInt(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	i := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return i
}

func (m *machine) writeObject(v value, levels int) bool {
	o := &m.objects[v.data]
	if o.kind == foreignKind {
		m.foreign.hit = v.data + 1
		return m.faultIn(fault.UnsafePickle, "")
	}
	if o.kind == dict.KindUUID {
		if o.state == unbuilt {
			m.faultIn(fault.UnsafePickle, "a UUID without its number")
			return m.faultAt(o)
		}
		if m.room.text -= 16; m.room.text < 0 {
			return m.tooMuchText()
		}
		m.b.OwnRef(dict.KindUUID, append(m.b.Own(), m.own[o.first:o.first+16]...))
		return true
	}
	if m.shared && m.repeat(v, levels) {
		return true
	}
	switch {
	case o.state == open:
		m.faultIn(fault.Malformed, "the object that is made here holds itself")
		return m.faultAt(o)
	case levels == 0:
		m.faultIn(fault.TooDeep, wording.Levels(min(m.lim.Depth, maxDepth)))
		return m.faultAt(o)
	}
	if m.room.items -= int(o.n); m.room.items < 0 {
		m.faultIn(fault.OverLimit, wording.Items(m.maxItems()))
		return m.faultAt(o)
	}
	before, low := m.room, m.low
	before.items += int(o.n)
	m.low = levels
	state := o.state
	o.state = open
	place := m.b.Open(o.kind)
	n := int(o.n)
	if o.kind.IsDict() {
		n /= 2
		if !m.writePairs(o, levels-1) {
			return m.faultAt(o)
		}
	} else if !m.writeItems(o, levels-1) {
		return m.faultAt(o)
	}
	o.state = state
	m.b.Close(place, n)
	if m.shared {
		m.sums[v.data] = sum{uint32(before.items - m.room.items), uint32(before.text - m.room.text), uint32(levels - m.low + 1), uint32(place)}
		m.low = min(low, m.low)
	}
	return true
}

// repeat copies an object that has been written out, if there is room for all of it.
func (m *machine) repeat(v value, levels int) bool {
	s := m.sums[v.data]
	if s.place == 0 || int(s.items) > m.room.items || int(s.text) > m.room.text || int(s.levels) > levels {
		return false
	}
	m.room.items -= int(s.items)
	m.room.text -= int(s.text)
	m.low = min(m.low, levels-int(s.levels)+1)
	if !m.dry {
		m.b.Repeat(int(s.place))
	}
	return true
}

func (m *machine) writePairs(o *object, levels int) bool {
	var keys keyset.Frame
	m.keys.Open(&keys)
	left := o.n // a Counter may share its runs with a dict that went on growing
	for at := o.first; left > 0; at = uint32(m.kids[at].data) {
		run := m.kids[at+1 : at+1+min(m.kids[at].n(), left)]
		left -= uint32(len(run))
		for pairs := run; len(pairs) > 1; pairs = pairs[2:] {
			place := m.b.Len()
			if !m.writeKey(&keys, pairs[0], levels, o) {
				return false
			}
			if !m.write(pairs[1], levels) {
				if m.dry && pairs[0].kind() == kindRef {
					place = notBuilt
				}
				m.way = append(m.way, step{key: true, place: place})
				return false
			}
		}
	}
	m.keys.Close(&keys)
	return true
}

func (m *machine) writeItems(o *object, levels int) bool {
	var items keyset.Frame
	unique := o.kind == dict.KindSet || o.kind == dict.KindFrozenSet
	if unique {
		m.keys.Open(&items)
	}
	left := o.n // a set may share its runs with a list that went on growing
	for at := o.first; left > 0; at = uint32(m.kids[at].data) {
		run := m.kids[at+1 : at+1+min(m.kids[at].n(), left)]
		for i, v := range run {
			if unique {
				if !m.writeKey(&items, v, levels, o) {
					return false
				}
			} else if !m.write(v, levels) {
				m.way = append(m.way, step{place: int(o.n-left) + i})
				return false
			}
		}
		left -= uint32(len(run))
	}
	if unique {
		m.keys.Close(&items)
	}
	return true
}

// writeKey writes a key of o out, or an item of a set, unless it came before.
func (m *machine) writeKey(keys *keyset.Frame, k value, levels int, o *object) bool {
	place := m.b.Len()
	if !m.write(k, levels) {
		return false
	}
	if m.dry {
		return true
	}
	twice := false
	switch from, to := int(k.data), int(k.data)+int(k.n()); {
	case k.kind() != kindText:
		v := m.b.At(place)
		if err := dict.Hashable(v); err != nil {
			return m.faultIn(fault.Malformed, m.describe(k)+" can't be hashed, and so be no key or item of a set")
		}
		if key, equals := m.b.AppendKey(m.keys.Own(), place); equals {
			twice = m.keys.AddOther(keys, m.src, key)
		}
	case k.own():
		twice = m.keys.AddOwn(keys, m.src, append(m.keys.Own(), m.bytesOf(k)...))
	case k.n() > 0 && from+8 <= len(m.src) && m.keys.AddNew(keys, m.src, from, to):
	default:
		twice = m.keys.Add(keys, m.src, from, to)
	}
	if !twice {
		return true
	}
	repr := dict.AppendRepr(nil, m.b.At(place), dict.DefaultPython)
	return m.faultIn(fault.DuplicateKey, fmt.Sprintf("%.100s comes twice in the %s that is made here", repr, o.kind))
}

// faultIn fails because of a value. Its container adds the place: see faultAt.
func (m *machine) faultIn(code fault.Code, msg string) bool {
	m.err = &codec.SyntaxError{Codec: name, Code: code, Offset: -1, Msg: msg}
	if code == fault.UnsafePickle {
		m.err.Hint = hintData
	}
	return false
}

// faultAt gives a fault without a place that of o, where it was made.
func (m *machine) faultAt(o *object) bool {
	if m.err.Offset < 0 {
		m.err.Offset = int(o.at)
	}
	return false
}

func (m *machine) tooMuchText() bool {
	return m.faultIn(fault.OverLimit, fmt.Sprintf("with all that is shared written out, the texts have more than %d bytes", m.maxText()))
}

// path names the value with the fault by the keys and numbers that lead to it.
func (m *machine) path() string {
	var p wording.Path
	for _, s := range slices.Backward(m.way) {
		if !s.key {
			p.Index(s.place)
			continue
		}
		if s.place == notBuilt {
			p.Key([]byte("…"))
			continue
		}
		k := m.b.At(s.place)
		if text, ok := k.TextBytes(); ok {
			p.Key(text)
		} else {
			p.Key(dict.AppendRepr(nil, k, dict.DefaultPython))
		}
	}
	return p.String()
}
