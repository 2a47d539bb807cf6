package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// The globals that a pickle may name. They are numbers: nothing is imported, and
// to call one is a case of reduce.
const (
	globalObject = iota
	globalSet
	globalFrozenSet
	globalBytes
	globalByteArray
	globalComplex
	globalGetattr
	globalEncode
	globalReconstructor
	globalOrderedDict
	globalDateTime
	globalDate
	globalTime
	globalTimeDelta
	globalTimeZone
	globalZoneInfo
	globalZoneUnpickle // what getattr(ZoneInfo, '_unpickle') returns
	globalDecimal
	globalUUID

	// Those of Types.
	globalBuiltin // a type that only a defaultdict's factory may be
	globalCounter
	globalDefaultDict
	globalDeque
	globalPosixPath
	globalPurePosixPath
	globalWindowsPath
	globalPureWindowsPath
	globalFraction
	globalIPv4Address
	globalIPv6Address
	globalIPv4Network
	globalIPv6Network
	globalIPv4Interface
	globalIPv6Interface
	globalDType
	globalScalar
	globalTimestamp
	globalTimedelta
	globalNaT
	globalPytzUTC
	globalPytzOffset
	globalTzUTC
	globalTzOffset
)

// globals has each one's modules, and its name.
var globals = [...]struct{ modules, name string }{
	globalObject:        {"builtins __builtin__", "object"},
	globalSet:           {"builtins __builtin__", "set"},
	globalFrozenSet:     {"builtins __builtin__", "frozenset"},
	globalBytes:         {"builtins __builtin__", "bytes"},
	globalByteArray:     {"builtins __builtin__", "bytearray"},
	globalComplex:       {"builtins __builtin__", "complex"},
	globalGetattr:       {"builtins __builtin__", "getattr"},
	globalEncode:        {"_codecs", "encode"},
	globalReconstructor: {"copyreg copy_reg", "_reconstructor"},
	globalOrderedDict:   {"collections", "OrderedDict"},
	globalDateTime:      {"datetime", "datetime"},
	globalDate:          {"datetime", "date"},
	globalTime:          {"datetime", "time"},
	globalTimeDelta:     {"datetime", "timedelta"},
	globalTimeZone:      {"datetime", "timezone"},
	globalZoneInfo:      {"zoneinfo", "ZoneInfo"},
	globalZoneUnpickle:  {"", "ZoneInfo._unpickle"},
	globalDecimal:       {"decimal", "Decimal"},
	globalUUID:          {"uuid", "UUID"},

	globalBuiltin:         {"", "a type"},
	globalCounter:         {"collections", "Counter"},
	globalDefaultDict:     {"collections", "defaultdict"},
	globalDeque:           {"collections", "deque"},
	globalPosixPath:       {"pathlib pathlib._local", "PosixPath"},
	globalPurePosixPath:   {"pathlib pathlib._local", "PurePosixPath"},
	globalWindowsPath:     {"pathlib pathlib._local", "WindowsPath"},
	globalPureWindowsPath: {"pathlib pathlib._local", "PureWindowsPath"},
	globalFraction:        {"fractions", "Fraction"},
	globalIPv4Address:     {"ipaddress", "IPv4Address"},
	globalIPv6Address:     {"ipaddress", "IPv6Address"},
	globalIPv4Network:     {"ipaddress", "IPv4Network"},
	globalIPv6Network:     {"ipaddress", "IPv6Network"},
	globalIPv4Interface:   {"ipaddress", "IPv4Interface"},
	globalIPv6Interface:   {"ipaddress", "IPv6Interface"},
	globalDType:           {"numpy", "dtype"},
	globalScalar:          {"numpy.core.multiarray numpy._core.multiarray", "scalar"},
	globalTimestamp:       {"pandas._libs.tslibs.timestamps", "_unpickle_timestamp"},
	globalTimedelta:       {"pandas._libs.tslibs.timedeltas", "_timedelta_unpickle"},
	globalNaT:             {"pandas._libs.tslibs.nattype", "_nat_unpickle"},
	globalPytzUTC:         {"pytz", "_UTC"},
	globalPytzOffset:      {"pytz", "FixedOffset"},
	globalTzUTC:           {"dateutil.tz.tz dateutil.tz", "tzutc"},
	globalTzOffset:        {"dateutil.tz.tz dateutil.tz", "tzoffset"},
}

