package pickle

import (
	_ "embed"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
)

// A Type is a type of Python that is read as plain data, by its name and without a
// call.
type Type struct{ Name, Becomes string }

// Types returns the types that are read as something plainer, in the order of
// docs/formats.md. They are written as that.
func Types() []Type {
	return []Type{
		{"collections.Counter", "dict"},
		{"collections.defaultdict, whose factory is a built-in type", "dict, without the factory"},
		{"collections.deque", "list, without maxlen"},
		{"members of the enumerations of the standard library: http.HTTPStatus, signal.Signals, socket.AddressFamily, …", "their value: an int or a string. Python before 3.11 pickles some by name; these have their values on Linux"},
		{"pathlib.Path and its kin", "string, as str() has it"},
		{"fractions.Fraction", "string: '1/3'"},
		{"ipaddress.IPv4Address, IPv6Address, and their networks and interfaces", "string"},
		{"numpy: scalars of bool, int, uint, float, complex, str and bytes", "bool, int, float, complex, string, bytes"},
		{"numpy.datetime64", "datetime without a zone, to the nanosecond; NaT is null"},
		{"numpy.timedelta64 in weeks to nanoseconds", "timedelta; NaT is null"},
		{"pandas.Timestamp without a zone, in UTC or with an offset", "datetime, to the nanosecond"},
		{"pandas.Timedelta, pandas.NaT", "timedelta, null"},
		{"the UTC and fixed offsets of pytz and dateutil, in a datetime or time", "datetime.timezone"},
	}
}

// builtinTypes are the names of types that a defaultdict may make its values of.
var builtinTypes = strings.Fields("int long float bool str unicode complex list tuple dict set frozenset bytes bytearray")

//go:embed enums.txt
var enumsText string

// enums returns the value of each member of an enumeration, by "module\nClass\nMEMBER" or,
// if it is pickled like that, "module\nMEMBER"; and the enumerations, by "module\nClass".
var enums = sync.OnceValue(func() map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(enumsText) {
		fields := strings.Fields(line)
		class, isGlobal := strings.CutSuffix(fields[0], "!")
		dot := strings.LastIndexByte(class, '.')
		module := class[:dot]
		class = module + "\n" + class[dot+1:]
		all[class] = ""
		for _, member := range fields[1:] {
			name, value, _ := strings.Cut(member, "=")
			all[class+"\n"+name] = value
			if isGlobal {
				all[module+"\n"+name] = value
			}
		}
	}
	return all
})

// pushEnum pushes what enums has for a name, if it has anything.
func (m *machine) pushEnum(name string) bool {
	value, ok := enums()[name]
	switch {
	case !ok:
		return false
	case value == "":
		m.enums = append(m.enums, name)
		m.push(scalar(kindEnum, uint64(len(m.enums)-1)))
	case value[0] == '\'':
		m.pushString(value[1 : len(value)-1])
	default:
		i, _ := strconv.ParseInt(value, 10, 64) // the table's
		m.push(scalar(kindInt, uint64(i)))
	}
	return true
}

func (m *machine) pushString(s string) {
	at := len(m.own)
	m.own = append(m.own, s...)
	m.pushOwn(kindText, at, !utf8.ValidString(s))
}

// sealedCopy pushes an object of kind k with the current values of another one.
func (m *machine) sealedCopy(k dict.Kind, of value) {
	from := m.objects[of.data]
	v := m.object(k, sealed)
	o := &m.objects[v.data]
	o.n, o.first = from.n, from.first
	m.push(v)
}

// everyday does what the calls of the types in Types do, for the arguments that their
// pickles have.
func (m *machine) everyday(g uint64, args []value) bool {
	switch g {
	case globalCounter, globalDefaultDict, globalDeque:
		return m.collection(g, args)
	case globalPosixPath, globalPurePosixPath, globalWindowsPath, globalPureWindowsPath:
		return m.pathText(g, args)
	case globalFraction:
		return m.fraction(args)
	case globalIPv4Address, globalIPv6Address:
		if m.kindsAre(args, kindText) {
			m.push(args[0])
			return true
		}
		return len(args) == 1 && m.address(g, args[0])
	case globalIPv4Network, globalIPv6Network, globalIPv4Interface, globalIPv6Interface:
		if !m.kindsAre(args, kindText) {
			return false
		}
		m.push(args[0])
	case globalDType:
		return m.dtype(args)
	case globalScalar:
		return m.numpyScalar(args)
	case globalTimestamp:
		return m.timestamp(args)
	case globalTimedelta:
		if len(args) != 2 || args[1].kind() != kindInt {
			return false
		}
		n, ok := m.int64Of(args[0])
		unit, known := pandasUnits[args[1].data]
		return ok && known && m.pushDelta(n, unit)
	case globalNaT:
		if len(args) > 1 {
			return false
		}
		m.push(scalar(kindNull, 0))
	case globalPytzUTC, globalTzUTC:
		if len(args) != 0 {
			return false
		}
		m.pushZone(dict.UTC())
	case globalPytzOffset:
		if !m.kindsAre(args, kindInt) || int64(args[0].data) <= -1440 || int64(args[0].data) >= 1440 {
			return false
		}
		m.pushZone(dict.FixedZone(time.Duration(int64(args[0].data)) * time.Minute))
	case globalTzOffset:
		return m.dateutilOffset(args)
	default:
		return false
	}
	return true
}

