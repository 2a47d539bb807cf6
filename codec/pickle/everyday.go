package pickle

import (
	_ "embed"
	"encoding/binary"
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
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

// enums returns the value of each member of an enumeration, by "module\nClass\nMEMBER"
// or where it is pickled so "module\nMEMBER"; and the enumerations, by "module\nClass".
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

// sealedCopy pushes an object of kind k that holds what another one holds now.
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
	case globalCounter:
		switch {
		case len(args) == 0:
			m.push(m.object(dict.KindDict, growing))
		case m.kindsAre(args, kindRef) && m.objects[args[0].data].kind == dict.KindDict:
			m.sealedCopy(dict.KindDict, args[0])
		default:
			return false
		}
	case globalDefaultDict:
		ok := len(args) == 0 || m.kindsAre(args, kindNull) || m.kindsAre(args, kindGlobal) && isFactory(args[0].data)
		if !ok {
			return false
		}
		m.push(m.object(dict.KindDict, growing))
	case globalDeque:
		ok := len(args) == 0 || (len(args) == 1 || len(args) == 2 && args[1].kind() == kindInt) &&
			args[0].kind() == kindRef && m.objects[args[0].data].kind == dict.KindTuple && m.objects[args[0].data].n == 0
		if !ok {
			return false
		}
		m.push(m.object(dict.KindList, growing))
	case globalPosixPath, globalPurePosixPath, globalWindowsPath, globalPureWindowsPath:
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
	case globalFraction:
		switch {
		case m.kindsAre(args, kindText):
			m.push(args[0])
		case len(args) == 2:
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
		default:
			return false
		}
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
		if len(args) != 2 || args[1].kind() != kindMade || args[0].kind() != kindNull && args[0].kind() != kindText {
			return false
		}
		args = []value{args[1], args[0]}
		if args[1].kind() == kindNull {
			args = args[:1]
		}
		return m.timeZone(args)
	default:
		return false
	}
	return true
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

// posixPath returns what str() has for a PurePosixPath of the given parts.
func posixPath(parts []string) string {
	root := ""
	for i, p := range parts {
		if strings.HasPrefix(p, "/") { // the last one that is absolute counts
			root = "/"
			if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
				root = "//"
			}
			clear(parts[:i])
		}
	}
	return joined(root, parts, "/")
}

// joined returns the path of parts, without what is empty or a dot in them.
func joined(root string, parts []string, separator string) string {
	var kept []string
	for _, p := range parts {
		for name := range strings.SplitSeq(p, separator) {
			if name != "" && name != "." {
				kept = append(kept, name)
			}
		}
	}
	if path := root + strings.Join(kept, separator); path != "" {
		return path
	}
	return "."
}

