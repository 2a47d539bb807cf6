package dict

import (
	"encoding/hex"
	"math"
	"strconv"

	"github.com/dictwire/dictwire/dict/internal/pytext"
)

// A Python is a version of CPython for [AppendRepr]. Which characters are printable
// depends on the version's Unicode.
type Python = pytext.Version

// The versions of CPython.
const (
	Python38  = pytext.Py38
	Python39  = pytext.Py39
	Python310 = pytext.Py310
	Python311 = pytext.Py311
	Python312 = pytext.Py312
	Python313 = pytext.Py313
	Python314 = pytext.Py314

	// DefaultPython is the version that String methods follow.
	DefaultPython = Python313
)

// AppendRepr appends repr(v) as that version of CPython returns it, to the byte. The
// result is valid UTF-8: lone surrogates are escaped. Sets are written in the order of
// their items, and tagged values as [Tagged] says. Nanoseconds, which Python lacks, are
// written as an argument that Python's types refuse: datetime.datetime(2024, 1, 2, 3, 4,
// 5, 6, nanosecond=7), datetime.timedelta(seconds=1, nanoseconds=7).
func AppendRepr(dst []byte, v Value, py Python) []byte {
	switch v.kind {
	case KindNull:
		return append(dst, "None"...)
	case KindBool:
		if v.data != 0 {
			return append(dst, "True"...)
		}
		return append(dst, "False"...)
	case KindInt:
		return v.AppendInt(dst)
	case KindFloat:
		f, _ := v.Float()
		return pytext.AppendFloat(dst, f)
	case KindComplex:
		c, _ := v.Complex()
		return pytext.AppendComplex(dst, c)
	case KindDecimal:
		dst = append(append(dst, "Decimal('"...), v.t.text(v.node)...)
		return append(dst, "')"...)
	case KindString:
		return pytext.AppendString(dst, v.t.text(v.node), py)
	case KindBytes:
		return pytext.AppendBytes(dst, v.t.text(v.node))
	case KindByteArray:
		return pytext.AppendByteArray(dst, v.t.text(v.node))
	case KindUUID:
		return append(appendUUID(append(dst, "UUID('"...), v.t.text(v.node)), "')"...)
	case KindDateTime, KindDate, KindTime, KindTimeDelta:
		return appendTimeRepr(dst, v, py)
	case KindList:
		return append(appendItems(append(dst, '['), v, py), ']')
	case KindTuple:
		dst = appendItems(append(dst, '('), v, py)
		if v.n == 1 {
			dst = append(dst, ',')
		}
		return append(dst, ')')
	case KindSet:
		if v.n == 0 {
			return append(dst, "set()"...)
		}
		return append(appendItems(append(dst, '{'), v, py), '}')
	case KindFrozenSet:
		if v.n == 0 {
			return append(dst, "frozenset()"...)
		}
		return append(appendItems(append(dst, "frozenset({"...), v, py), "})"...)
	case KindDict:
		return append(appendPairs(append(dst, '{'), v, py), '}')
	case KindOrderedDict:
		switch {
		case v.n == 0:
			return append(dst, "OrderedDict()"...)
		case py < Python312:
			return append(appendTuples(append(dst, "OrderedDict(["...), v, py), "])"...)
		default:
			return append(appendPairs(append(dst, "OrderedDict({"...), v, py), "})"...)
		}
	default: // KindTagged
		return appendTaggedRepr(dst, v, py)
	}
}

func appendItems(dst []byte, v Value, py Python) []byte {
	c := v.children()
	for i := range v.n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendNext(dst, &c, py)
	}
	return dst
}

func appendPairs(dst []byte, v Value, py Python) []byte {
	c := v.children()
	for i := range v.n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendNext(dst, &c, py)
		dst = append(dst, ": "...)
		dst = appendNext(dst, &c, py)
	}
	return dst
}

// appendTuples appends the pairs of a dictionary as tuples.
func appendTuples(dst []byte, v Value, py Python) []byte {
	c := v.children()
	for i := range v.n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendNext(append(dst, '('), &c, py)
		dst = appendNext(append(dst, ", "...), &c, py)
		dst = append(dst, ')')
	}
	return dst
}