// allowlist has the number of each global by its module, a line feed and its
// name.
var allowlist = func() map[string]uint64 {
	list := make(map[string]uint64)
	for i, g := range globals {
		for _, module := range strings.Fields(g.modules) {
			list[module+"\n"+g.name] = uint64(i)
		}
	}
	for _, name := range builtinTypes {
		for _, module := range []string{"builtins", "__builtin__"} {
			if _, known := list[module+"\n"+name]; !known {
				list[module+"\n"+name] = globalBuiltin
			}
		}
	}
	list["pandas._libs.tslibs.timestamps\nTimestamp"] = globalTimestamp // of pandas 1
	list["pandas._libs.tslibs.nattype\n__nat_unpickle"] = globalNaT
	return list
}()

// global pushes a global that is in the allowlist.
func (m *machine) global(module, name []byte) bool {
	var buf [64]byte
	key := append(append(append(buf[:0], module...), '\n'), name...)
	if g, ok := allowlist[string(key)]; ok {
		m.push(scalar(kindGlobal, g))
		return true
	}
	if m.pushEnum(string(key)) {
		return true
	}
	m.pushForeign(module, name)
	return true
}

func (m *machine) stackGlobal() bool {
	if !m.has(2) {
		return false
	}
	module, name := m.top(1), m.top(0)
	switch {
	case module.kind() != kindText || name.kind() != kindText:
		return m.fail(fault.Malformed, fmt.Sprintf("want the names of a module and a global, got %s and %s", m.describe(module), m.describe(name)))
	case module.n()+name.n() > maxGlobal:
		m.err = globalTooLong(m.at, opStackGlobal)
		return false
	}
	m.drop(2)
	return m.global(m.bytesOf(module), m.bytesOf(name))
}

// itemsOf returns the values of a tuple or list that was made at once.
func (m *machine) itemsOf(o *object) []value {
	if o.n == 0 {
		return nil
	}
	return m.kids[o.first+1 : o.first+1+o.n]
}

// call takes a callable and its arguments from the stack.
func (m *machine) call() (callee value, args []value, ok bool) {
	callee, tuple := m.top(1), m.top(0)
	switch {
	case tuple.kind() != kindRef || m.objects[tuple.data].kind != dict.KindTuple:
		m.fail(fault.Malformed, "want a tuple of arguments, got "+m.describe(tuple))
		return callee, nil, false
	case callee.kind() == kindEnum:
		m.drop(2)
		return callee, m.itemsOf(&m.objects[tuple.data]), true
	case callee.kind() != kindGlobal:
		m.unsafe(m.describe(callee) + " can't be called")
		return callee, nil, false
	}
	m.drop(2)
	return callee, m.itemsOf(&m.objects[tuple.data]), true
}