// windowsPath returns what str() has for a PureWindowsPath of the given parts.
func windowsPath(parts []string) string {
	drive, root, first := "", "", 0
	for i, p := range parts {
		p = strings.ReplaceAll(p, "/", `\`)
		d, rest := splitDrive(p)
		switch {
		case strings.HasPrefix(rest, `\`):
			if d != "" {
				drive = d
			}
			root, first = `\`, i
		case d != "" && !strings.EqualFold(d, drive):
			drive, root, first = d, "", i
		case d != "":
			drive = d
		}
		parts[i] = rest
		if strings.HasPrefix(drive, `\\`) {
			root = `\`
		}
	}
	return joined(drive+root, parts[first:], `\`)
}

// splitDrive splits C: or \\server\share off.
func splitDrive(p string) (drive, rest string) {
	if len(p) >= 2 && p[1] == ':' {
		return p[:2], p[2:]
	}
	if strings.HasPrefix(p, `\\`) && !strings.HasPrefix(p, `\\\`) {
		server, rest, ok := strings.Cut(p[2:], `\`)
		if ok && server != "" {
			share, _, _ := strings.Cut(rest, `\`)
			n := 2 + len(server) + 1 + len(share)
			return p[:n], p[n:]
		}
	}
	return "", p
}

// A dtype is the type of a numpy scalar.
type dtype struct {
	kind  byte // numpy's letter
	order byte // '<', '>' or '|'; 0 before BUILD
	unit  string
	size  int
	per   int64 // units in one
}

func (m *machine) dtype(args []value) bool {
	if len(args) != 3 || args[0].kind() != kindText || args[0].n() < 2 || args[0].n() > 9 {
		return false
	}
	code := string(m.bytesOf(args[0]))
	size, err := strconv.Atoi(code[1:])
	if err != nil || size < 0 || strings.IndexByte("biufcSUMm", code[0]) < 0 {
		return false
	}
	m.dtypes = append(m.dtypes, dtype{kind: code[0], size: size})
	m.push(scalar(kindDType, uint64(len(m.dtypes)-1)))
	return true
}

// buildDType gives a dtype its byte order and unit: (version, order, None, None, None,
// size, alignment, flags) and for times (None, (unit, count, 1, 1)).
func (m *machine) buildDType(v, state value) bool {
	if state.kind() != kindRef || m.objects[state.data].kind != dict.KindTuple {
		return false
	}
	d := &m.dtypes[v.data]
	items := m.itemsOf(&m.objects[state.data])
	if len(items) < 8 || items[1].kind() != kindText || items[1].n() != 1 || items[2].kind() != kindNull || items[3].kind() != kindNull {
		return false
	}
	d.order = m.bytesOf(items[1])[0]
	if d.kind == 'U' || d.kind == 'S' {
		if d.size = 0; items[5].kind() == kindInt {
			d.size = int(min(items[5].data, 1<<30)) // in bytes
		}
	}
	if len(items) == 8 {
		return true
	}
	if len(items) != 9 || items[8].kind() != kindRef || m.objects[items[8].data].kind != dict.KindTuple {
		return false
	}
	meta := m.itemsOf(&m.objects[items[8].data])
	if len(meta) != 2 || meta[1].kind() != kindRef || m.objects[meta[1].data].kind != dict.KindTuple {
		return false
	}
	unit := m.itemsOf(&m.objects[meta[1].data])
	if len(unit) < 2 || unit[0].kind() != kindBytes || unit[0].n() > 8 || unit[1].kind() != kindInt {
		return false
	}
	d.unit, d.per = string(m.bytesOf(unit[0])), int64(unit[1].data)
	return true
}

// numpyScalar pushes the value of a dtype and bytes.
func (m *machine) numpyScalar(args []value) bool {
	if !m.kindsAre(args, kindDType, kindBytes) {
		return false
	}
	d := m.dtypes[args[0].data]
	b := m.bytesOf(args[1])
	if d.order == 0 || len(b) != d.size && d.kind != 'U' && d.kind != 'S' || (d.kind == 'U' || d.kind == 'S') && len(b) > d.size {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if d.order == '>' {
		order = binary.BigEndian
	}
	switch d.kind {
	case 'b':
		m.push(scalar(kindBool, uint64(b2i(len(b) == 1 && b[0] != 0))))
		return len(b) == 1
	case 'i', 'u':
		n, ok := uintOf(order, b)
		shift := 64 - 8*uint(len(b))
		switch {
		case !ok:
			return false
		case d.kind == 'i':
			m.push(scalar(kindInt, uint64(int64(n<<shift)>>shift)))
		case n > math.MaxInt64:
			at := len(m.own)
			m.own = strconv.AppendUint(m.own, n, 10)
			m.pushOwn(kindDigits, at, false)
		default:
			m.push(scalar(kindInt, n))
		}
		return true
	case 'f':
		f, ok := floatOf(order, b)
		m.push(scalar(kindFloat, math.Float64bits(f)))
		return ok
	case 'c':
		re, ok := floatOf(order, b[:len(b)/2])
		im, _ := floatOf(order, b[len(b)/2:])
		m.pushMade(dict.Complex(complex(re, im)))
		return ok
	case 'S':
		m.push(args[1])
		return true
	case 'U':
		return m.utf32(order, b)
	default:
		n, ok := uintOf(order, b)
		if !ok || len(b) != 8 {
			return false
		}
		if int64(n) == math.MinInt64 { // NaT
			m.push(scalar(kindNull, 0))
			return true
		}
		if d.kind == 'm' {
			unit := numpyUnits[d.unit]
			per, over := bits64(unit, d.per)
			return unit != 0 && !over && m.pushDelta(int64(n), per)
		}
		return m.datetime64(int64(n), d)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bits64 returns a × b, and whether that is too much for any time.
func bits64(a, b int64) (product int64, over bool) {
	if b <= 0 || a > 0 && b > math.MaxInt64/a {
		return 0, true
	}
	return a * b, false
}

func uintOf(order binary.ByteOrder, b []byte) (uint64, bool) {
	switch len(b) {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(order.Uint16(b)), true
	case 4:
		return uint64(order.Uint32(b)), true
	case 8:
		return order.Uint64(b), true
	default:
		return 0, false
	}
}

func floatOf(order binary.ByteOrder, b []byte) (float64, bool) {
	switch len(b) {
	case 2:
		return half(order.Uint16(b)), true
	case 4:
		return float64(math.Float32frombits(order.Uint32(b))), true
	case 8:
		return math.Float64frombits(order.Uint64(b)), true
	default:
		return 0, false
	}
}

// half returns the float of IEEE 754 binary16.
func half(h uint16) float64 {
	exp, fraction := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(fraction+1024, exp-25)
	switch exp {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		if v = math.Inf(1); fraction != 0 {
			v = math.NaN()
		}
	}
	return math.Copysign(v, 1-2*float64(h>>15))
}

// utf32 pushes a string of 32-bit characters.
func (m *machine) utf32(order binary.ByteOrder, b []byte) bool {
	if m.room.text -= len(b); m.room.text < 0 { // the bytes can be in the memo, and the call repeated
		return m.tooMuchCalled()
	}
	at, odd := len(m.own), false
	for ; len(b) >= 4; b = b[4:] {
		r := order.Uint32(b)
		if r > utf8.MaxRune {
			return false
		}
		odd = odd || r >= 0xD800 && r <= 0xDFFF
		m.own = appendRune(m.own, rune(r))
	}
	m.pushOwn(kindText, at, odd)
	return len(b) == 0
}

// The units of numpy's times that are of one length, and those of pandas' resolutions,
// in nanoseconds.
var (
	numpyUnits = map[string]int64{
		"W": 7 * 24 * 3600e9, "D": 24 * 3600e9, "h": 3600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "\u03bcs": 1e3, "ns": 1,
	}
	pandasUnits = map[uint64]int64{7: 1e9, 8: 1e6, 9: 1e3, 10: 1}
)

// pushDelta pushes a timedelta of n times that many nanoseconds.
func (m *machine) pushDelta(n, nanos int64) bool {
	seconds, rest, ok := secondsOf(n, nanos)
	if !ok {
		return false
	}
	days := seconds / 86_400
	if days < -1e9 || days > 1e9 {
		return false
	}
	v, err := dict.TimeDelta{
		Days: int(days), Seconds: int(seconds % 86_400), Microseconds: int(rest / 1000), Nanoseconds: int(rest % 1000),
	}.Value()
	if err != nil {
		return false
	}
	m.pushMade(v)
	return true
}

// secondsOf returns n × nanos nanoseconds in whole seconds and the nanoseconds beyond.
func secondsOf(n, nanos int64) (seconds, rest int64, ok bool) {
	if nanos >= 1e9 {
		seconds, over := bits64(nanos/1e9, max(n, -n, 1))
		if n <= 0 {
			seconds = nanos / 1e9 * n
		}
		return seconds, 0, !over && nanos%1e9 == 0
	}
	if per := int64(1e9) / nanos; int64(1e9)%nanos == 0 {
		seconds, rest = n/per, n%per
		if rest < 0 {
			seconds, rest = seconds-1, rest+per
		}
		return seconds, rest * nanos, true
	}
	return 0, 0, false // such as [3ns]: no whole number of them is a second
}

// datetime64 pushes the datetime of a count of units from 1970 on.
func (m *machine) datetime64(n int64, d dtype) bool {
	switch d.unit {
	case "Y", "M":
		months, over := bits64(d.per*int64(1+11*b2i(d.unit == "Y")), max(n, -n, 1))
		if over || months > 12*10_000 {
			return false
		}
		if n <= 0 {
			months = d.per * int64(1+11*b2i(d.unit == "Y")) * n
		}
		return m.pushTime(time.Date(1970, time.Month(1+months), 1, 0, 0, 0, 0, time.UTC), dict.Zone{})
	}
	unit := numpyUnits[d.unit]
	per, over := bits64(unit, d.per)
	if unit == 0 || over {
		return false
	}
	seconds, rest, ok := secondsOf(n, per)
	if !ok || seconds < -1e12 || seconds > 1e12 {
		return false
	}
	return m.pushTime(time.Unix(seconds, rest).UTC(), dict.Zone{})
}

// pushTime pushes what t shows, in a zone.
func (m *machine) pushTime(t time.Time, zone dict.Zone) bool {
	v, err := dict.DateTime{
		Date: dict.Date{Year: t.Year(), Month: int(t.Month()), Day: t.Day()},
		TimeOfDay: dict.TimeOfDay{
			Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(),
			Microsecond: t.Nanosecond() / 1000, Nanosecond: t.Nanosecond() % 1000, Zone: zone,
		},
	}.Value()
	if err != nil {
		return m.fail(fault.Malformed, strings.TrimPrefix(err.Error(), "dict: "))
	}
	m.pushMade(v)
	return true
}

// timestamp pushes a Timestamp of pandas: a count since 1970 in UTC, its frequency,
// which is not read, its zone and its resolution.
func (m *machine) timestamp(args []value) bool {
	if len(args) != 3 && len(args) != 4 || args[1].kind() != kindNull {
		return false
	}
	n, ok := m.int64Of(args[0])
	if !ok {
		return false
	}
	unit := int64(1)
	if len(args) == 4 {
		if unit, ok = pandasUnits[args[3].data]; !ok || args[3].kind() != kindInt {
			return false
		}
	}
	seconds, rest, ok := secondsOf(n, unit)
	if !ok || seconds < -1e12 || seconds > 1e12 {
		return false
	}
	at := time.Unix(seconds, rest).UTC()
	switch args[2].kind() {
	case kindNull:
		return m.pushTime(at, dict.Zone{})
	case kindZone:
		zone := m.zones[args[2].data]
		offset, fixed := zone.Offset()
		if !fixed {
			m.unsafe("a Timestamp in the zone of a database, which is not looked into")
			m.err.Hint = "send x.tz_convert('UTC'), or x.to_pydatetime()"
			return false
		}
		return m.pushTime(at.Add(offset), zone)
	default:
		return false
	}
}
