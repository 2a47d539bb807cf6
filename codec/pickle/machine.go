package pickle

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A machine runs one pickle. Scalars are on its stack as they are; what has values, or may
// change, is an object in a table, to which any number of values may refer. When the pickle
// has stopped, writeOut walks over the dictionary and passes it to the Builder.
type machine struct {
	src []byte
	lim codec.Limits // effective
	b   dict.Builder

	stack []value
	marks []uint32 // how high the stack stood at each MARK
	floor int      // the last of marks: values below it can't be popped
	memo  []value
	puts  int // how many places of memo are taken
	frame int // where the last frame ends

	objects []object
	kids    []value      // the values of objects: see hold
	made    []dict.Value // values of the kinds that are built by one call
	zones   []dict.Zone
	enums   []string
	dtypes  []dtype
	foreign foreign
	own     []byte // texts that are not in src as they are

	keys keyset.Set // of the dictionaries and sets that writeOut is in
	room struct{ items, text int }
	sums []sum // of the objects that have been written out, if any is shared
	low  int   // the fewest levels that were left where one was

	shared bool   // an object is, or may be, in several places
	dry    bool   // writeOut only counts
	at     int    // the opcode in hand
	way    []step // from the fault up to the top
	err    *codec.SyntaxError
}

func (m *machine) reset(src []byte, lim codec.Limits) {
	m.src, m.lim = src, lim
	m.b.Reset(src)
	m.stack, m.marks, m.memo = m.stack[:0], m.marks[:0], m.memo[:0]
	m.floor, m.puts, m.frame = 0, 0, 0
	m.objects, m.made, m.zones, m.own = m.objects[:0], m.made[:0], m.zones[:0], m.own[:0]
	m.enums, m.dtypes = m.enums[:0], m.dtypes[:0]
	if m.foreign.n > 0 {
		m.foreign = foreign{}
	}
	m.kids = append(m.kids[:0], value{}) // no run begins at 0
	m.keys.Reset()
	m.room.text = m.maxText()
	m.way, m.err = m.way[:0], nil
	m.shared, m.dry = false, false
}

// forget drops what a machine that waits for the next pickle must not keep.
func (m *machine) forget() {
	clear(m.made)
	clear(m.zones)
	clear(m.enums)
	if m.src = nil; m.foreign.n > 0 {
		m.foreign = foreign{}
	}
	m.b.Reset(nil)
}

func (m *machine) scratch() int {
	const size = int(unsafe.Sizeof(value{}))
	return size*(cap(m.stack)+cap(m.memo)+cap(m.kids)) + int(unsafe.Sizeof(object{}))*cap(m.objects) +
		int(unsafe.Sizeof(sum{}))*cap(m.sums) + 4*cap(m.marks) + cap(m.own) + m.b.Scratch() + m.keys.Scratch() +
		int(unsafe.Sizeof(dict.Value{}))*cap(m.made) + int(unsafe.Sizeof(dict.Zone{}))*cap(m.zones) +
		int(unsafe.Sizeof(""))*cap(m.enums) + int(unsafe.Sizeof(dtype{}))*cap(m.dtypes)
}

func (m *machine) push(v value) { m.stack = append(m.stack, v) }

// again pushes a value that is also somewhere else.
func (m *machine) again(v value) {
	m.shared = m.shared || v.kind() == kindRef
	m.push(v)
}

// has reports whether there are n values above the last mark.
func (m *machine) has(n int) bool { return len(m.stack)-m.floor >= n || m.underflow(n) }

func (m *machine) underflow(n int) bool {
	want := "a value"
	if n > 1 {
		want = strconv.Itoa(n) + " values"
	}
	return m.fail(fault.Malformed, "want "+want+" on the stack above the last mark")
}

func (m *machine) drop(n int) { m.stack = m.stack[:len(m.stack)-n] }

