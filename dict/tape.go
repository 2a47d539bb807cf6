package dict

import "sync/atomic"

// A tape holds the values of one dictionary: a flat array of nodes in document order,
// over the received bytes. It never changes once a Value refers to it, so values can be
// copied and shared between goroutines.
//
//	{"a": [1, "x"], "b": null}
//
//	nodes  0      1      2      3      4      5      6
//	       dict   "a"    list   1      "x"    "b"    null
//	       n=2           n=2
//	       1..7          3..5                             first and end
//
// A container that was not decoded has a tape of its own in tree form, marked by
// flagTree: its items are Values, and there are no nodes.
type tape struct {
	src   []byte // the received bytes, not copied
	own   []byte // text that is not in src, such as decoded escapes
	nodes []node
	tree  *tree // instead of nodes, in tree form
}

// A tree is the items of a list, or a dictionary's keys and values in turn.
type tree struct {
	items  []Value
	shared atomic.Bool // they were handed out: copy them before a change
}

// A node is one value of a tape, in 16 bytes.
//
//	kind        n             data
//	null        0             0
//	bool        0             0 or 1
//	int         0             two's complement
//	int, big    digits        offset of canonical decimal text, '-' included
//	float       0             IEEE 754 bits
//	complex     16            offset of both parts' bits, big-endian
//	decimal     bytes         offset of what Python's str() prints
//	string      bytes         offset of the text
//	bytes       bytes         offset; a bytearray likewise
//	uuid        16            offset
//	datetime    see time.go; so are date, time and timedelta, the only ones that use x
//	list        items         first child | end of the last one << 32; so are tuples and sets
//	dict        pairs         first key   | end of the last value << 32
//	tagged      2             the tag, then the value; flags hold the name space
type node struct {
	mark
	n    uint32
	data uint64
}

// A mark is what a node begins with. It is a struct of its own because the compiler keeps
// one in registers only if it has at most four fields.
type mark struct {
	kind  Kind
	flags uint8
	x     uint16
}

const (
	flagOwn       = 1 << iota // text is in own, not in src
	flagBig                   // an int outside int64
	flagSurrogate             // a string holds lone surrogates (WTF-8)
	flagTree                  // children are in items

	spaceShift = 4 // where a tagged value's Space is in flags
)

func (n node) first() uint32 { return uint32(n.data) }

// end returns the index after the node at i and its children.
func (n node) end(i uint32) uint32 {
	if !n.kind.IsContainer() {
		return i + 1
	}
	return uint32(n.data >> 32)
}

// children returns the number of direct children of a container.
func (n node) children() uint32 {
	if n.kind.IsDict() {
		return 2 * n.n
	}
	return n.n
}

func (t *tape) text(n node) []byte {
	from := t.src
	if n.flags&flagOwn != 0 {
		from = t.own
	}
	return from[n.data : n.data+uint64(n.n) : n.data+uint64(n.n)]
}
