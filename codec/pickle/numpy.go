package pickle

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/half"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

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
		return half.Float64(order.Uint16(b)), true
	case 4:
		return float64(math.Float32frombits(order.Uint32(b))), true
	case 8:
		return math.Float64frombits(order.Uint64(b)), true
	default:
		return 0, false
	}
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
