package pickle

import (
	"fmt"
	"strconv"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// fail makes the machine's error, for the opcode in hand. It returns false.
func (m *machine) fail(code fault.Code, msg string) bool {
	if m.at < len(m.src) {
		if op := opcodes[m.src[m.at]].name; op != "" {
			msg = op + ": " + msg
		}
	}
	m.err = &codec.SyntaxError{Codec: name, Code: code, Offset: m.at, Msg: msg}
	return false
}

const hintData = "send plain data: built-in types, datetime, Decimal, UUID, and what docs/formats.md lists under Pickles"

// unsafe fails because of something that CPython never writes for plain data.
func (m *machine) unsafe(msg string) bool {
	m.fail(fault.UnsafePickle, msg)
	m.err.Hint = hintData
	return false
}

// refuse fails because of an opcode that is not supported, or does not exist.
func (m *machine) refuse(op byte, from, to int) bool {
	hint := ""
	switch op {
	case opPersID, opBinPersID:
		hint = "a persistent id stands for something outside the pickle; send the dictionary whole"
		m.unsafe("persistent ids are not read")
	case opExt1, opExt2, opExt4:
		hint = "copyreg's extension codes are known to their program alone"
		m.unsafe("the extension registry is not read")
	case opNextBuffer, opReadOnlyBuffer:
		hint = "pickle without buffer_callback"
		m.unsafe("out-of-band buffers are not read")
	case opInst:
		if m.global(splitGlobal(m.src[from:to])) {
			m.unsafe("instances of Python 2's classes are not read")
		}
	case opObj:
		m.unsafe("instances of Python 2's classes are not read")
	case opNewObjEx:
		m.unsafe("CPython writes it for no type that is read")
	default:
		m.err = noOpcode(m.src, m.at)
	}
	if hint != "" {
		m.err.Hint = hint
	}
	return false
}

// cutOff fails because the operand src[from:to] of the opcode in hand is not all
// there.
func (m *machine) cutOff(from, to, next int) bool {
	switch op := m.src[m.at]; {
	case opcodes[op].form == lines && to-from > maxGlobal:
		m.err = globalTooLong(m.at, op)
	case next > m.lim.RecordBytes && next > len(m.src)+1:
		m.err = tooLarge(m.lim)
	default:
		m.err = truncated(len(m.src), wanted(m.src, m.at))
	}
	return false
}

func malformed(offset int, msg string) *codec.SyntaxError {
	return &codec.SyntaxError{Codec: name, Code: fault.Malformed, Offset: offset, Msg: msg}
}

func truncated(offset int, want string) *codec.SyntaxError {
	return &codec.SyntaxError{Codec: name, Code: fault.Truncated, Offset: offset, Msg: "want " + want + ", got the end"}
}

func tooLarge(lim codec.Limits) *codec.SyntaxError {
	return &codec.SyntaxError{Codec: name, Code: fault.TooLarge, Offset: lim.RecordBytes, Msg: wording.Bytes(lim.RecordBytes)}
}

func frameFault(offset int, msg string) *codec.SyntaxError {
	return malformed(offset, msg)
}

func globalTooLong(offset int, op byte) *codec.SyntaxError {
	return malformed(offset, fmt.Sprintf("%s: the name has more than %d bytes", opcodes[op].name, maxGlobal))
}

// protocolFault returns the error of a protocol that is not known.
func protocolFault(offset int, version byte) *codec.SyntaxError {
	if version <= newestProtocol {
		return nil
	}
	err := malformed(offset, fmt.Sprintf("PROTO: pickle protocol %d is not known", version))
	err.Hint = "pickle with protocol 5 or less"
	return err
}

// noOpcode returns the error of a byte that is no opcode.
func noOpcode(buf []byte, i int) *codec.SyntaxError {
	err := malformed(i, "want an opcode, got "+describeByte(buf, i))
	if i == 0 {
		err.Hint = "send pickle.dumps(dictionary)"
	}
	return err
}

func describeByte(buf []byte, i int) string {
	if c := buf[i]; c > ' ' && c < 0x7F {
		return strconv.QuoteRune(rune(c))
	}
	return fmt.Sprintf("byte 0x%02x", buf[i])
}

// describe names a value.
func (m *machine) describe(v value) string {
	switch v.kind() {
	case kindNull:
		return "None"
	case kindBool:
		return "a bool"
	case kindInt, kindLong, kindDigits:
		return "an int"
	case kindFloat:
		return "a float"
	case kindText:
		return "a string"
	case kindBytes:
		return "bytes"
	case kindByteArray:
		return "a bytearray"
	case kindMade:
		return "a " + m.made[v.data].Kind().String()
	case kindZone:
		return "a time zone"
	case kindGlobal:
		return globals[v.data].name
	case kindEnum:
		return "an enumeration"
	case kindDType:
		return "a dtype"
	default:
		if m.isForeign(v) {
			return "what is refused"
		}
		switch k := m.objects[v.data].kind; k {
		case dict.KindOrderedDict:
			return "an " + k.String()
		default:
			return "a " + k.String()
		}
	}
}