// collection pushes the container that a type of collections begins with.
func (m *machine) collection(g uint64, args []value) bool {
	switch {
	case g == globalCounter && m.kindsAre(args, kindRef) && m.objects[args[0].data].kind == dict.KindDict:
		m.sealedCopy(dict.KindDict, args[0])
	case g == globalCounter && len(args) == 0,
		g == globalDefaultDict && (len(args) == 0 || m.kindsAre(args, kindNull) || m.kindsAre(args, kindGlobal) && isFactory(args[0].data)):
		m.push(m.object(dict.KindDict, growing))
	case g == globalDeque && (len(args) == 0 || (len(args) == 1 || len(args) == 2 && args[1].kind() == kindInt) && m.isEmptyTuple(args[0])):
		m.push(m.object(dict.KindList, growing))
	default:
		return false
	}
	return true
}

func (m *machine) isEmptyTuple(v value) bool {
	return v.kind() == kindRef && m.objects[v.data].kind == dict.KindTuple && m.objects[v.data].n == 0
}

// pathText pushes the text of a path, as str has it, from its parts.
func (m *machine) pathText(g uint64, args []value) bool {
	parts := make([]string, 0, min(len(args), 16))
	for _, a := range args {
		if a.kind() != kindText {
			return false
		}
		if m.room.text -= int(a.n()) + 8; m.room.text < 0 {
			return m.tooMuchCalled()
		}
		parts = append(parts, string(m.bytesOf(a)))
	}
	if g == globalPosixPath || g == globalPurePosixPath {
		m.pushString(posixPath(parts))
	} else {
		m.pushString(windowsPath(parts))
	}
	return true
}

// fraction pushes the text of a fraction: its argument, or that of two ints.
func (m *machine) fraction(args []value) bool {
	if m.kindsAre(args, kindText) {
		m.push(args[0])
		return true
	}
	if len(args) != 2 {
		return false
	}
	num, ok := m.bigOf(args[0])
	den, fine := m.bigOf(args[1])
	if !ok || !fine || den.Sign() <= 0 {
		return false
	}
	text := num.String()
	if den.Cmp(big.NewInt(1)) != 0 {
		text += "/" + den.String()
	}
	m.pushString(text)
	return true
}

// dateutilOffset pushes the zone of dateutil.tz.tzoffset: a name or None, and a timedelta.
func (m *machine) dateutilOffset(args []value) bool {
	if len(args) != 2 || args[1].kind() != kindMade || args[0].kind() != kindNull && args[0].kind() != kindText {
		return false
	}
	args = []value{args[1], args[0]}
	if args[1].kind() == kindNull {
		args = args[:1]
	}
	return m.timeZone(args)
}

func isFactory(g uint64) bool {
	return g == globalBuiltin || g == globalSet || g == globalFrozenSet || g == globalBytes || g == globalByteArray ||
		g == globalComplex || g == globalDefaultDict || g == globalCounter || g == globalDeque || g == globalOrderedDict
}

// bigOf returns an int.
func (m *machine) bigOf(v value) (*big.Int, bool) {
	switch v.kind() {
	case kindInt:
		return big.NewInt(int64(v.data)), true
	case kindLong, kindDigits:
		b := m.bytesOf(v)
		if len(b) > m.lim.Digits {
			return nil, false
		}
		if m.room.text -= 4 * len(b); m.room.text < 0 {
			return nil, m.tooMuchCalled()
		}
		if v.kind() == kindLong {
			return bigInt(b), true
		}
		return new(big.Int).SetString(string(b), 10)
	default:
		return nil, false
	}
}

func (m *machine) int64Of(v value) (int64, bool) {
	i, ok := m.bigOf(v)
	if !ok || !i.IsInt64() {
		return 0, false
	}
	return i.Int64(), true
}

// address pushes the text of an IP address that is pickled as an int.
func (m *machine) address(g uint64, v value) bool {
	i, ok := m.bigOf(v)
	size := 4
	if g == globalIPv6Address {
		size = 16
	}
	if !ok || i.Sign() < 0 || i.BitLen() > 8*size {
		return false
	}
	a, _ := netip.AddrFromSlice(i.FillBytes(make([]byte, size)))
	m.pushString(a.String())
	return true
}