// top returns the value on top of the stack, or below it.
func (m *machine) top(below int) value { return m.stack[len(m.stack)-1-below] }

// mark takes away the last mark and returns where its values begin on the stack.
func (m *machine) mark() (at int, ok bool) {
	if len(m.marks) == 0 {
		return 0, m.fail(fault.Malformed, "want a mark on the stack")
	}
	at = m.floor
	m.marks = m.marks[:len(m.marks)-1]
	m.floor = 0
	if n := len(m.marks); n > 0 {
		m.floor = int(m.marks[n-1])
	}
	return at, true
}

// object makes an object and returns the value that refers to it.
func (m *machine) object(k dict.Kind, s state) value {
	m.objects = append(m.objects, object{kind: k, state: s, at: uint32(m.at)})
	return scalar(kindRef, uint64(len(m.objects)-1))
}

// hold adds values to an object. They are in kids in runs: a value whose n is the run's
// length and whose data is the place of the next run, and then the values.
func (m *machine) hold(o *object, values []value) {
	if len(values) == 0 {
		return
	}
	o.n += uint32(len(values))
	if o.last != 0 {
		run := &m.kids[o.last]
		if int(o.last+run.n())+1 == len(m.kids) {
			run.head += uint64(len(values)) << 32
			m.kids = append(m.kids, values...)
			return
		}
		run.data = uint64(len(m.kids))
	} else {
		o.first = uint32(len(m.kids))
	}
	o.last = uint32(len(m.kids))
	m.kids = append(append(m.kids, content(kindAbsent, 0, len(values))), values...)
}

// pack replaces the values on the stack from at on by an object with them.
func (m *machine) pack(at int, k dict.Kind, s state) {
	v := m.object(k, s)
	m.hold(&m.objects[v.data], m.stack[at:])
	m.stack = append(m.stack[:at], v)
}

// extend adds the values from at on, on the stack, to the object below them,
// which must be a list, a set or a dictionary as want says.
func (m *machine) extend(at int, want dict.Kind) bool {
	if at <= m.floor {
		return m.fail(fault.Malformed, fmt.Sprintf("want a %s below the mark", want))
	}
	v := m.stack[at-1]
	if v.kind() != kindRef {
		return m.fail(fault.Malformed, fmt.Sprintf("want a %s to add to, got %s", want, m.describe(v)))
	}
	if m.isForeign(v) {
		m.foreignItems(v, want)
		m.stack = m.stack[:at]
		return true
	}
	o := &m.objects[v.data]
	k := o.kind
	if k == dict.KindOrderedDict {
		k = dict.KindDict
	}
	switch {
	case k != want:
		return m.fail(fault.Malformed, fmt.Sprintf("want a %s to add to, got %s", want, m.describe(v)))
	case o.state != growing:
		return m.unsafe(fmt.Sprintf("a %s that was made by a call is added to", want))
	case want == dict.KindDict && (len(m.stack)-at)%2 != 0:
		return m.fail(fault.Malformed, "want keys and values in turn, got a key without a value")
	}
	m.hold(o, m.stack[at:])
	m.stack = m.stack[:at]
	return true
}

// put stores the value on top of the stack in the memo.
func (m *machine) put(i uint64) bool {
	switch {
	case !m.has(1):
		return false
	case i >= uint64(len(m.src)):
		return m.fail(fault.OverLimit, fmt.Sprintf("the memo's index %d is beyond the size of the pickle", i))
	case i == uint64(len(m.memo)):
		m.memo = append(m.memo, m.top(0))
		m.puts++
		return true
	case i > uint64(len(m.memo)):
		m.memo = append(m.memo, make([]value, int(i)+1-len(m.memo))...)
	}
	if m.memo[i].kind() == kindAbsent {
		m.puts++
	}
	m.memo[i] = m.top(0)
	return true
}

