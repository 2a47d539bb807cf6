package dict

// A Space is the name space of a tagged value's tag.
type Space uint8

// The name spaces.
const (
	CBORTag        Space = 1 + iota // a CBOR tag without a kind of its own; the tag is its number
	CBORSimple                      // a CBOR simple value; the tag is its number, the value null
	MessagePackExt                  // a MessagePack extension; the tag is its number, the value bytes
)

// String returns the name of the space: "CBOR tag".
func (s Space) String() string {
	switch s {
	case CBORTag:
		return "CBOR tag"
	case CBORSimple:
		return "CBOR simple value"
	case MessagePackExt:
		return "MessagePack extension"
	default:
		return "unknown space"
	}
}

// CBORUndefined is the number of the CBOR simple value "undefined".
const CBORUndefined = 23

// Tagged returns a value with a tag, which is an int or a string: a value of a format for
// which Python has no type. Its repr is that of the Python libraries cbor2 and msgpack:
// CBORTag(4000, 'x'), CBORSimpleValue(value=99), undefined, ExtType(code=5, data=b'x').
func Tagged(s Space, tag, v Value) Value {
	t := treeValue(KindTagged, []Value{tag, v}, 2)
	t.flags |= uint8(s) << spaceShift
	return t
}

// Tagged returns the parts of a tagged value. ok is false for any other kind.
func (v Value) Tagged() (s Space, tag, value Value, ok bool) {
	if v.kind != KindTagged {
		return 0, Value{}, Value{}, false
	}
	c := v.children()
	tag = c.next()
	return v.space(), tag, c.next(), true
}

func (v Value) space() Space { return Space(v.flags >> spaceShift) }
