package pickle

import "github.com/dictwire/dictwire/dict"

// A value is an entry of the stack, the memo or an object: its content, or where that is. It
// is two words, so that it is copied in registers.
//
//	head  n 32 bits | odd 1 | own 1 | kind 8
type value struct{ head, data uint64 }

const (
	kindMask = 1<<8 - 1

	ownBit = 1 << 8 // the text is in machine.own, not in the pickle
	oddBit = 1 << 9 // a text has lone surrogates
)

func scalar(k kind, data uint64) value { return value{uint64(k), data} }

// content returns a value of n bytes at from.
func content(k kind, from, n int) value { return value{uint64(k) | uint64(n)<<32, uint64(from)} }

func (v value) kind() kind { return kind(v.head) }

func (v value) own() bool { return v.head&ownBit != 0 }

func (v value) odd() bool { return v.head&oddBit != 0 }

func (v value) n() uint32 { return uint32(v.head >> 32) }

// A kind says what a value's n and data are.
type kind uint8

const (
	kindAbsent kind = iota // of a memo's place that nothing was put into
	kindNull               //
	kindBool               // data: 0 or 1
	kindInt                // data: two's complement
	kindLong               // an int: n bytes in the pickle at data, two's complement, little-endian
	kindDigits             // an int: n digits in own at data
	kindFloat              // data: IEEE 754 bits
	kindText               // n bytes at data; so are the next two
	kindBytes              //
	kindByteArray
	kindMade   // data: the number of a dict.Value
	kindRef    // data: the number of an object
	kindZone   // data: the number of a zone
	kindGlobal // data: its number in the allowlist
	kindEnum   // data: the number of an enumeration's name
	kindDType  // data: the number of a dtype
)

// An object is a container, or a UUID.
type object struct {
	kind  dict.Kind
	state state
	n     uint32 // how many values it has; keys and values both count
	first uint32 // its first and last run of kids; 0: none
	last  uint32
	at    uint32 // the opcode that made it
}

// A state is how far an object has come.
type state uint8

const (
	growing state = iota // it can be added to
	sealed               // it can't
	unbuilt              // a UUID that BUILD has not given its number
	open                 // writeOut is in it
)