// get pushes what was stored in the memo.
func (m *machine) get(i uint64) bool {
	if i >= uint64(len(m.memo)) || m.memo[i].kind() == kindAbsent {
		return m.fail(fault.Malformed, fmt.Sprintf("nothing was stored in the memo as %d", i))
	}
	m.again(m.memo[i])
	return true
}

// index reads a memo's index in decimal digits.
func (m *machine) index(line []byte) (uint64, bool) {
	i, err := strconv.ParseUint(string(line), 10, 63)
	if err != nil {
		return 0, m.fail(fault.Malformed, fmt.Sprintf("want an index in decimal digits, got %.20q", line))
	}
	return i, true
}

// run runs the pickle up to STOP, which must be the last byte. The dictionary is then what
// is left on the stack. The loop is a switch with a case for each opcode; whatever takes
// more than a few lines is a method.
func (m *machine) run() bool {
	for i := 0; i < len(m.src); {
		op := m.src[i]
		m.at = i
		if op == opShortBinUnicode {
			if next := m.shortText(i); next > 0 {
				i = next
				continue
			}
		}
		o := &opcodes[op]
		from, to := i+1, i+1+int(o.size)
		next := to
		if o.form != plain {
			from, to, next = operand(m.src, i, 0)
		}
		if next > len(m.src) || o.form == lines && to-from > maxGlobal {
			return m.cutOff(from, to, next)
		}
		i = next
		ok := true
		switch op {
		case opMark:
			m.floor = len(m.stack)
			m.marks = append(m.marks, uint32(m.floor))
		case opStop:
			return m.stop(i)

		case opNone:
			m.push(scalar(kindNull, 0))
		case opNewTrue:
			m.push(scalar(kindBool, 1))
		case opNewFalse:
			m.push(scalar(kindBool, 0))
		case opBinInt1:
			m.push(scalar(kindInt, uint64(m.src[from])))
		case opBinInt2:
			m.push(scalar(kindInt, uint64(binary.LittleEndian.Uint16(m.src[from:]))))
		case opBinInt:
			m.push(scalar(kindInt, uint64(int32(binary.LittleEndian.Uint32(m.src[from:])))))
		case opLong1, opLong4:
			ok = m.long(from, to)
		case opInt, opLong:
			ok = m.decimalInt(m.src[from:to], op)
		case opBinFloat:
			m.push(scalar(kindFloat, binary.BigEndian.Uint64(m.src[from:])))
		case opFloat:
			ok = m.decimalFloat(m.src[from:to])

		case opShortBinUnicode, opBinUnicode, opBinUnicode8:
			ok = m.text(from, to)
		case opUnicode:
			ok = m.escapedText(m.src[from:to])
		case opShortBinString, opBinString:
			ok = m.python2(from, to)
		case opString:
			ok = m.quotedPython2(m.src[from:to])
		case opShortBinBytes, opBinBytes, opBinBytes8:
			m.push(content(kindBytes, from, to-from))
		case opByteArray8:
			m.push(content(kindByteArray, from, to-from))

		case opEmptyDict:
			m.push(m.object(dict.KindDict, growing))
		case opEmptyList:
			m.push(m.object(dict.KindList, growing))
		case opEmptySet:
			m.push(m.object(dict.KindSet, growing))
		case opEmptyTuple:
			m.push(m.object(dict.KindTuple, sealed))
		case opTuple1, opTuple2, opTuple3:
			n := int(op-opTuple1) + 1
			if ok = m.has(n); ok {
				m.pack(len(m.stack)-n, dict.KindTuple, sealed)
			}
		case opTuple:
			ok = m.packMarked(dict.KindTuple, sealed)
		case opFrozenSet:
			ok = m.packMarked(dict.KindFrozenSet, sealed)
		case opList:
			ok = m.packMarked(dict.KindList, growing)
		case opDict:
			ok = m.packMarked(dict.KindDict, growing)

		case opSetItems:
			ok = m.extendMarked(dict.KindDict)
		case opAppends:
			ok = m.extendMarked(dict.KindList)
		case opAddItems:
			ok = m.extendMarked(dict.KindSet)
		case opSetItem:
			ok = m.has(3) && m.extend(len(m.stack)-2, dict.KindDict)
		case opAppend:
			ok = m.has(2) && m.extend(len(m.stack)-1, dict.KindList)

		case opMemoize:
			ok = m.put(uint64(m.puts))
		case opBinPut:
			ok = m.put(uint64(m.src[from]))
		case opLongBinPut:
			ok = m.put(uint64(binary.LittleEndian.Uint32(m.src[from:])))
		case opPut:
			var at uint64
			if at, ok = m.index(m.src[from:to]); ok {
				ok = m.put(at)
			}
		case opBinGet:
			ok = m.get(uint64(m.src[from]))
		case opLongBinGet:
			ok = m.get(uint64(binary.LittleEndian.Uint32(m.src[from:])))
		case opGet:
			var at uint64
			if at, ok = m.index(m.src[from:to]); ok {
				ok = m.get(at)
			}

		case opPop:
			// A mark with nothing above it is popped itself, as in CPython.
			if len(m.marks) > 0 && len(m.stack) == m.floor {
				_, ok = m.mark()
			} else if ok = m.has(1); ok {
				m.drop(1)
			}
		case opPopMark:
			var at int
			if at, ok = m.mark(); ok {
				m.stack = m.stack[:at]
			}
		case opDup:
			if ok = m.has(1); ok {
				m.again(m.top(0))
			}

		case opProto:
			m.err = protocolFault(m.at, m.src[from])
			ok = m.err == nil
		case opFrame:
			ok = m.beginFrame(next, binary.LittleEndian.Uint64(m.src[from:]))

		case opGlobal:
			ok = m.global(splitGlobal(m.src[from:to]))
		case opStackGlobal:
			ok = m.stackGlobal()
		case opReduce:
			ok = m.has(2) && m.reduce()
		case opNewObj:
			ok = m.has(2) && m.newObject()
		case opBuild:
			ok = m.has(2) && m.build()
		default:
			return m.refuse(op, from, to)
		}
		if !ok {
			return false
		}
	}
	m.at = len(m.src)
	m.err = truncated(len(m.src), "an opcode")
	return false
}

