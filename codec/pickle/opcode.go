package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
)

// The opcodes, by the names of CPython's pickletools.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opPersID         = 'P'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opString         = 'S'
	opBinString      = 'T'
	opShortBinString = 'U'
	opUnicode        = 'V'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opEmptyDict      = '}'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opEmptyList      = ']'
	opObj            = 'o'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opEmptyTuple     = ')'
	opSetItems       = 'u'
	opBinFloat       = 'G'

	// Protocol 2.
	opProto    = 0x80
	opNewObj   = 0x81
	opExt1     = 0x82
	opExt2     = 0x83
	opExt4     = 0x84
	opTuple1   = 0x85
	opTuple2   = 0x86
	opTuple3   = 0x87
	opNewTrue  = 0x88
	opNewFalse = 0x89
	opLong1    = 0x8A
	opLong4    = 0x8B

	// Protocol 3.
	opBinBytes      = 'B'
	opShortBinBytes = 'C'

	// Protocol 4.
	opShortBinUnicode = 0x8C
	opBinUnicode8     = 0x8D
	opBinBytes8       = 0x8E
	opEmptySet        = 0x8F
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95

	// Protocol 5.
	opByteArray8     = 0x96
	opNextBuffer     = 0x97
	opReadOnlyBuffer = 0x98
)

const newestProtocol = 5

// A form is how an opcode's operand is written.
type form uint8

const (
	plain   form = iota // size bytes, often none
	counted             // a length of size bytes, little-endian, and that many bytes
	line                // up to a line feed
	lines               // up to the second line feed, at most maxGlobal bytes
)

// An opcode is what has to be known of one to step over it.
type opcode struct {
	name string // "" for a byte that is not an opcode
	form form
	size uint8
}

var opcodes = [256]opcode{
	opMark: {name: "MARK"}, opStop: {name: "STOP"}, opPop: {name: "POP"}, opPopMark: {name: "POP_MARK"},
	opDup: {name: "DUP"}, opFloat: {"FLOAT", line, 0}, opInt: {"INT", line, 0}, opBinInt: {"BININT", plain, 4},
	opBinInt1: {"BININT1", plain, 1}, opLong: {"LONG", line, 0}, opBinInt2: {"BININT2", plain, 2},
	opNone: {name: "NONE"}, opPersID: {"PERSID", line, 0}, opBinPersID: {name: "BINPERSID"},
	opReduce: {name: "REDUCE"}, opString: {"STRING", line, 0}, opBinString: {"BINSTRING", counted, 4},
	opShortBinString: {"SHORT_BINSTRING", counted, 1}, opUnicode: {"UNICODE", line, 0},
	opBinUnicode: {"BINUNICODE", counted, 4}, opAppend: {name: "APPEND"}, opBuild: {name: "BUILD"},
	opGlobal: {"GLOBAL", lines, 0}, opDict: {name: "DICT"}, opEmptyDict: {name: "EMPTY_DICT"},
	opAppends: {name: "APPENDS"}, opGet: {"GET", line, 0}, opBinGet: {"BINGET", plain, 1},
	opInst: {"INST", lines, 0}, opLongBinGet: {"LONG_BINGET", plain, 4}, opList: {name: "LIST"},
	opEmptyList: {name: "EMPTY_LIST"}, opObj: {name: "OBJ"}, opPut: {"PUT", line, 0},
	opBinPut: {"BINPUT", plain, 1}, opLongBinPut: {"LONG_BINPUT", plain, 4}, opSetItem: {name: "SETITEM"},
	opTuple: {name: "TUPLE"}, opEmptyTuple: {name: "EMPTY_TUPLE"}, opSetItems: {name: "SETITEMS"},
	opBinFloat: {"BINFLOAT", plain, 8},

	opProto: {"PROTO", plain, 1}, opNewObj: {name: "NEWOBJ"}, opExt1: {"EXT1", plain, 1},
	opExt2: {"EXT2", plain, 2}, opExt4: {"EXT4", plain, 4}, opTuple1: {name: "TUPLE1"},
	opTuple2: {name: "TUPLE2"}, opTuple3: {name: "TUPLE3"}, opNewTrue: {name: "NEWTRUE"},
	opNewFalse: {name: "NEWFALSE"}, opLong1: {"LONG1", counted, 1}, opLong4: {"LONG4", counted, 4},

	opBinBytes: {"BINBYTES", counted, 4}, opShortBinBytes: {"SHORT_BINBYTES", counted, 1},

	opShortBinUnicode: {"SHORT_BINUNICODE", counted, 1}, opBinUnicode8: {"BINUNICODE8", counted, 8},
	opBinBytes8: {"BINBYTES8", counted, 8}, opEmptySet: {name: "EMPTY_SET"}, opAddItems: {name: "ADDITEMS"},
	opFrozenSet: {name: "FROZENSET"}, opNewObjEx: {name: "NEWOBJ_EX"}, opStackGlobal: {name: "STACK_GLOBAL"},
	opMemoize: {name: "MEMOIZE"}, opFrame: {"FRAME", plain, 8},

	opByteArray8: {"BYTEARRAY8", counted, 8}, opNextBuffer: {name: "NEXT_BUFFER"},
	opReadOnlyBuffer: {name: "READONLY_BUFFER"},
}

// operand finds the operand of the opcode at buf[i] that has one: buf[from:to]. The next
// opcode is at next, which is beyond len(buf), as far as that is known, if buf does not
// have all of it. There is no relevant line feed before buf[seen].
func operand(buf []byte, i, seen int) (from, to, next int) {
	op := &opcodes[buf[i]]
	from = i + 1
	switch op.form {
	case plain:
		to = from + int(op.size)
		return from, to, to
	case counted:
		from += int(op.size)
		if from > len(buf) {
			return from, from, from
		}
		var n uint64
		switch op.size {
		case 1:
			n = uint64(buf[i+1])
		case 4:
			n = uint64(binary.LittleEndian.Uint32(buf[i+1:]))
		default:
			n = binary.LittleEndian.Uint64(buf[i+1:])
		}
		to = from + int(min(n, uint64(endless-from)))
		return from, to, to
	case line, lines: // see below
	}
	to = max(from, min(seen, len(buf)))
	for n := op.form - line; ; n-- {
		feed := bytes.IndexByte(buf[to:], '\n')
		if feed < 0 {
			return from, len(buf), len(buf) + 1
		}
		to += feed
		if n == 0 {
			return from, to, to + 1
		}
		to++
	}
}

// maxGlobal is how long the operand of a GLOBAL or INST may be.
const maxGlobal = 1024

// endless is the end of an operand that is too large for any record.
const endless = math.MaxInt32