// reduce does what CPython's call of a global does, for the arguments that its
// picklers write.
func (m *machine) reduce() bool {
	if m.foreignCall(called) {
		return true
	}
	callee, args, ok := m.call()
	if !ok || !m.afford(args) {
		return false
	}
	if callee.kind() == kindEnum {
		if !m.kindsAre(args, kindInt) && !m.kindsAre(args, kindText) {
			return m.unsafe("an Enum is not called in the way that CPython pickles it")
		}
		m.push(args[0]) // the member's value
		return true
	}
	switch g := callee.data; g {
	case globalSet, globalFrozenSet:
		ok = m.setOf(g, args)
	case globalBytes:
		if ok = len(args) == 0; ok {
			m.push(scalar(kindBytes, 0))
		}
	case globalByteArray:
		ok = m.byteArray(args)
	case globalEncode:
		if ok = m.kindsAre(args, kindText, kindText) && string(m.bytesOf(args[1])) == "latin1"; ok {
			return m.encode(args[0], kindBytes)
		}
	case globalComplex:
		if ok = m.kindsAre(args, kindFloat, kindFloat); ok {
			m.pushMade(dict.Complex(complex(math.Float64frombits(args[0].data), math.Float64frombits(args[1].data))))
		}
	case globalOrderedDict:
		if ok = len(args) == 0; ok {
			m.push(m.object(dict.KindOrderedDict, growing))
		}
	case globalReconstructor:
		if len(args) == 3 && m.kindsAre(args[:2], kindGlobal, kindGlobal) && args[0].data == globalTzUTC {
			m.pushZone(dict.UTC())
			return true
		}
		if ok = m.kindsAre(args, kindGlobal, kindGlobal, kindNull) && args[0].data == globalUUID && args[1].data == globalObject; ok {
			m.push(m.object(dict.KindUUID, unbuilt))
		}
	case globalGetattr:
		switch {
		case m.kindsAre(args, kindEnum, kindText): // a member, by Python 3.11
			ok = m.pushEnum(m.enums[args[0].data] + "\n" + string(m.bytesOf(args[1])))
		case m.kindsAre(args, kindGlobal, kindText) && args[0].data == globalZoneInfo && string(m.bytesOf(args[1])) == "_unpickle":
			m.push(scalar(kindGlobal, globalZoneUnpickle))
		default:
			ok = false
		}
	case globalZoneUnpickle:
		if ok = m.kindsAre(args, kindText, kindInt) || m.kindsAre(args, kindText, kindBool); ok {
			m.pushZone(dict.KeyZone(string(m.bytesOf(args[0]))))
		}
	case globalTimeZone:
		ok = m.timeZone(args)
	case globalDateTime, globalDate, globalTime:
		ok = m.time(g, args)
	case globalTimeDelta:
		ok = m.timeDelta(args)
	case globalDecimal:
		if ok = m.kindsAre(args, kindText); ok {
			var v dict.Value
			var err error
			if v, err = dict.Decimal(string(m.bytesOf(args[0]))); err != nil {
				return m.fail(fault.Malformed, fmt.Sprintf("want a decimal's text, got %.40q", m.bytesOf(args[0])))
			}
			m.pushMade(v)
		}
	default:
		ok = m.everyday(g, args)
	}
	if !ok && m.err == nil {
		return m.unsafe(globals[callee.data].name + " is not called in the way that CPython pickles it")
	}
	return ok
}

// afford counts the texts that a call may copy: the arguments can be in the memo,
// and the call repeated.
func (m *machine) afford(args []value) bool {
	for _, v := range args[:min(len(args), 3)] { // no call has more
		if v.kind() == kindText {
			m.room.text -= int(v.n())
		}
	}
	return m.room.text >= 0 || m.tooMuchCalled()
}

func (m *machine) tooMuchCalled() bool {
	return m.fail(fault.OverLimit, fmt.Sprintf("the texts that are handed to calls have more than %d bytes", m.maxText()))
}

func (m *machine) kindsAre(args []value, kinds ...kind) bool {
	return slices.EqualFunc(args, kinds, func(v value, k kind) bool { return v.kind() == k })
}

func (m *machine) pushMade(v dict.Value) {
	m.made = append(m.made, v)
	m.push(scalar(kindMade, uint64(len(m.made)-1)))
}

func (m *machine) pushZone(z dict.Zone) {
	m.zones = append(m.zones, z)
	m.push(scalar(kindZone, uint64(len(m.zones)-1)))
}