// appendNext appends the next child, with a fast path for the scalars of a tape.
func appendNext(dst []byte, c *cursor, py Python) []byte {
	if !c.tree {
		switch n := &c.t.nodes[c.i]; n.kind {
		case KindString:
			c.i++
			return pytext.AppendString(dst, c.t.text(*n), py)
		case KindInt:
			if n.flags&flagBig == 0 {
				c.i++
				return strconv.AppendInt(dst, int64(n.data), 10)
			}
		case KindFloat:
			c.i++
			return pytext.AppendFloat(dst, math.Float64frombits(n.data))
		default:
		}
	}
	return AppendRepr(dst, c.next(), py)
}

// appendUUID appends the text form of RFC 9562.
func appendUUID(dst, u []byte) []byte {
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func appendTaggedRepr(dst []byte, v Value, py Python) []byte {
	space, tag, value, _ := v.Tagged()
	if number, ok := tag.Int(); ok && number == CBORUndefined && space == CBORSimple {
		return append(dst, "undefined"...)
	}
	switch space {
	case CBORSimple:
		dst = AppendRepr(append(dst, "CBORSimpleValue(value="...), tag, py)
	case MessagePackExt:
		dst = AppendRepr(append(dst, "ExtType(code="...), tag, py)
		dst = AppendRepr(append(dst, ", data="...), value, py)
	default:
		dst = AppendRepr(append(dst, "CBORTag("...), tag, py)
		dst = AppendRepr(append(dst, ", "...), value, py)
	}
	return append(dst, ')')
}

func appendTimeRepr(dst []byte, v Value, py Python) []byte {
	switch v.kind {
	case KindDate:
		d := v.date()
		return append(appendNumbers(append(dst, "datetime.date("...), d.Year, d.Month, d.Day), ')')
	case KindTimeDelta:
		t, _ := v.TimeDelta()
		return appendDeltaRepr(dst, t)
	default: // a datetime or a time
	}
	t := v.timeOfDay()
	if v.kind == KindTime {
		dst = append(dst, "datetime.time("...)
	} else {
		d := v.date()
		dst = append(appendNumbers(append(dst, "datetime.datetime("...), d.Year, d.Month, d.Day), ", "...)
	}
	switch {
	case t.Microsecond != 0:
		dst = appendNumbers(dst, t.Hour, t.Minute, t.Second, t.Microsecond)
	case t.Second != 0:
		dst = appendNumbers(dst, t.Hour, t.Minute, t.Second)
	default:
		dst = appendNumbers(dst, t.Hour, t.Minute)
	}
	if t.Nanosecond != 0 {
		dst = strconv.AppendInt(append(dst, ", nanosecond="...), int64(t.Nanosecond), 10)
	}
	const fold = ", fold=1"
	if t.Fold && v.kind == KindDateTime {
		dst = append(dst, fold...)
	}
	if !t.Zone.IsNaive() {
		dst = appendZoneRepr(append(dst, ", tzinfo="...), t.Zone, py)
	}
	if t.Fold && v.kind == KindTime {
		dst = append(dst, fold...)
	}
	return append(dst, ')')
}

func appendNumbers(dst []byte, numbers ...int) []byte {
	for i, n := range numbers {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return dst
}

func appendDeltaRepr(dst []byte, t TimeDelta) []byte {
	dst = append(dst, "datetime.timedelta("...)
	open := len(dst)
	for _, part := range []struct {
		name string
		n    int
	}{{"days=", t.Days}, {"seconds=", t.Seconds}, {"microseconds=", t.Microseconds}, {"nanoseconds=", t.Nanoseconds}} {
		if part.n == 0 {
			continue
		}
		if len(dst) > open {
			dst = append(dst, ", "...)
		}
		dst = strconv.AppendInt(append(dst, part.name...), int64(part.n), 10)
	}
	if len(dst) == open {
		dst = append(dst, '0')
	}
	return append(dst, ')')
}

func appendZoneRepr(dst []byte, z Zone, py Python) []byte {
	if z.kind == zoneKey {
		dst = pytext.AppendString(append(dst, "zoneinfo.ZoneInfo(key="...), z.text, py)
		return append(dst, ')')
	}
	if z == UTC() {
		return append(dst, "datetime.timezone.utc"...)
	}
	offset, _ := z.Offset()
	dst = appendDeltaRepr(append(dst, "datetime.timezone("...), DeltaOf(offset))
	if z.kind == zoneNamed {
		dst = pytext.AppendString(append(dst, ", "...), z.text, py)
	}
	return append(dst, ')')
}

// Repr returns what repr(d) returns in CPython 3.13. For another version, see
// [AppendRepr].
func Repr(d *Dict) string { return d.String() }