func (m *machine) packMarked(k dict.Kind, s state) bool {
	at, ok := m.mark()
	if !ok {
		return false
	}
	if k == dict.KindDict && (len(m.stack)-at)%2 != 0 {
		return m.fail(fault.Malformed, "want keys and values in turn, got a key without a value")
	}
	m.pack(at, k, s)
	return true
}

func (m *machine) extendMarked(k dict.Kind) bool {
	at, ok := m.mark()
	return ok && m.extend(at, k)
}

func (m *machine) beginFrame(from int, size uint64) bool {
	switch {
	case m.at < m.frame:
		m.err = frameFault(m.at, "a frame within a frame")
	case size > uint64(m.lim.RecordBytes-from):
		m.err = tooLarge(m.lim)
	case size > uint64(len(m.src)-from):
		m.err = truncated(len(m.src), fmt.Sprintf("the frame at byte %d to hold %d bytes", m.at, size))
	default:
		m.frame = from + int(size)
	}
	return m.err == nil
}

// stop checks what the pickle has left on the stack.
func (m *machine) stop(end int) bool {
	switch {
	case m.frame > end:
		m.err = frameFault(m.at, "the frame ends after STOP")
		return false
	case len(m.stack) != 1 || len(m.marks) > 0:
		return m.fail(fault.Malformed, fmt.Sprintf("want one value on the stack, got %d", len(m.stack)))
	case end < len(m.src):
		m.at = end
		m.err = malformed(end, "want nothing after STOP, got "+describeByte(m.src, end))
		return false
	default:
		return true
	}
}