// setOf makes a set of the current values of a list. It shares the list's runs, and is
// sealed.
func (m *machine) setOf(g uint64, args []value) bool {
	if !m.kindsAre(args, kindRef) || m.objects[args[0].data].kind != dict.KindList {
		return false
	}
	k := dict.KindSet
	if g == globalFrozenSet {
		k = dict.KindFrozenSet
	}
	list := m.objects[args[0].data]
	v := m.object(k, sealed)
	o := &m.objects[v.data]
	o.n, o.first = list.n, list.first
	m.push(v)
	return true
}

func (m *machine) byteArray(args []value) bool {
	switch {
	case len(args) == 0:
		m.push(scalar(kindByteArray, 0))
	case m.kindsAre(args, kindBytes):
		v := args[0]
		v.head += uint64(kindByteArray - kindBytes)
		m.push(v)
	case m.kindsAre(args, kindText, kindText) && string(m.bytesOf(args[1])) == "latin-1": // before 3.8
		return m.encode(args[0], kindByteArray)
	default:
		return false
	}
	return true
}

// encode pushes a string as bytes in Latin-1.
func (m *machine) encode(s value, k kind) bool {
	at := len(m.own)
	if !m.latin1(m.bytesOf(s)) {
		return false
	}
	m.pushOwn(k, at, false)
	return true
}

func (m *machine) timeDelta(args []value) bool {
	if !m.kindsAre(args, kindInt, kindInt, kindInt) {
		return false
	}
	days, seconds, micros := int64(args[0].data), int64(args[1].data), int64(args[2].data)
	if days < -999_999_999 || days > 999_999_999 || seconds < 0 || seconds >= 86_400 || micros < 0 || micros >= 1_000_000 {
		return false
	}
	t := dict.TimeDelta{Days: int(days), Seconds: int(seconds), Microseconds: int(micros)}
	v, err := t.Value()
	if err != nil {
		return false
	}
	m.pushMade(v)
	return true
}

// timeZone pushes timezone(timedelta), or timezone(timedelta, name).
func (m *machine) timeZone(args []value) bool {
	if !m.kindsAre(args, kindMade) && !m.kindsAre(args, kindMade, kindText) {
		return false
	}
	t, ok := m.made[args[0].data].TimeDelta()
	if !ok || t.Days < -1 || t.Days > 0 {
		return false
	}
	offset := time.Duration(t.Days)*24*time.Hour + time.Duration(t.Seconds)*time.Second + time.Duration(t.Microseconds)*time.Microsecond
	if len(args) == 2 {
		m.pushZone(dict.NamedFixedZone(offset, string(m.bytesOf(args[1]))))
	} else {
		m.pushZone(dict.FixedZone(offset))
	}
	return true
}

// foldBit is set in the state of a datetime or time whose fold is 1.
const foldBit = 0x80

// time pushes a datetime, date or time from its state, as bytes, and perhaps a
// zone. The fold is the highest bit of a datetime's month and of a time's hour.
func (m *machine) time(g uint64, args []value) bool {
	if !m.kindsAre(args, kindBytes) && (g == globalDate || !m.kindsAre(args, kindBytes, kindZone)) {
		return false
	}
	var t dict.DateTime
	state := m.bytesOf(args[0])
	if want := map[uint64]int{globalDateTime: 10, globalDate: 4, globalTime: 6}[g]; len(state) != want {
		return false
	}
	if g != globalTime {
		t.Date = dict.Date{Year: int(binary.BigEndian.Uint16(state)), Month: int(state[2]), Day: int(state[3])}
		if state = state[4:]; g == globalDateTime {
			t.Fold = t.Month&foldBit != 0
			t.Month &^= foldBit
		}
	}
	if g != globalDate {
		t.Hour, t.Minute, t.Second = int(state[0]), int(state[1]), int(state[2])
		t.Microsecond = int(state[3])<<16 | int(state[4])<<8 | int(state[5])
		if g == globalTime {
			t.Fold = t.Hour&foldBit != 0
			t.Hour &^= foldBit
		}
		if len(args) == 2 {
			t.Zone = m.zones[args[1].data]
		}
	}
	var v dict.Value
	var err error
	switch g {
	case globalDateTime:
		v, err = t.Value()
	case globalDate:
		v, err = t.Date.Value()
	default:
		v, err = t.TimeOfDay.Value()
	}
	if err != nil {
		return m.fail(fault.Malformed, strings.TrimPrefix(err.Error(), "dict: "))
	}
	m.pushMade(v)
	return true
}

// newObject makes a UUID without its number, the only thing that CPython makes
// by NEWOBJ here.
func (m *machine) newObject() bool {
	if m.foreignCall(made) {
		return true
	}
	callee, args, ok := m.call()
	switch {
	case !ok:
		return false
	case callee.kind() != kindGlobal:
		return m.unsafe("an Enum is not made in the way that CPython pickles it")
	case callee.data != globalUUID || len(args) > 0:
		return m.unsafe(globals[callee.data].name + " is not made in the way that CPython pickles it")
	}
	m.push(m.object(dict.KindUUID, unbuilt))
	return true
}

// build gives a UUID its number: the state is {'int': number}, with or without
// 'is_safe'.
func (m *machine) build() bool {
	v, state := m.top(1), m.top(0)
	if m.isForeign(v) {
		m.foreignState(v, state)
		return true
	}
	if v.kind() == kindDType {
		if !m.buildDType(v, state) {
			return m.unsafe("the state of a dtype is not what numpy pickles")
		}
		m.drop(1)
		return true
	}
	if v.kind() != kindRef || m.objects[v.data].state != unbuilt ||
		state.kind() != kindRef || m.objects[state.data].kind != dict.KindDict {
		return m.unsafe(m.describe(v) + " has no state to set")
	}
	m.drop(1)
	o, s := &m.objects[v.data], &m.objects[state.data]
	number, known := value{}, uint32(0)
	for at := s.first; at != 0; at = uint32(m.kids[at].data) {
		if known += m.kids[at].n(); known > 4 {
			break
		}
		for pair := m.kids[at+1 : at+1+m.kids[at].n()]; len(pair) > 0; pair = pair[2:] {
			key, val := pair[0], pair[1]
			switch {
			case key.kind() != kindText:
				known = 5
			case string(m.bytesOf(key)) == "int" && number.kind() == kindAbsent:
				number = val
			case string(m.bytesOf(key)) == "is_safe" && (val.kind() == kindInt || val.kind() == kindNull):
			default:
				known = 5
			}
		}
	}
	u, ok := m.uuid(number)
	if !ok || known > 4 {
		return m.unsafe("the state of a UUID is not what CPython pickles")
	}
	o.first = uint32(len(m.own)) // a UUID has no values: its place in own
	o.state = sealed
	m.own = append(m.own, u[:]...)
	return true
}

// uuid returns an int as 16 bytes.
func (m *machine) uuid(v value) (u [16]byte, ok bool) {
	switch v.kind() {
	case kindInt:
		binary.BigEndian.PutUint64(u[8:], v.data)
		return u, int64(v.data) >= 0
	case kindLong:
		b := m.bytesOf(v)
		if b[len(b)-1]&0x80 != 0 || len(b) > 17 || len(b) == 17 && b[16] != 0 {
			return u, false
		}
		for i, c := range b[:min(len(b), 16)] {
			u[15-i] = c
		}
		return u, true
	case kindDigits:
		if v.n() > 39 { // 2**128-1 has 39 digits
			return u, false
		}
		i, ok := new(big.Int).SetString(string(m.bytesOf(v)), 10)
		if !ok || i.Sign() < 0 || i.BitLen() > 128 {
			return u, false
		}
		i.FillBytes(u[:])
		return u, true
	default:
		return u, false
	}
}
