package dict

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The kinds of time hold what Python's datetime module holds, to the
// microsecond:
//
//	data        fold 1 bit | zone 2 | year 14 | month 4 | day 5 | hour 5 | minute 6 | second 6 | microsecond 20
//	fixed       n, x: the zone's offset in microseconds + 24 h, its lowest 32 bits and the rest
//	other zone  n, x: offset and length of its text; see zoneText
//
// A timedelta has its days in n, two's complement, and in data
//
//	second 17 bits | microsecond 20
const (
	secondShift = 20
	minuteShift = secondShift + 6
	hourShift   = minuteShift + 6
	dayShift    = hourShift + 5
	monthShift  = dayShift + 5
	yearShift   = monthShift + 4
	zoneShift   = yearShift + 14
	foldShift   = zoneShift + 2
)

// The kinds of zone.
const (
	zoneNone  = iota // naive
	zoneFixed        // an offset from UTC
	zoneNamed        // an offset with a name of its own
	zoneKey          // a name in the IANA time zone database
)

// A Zone is what a datetime or a time refers to. The zero Zone is that of naive
// ones, which say nothing about it. Zones are compared by ==.
type Zone struct {
	kind   uint8
	offset int64 // microseconds
	text   string
}

// FixedZone returns the zone with an offset from UTC, in whole microseconds and
// less than 24 hours either way.
func FixedZone(offset time.Duration) Zone {
	return Zone{kind: zoneFixed, offset: offset.Microseconds()}
}

// NamedFixedZone returns the zone with an offset from UTC and a name, as
// Python's timezone(offset, name) has them.
func NamedFixedZone(offset time.Duration, name string) Zone {
	return Zone{kind: zoneNamed, offset: offset.Microseconds(), text: name}
}

// KeyZone returns the zone of that name in the IANA time zone database, such as
// Europe/Paris: Python's zoneinfo.ZoneInfo(key). Nothing is looked up.
func KeyZone(key string) Zone { return Zone{kind: zoneKey, text: key} }

// UTC is the zone without an offset: Python's datetime.timezone.utc.
func UTC() Zone { return Zone{kind: zoneFixed} }

// IsNaive reports whether z is no zone.
func (z Zone) IsNaive() bool { return z.kind == zoneNone }

// Offset returns the offset from UTC of a fixed zone.
func (z Zone) Offset() (offset time.Duration, ok bool) {
	return time.Duration(z.offset) * time.Microsecond, z.kind == zoneFixed || z.kind == zoneNamed
}

// Name returns the name of a [NamedFixedZone].
func (z Zone) Name() (string, bool) { return z.textIf(zoneNamed) }

// Key returns the name of a [KeyZone].
func (z Zone) Key() (string, bool) { return z.textIf(zoneKey) }

func (z Zone) textIf(kind uint8) (string, bool) {
	if z.kind != kind {
		return "", false
	}
	return z.text, true
}

// A Date is a day of the Gregorian calendar, from year 1 to 9999.
type Date struct{ Year, Month, Day int }

// A TimeOfDay is a time of day: Python's time.
type TimeOfDay struct {
	Hour, Minute, Second, Microsecond int

	Fold bool // the second of two equal times, where clocks were set back
	Zone Zone
}

// A DateTime is a day and a time of day. Its Zone is the datetime's.
type DateTime struct {
	Date
	TimeOfDay
}

// A TimeDelta is a span of time. In its normal form Days is from -999999999 to
// 999999999, Seconds from 0 to 86399 and Microseconds from 0 to 999999; the
// whole is their sum.
type TimeDelta struct{ Days, Seconds, Microseconds int }

// A RangeError says that a part of a time is out of range.
type RangeError struct {
	Kind  Kind
	Part  string // "month"
	Value int64
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("dict: %d is no %s of a %s", e.Value, e.Part, e.Kind)
}

// daysIn returns how many days a month has.
func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

func (d Date) pack(k Kind) (uint64, error) {
	switch {
	case d.Year < 1 || d.Year > 9999:
		return 0, &RangeError{k, "year", int64(d.Year)}
	case d.Month < 1 || d.Month > 12:
		return 0, &RangeError{k, "month", int64(d.Month)}
	case d.Day < 1 || d.Day > daysIn(d.Year, d.Month):
		return 0, &RangeError{k, "day", int64(d.Day)}
	}
	return uint64(d.Year)<<yearShift | uint64(d.Month)<<monthShift | uint64(d.Day)<<dayShift, nil
}

func (t TimeOfDay) pack(k Kind) (uint64, error) {
	switch {
	case t.Hour < 0 || t.Hour > 23:
		return 0, &RangeError{k, "hour", int64(t.Hour)}
	case t.Minute < 0 || t.Minute > 59:
		return 0, &RangeError{k, "minute", int64(t.Minute)}
	case t.Second < 0 || t.Second > 59:
		return 0, &RangeError{k, "second", int64(t.Second)}
	case t.Microsecond < 0 || t.Microsecond > 999_999:
		return 0, &RangeError{k, "microsecond", int64(t.Microsecond)}
	case t.Zone.offset <= -day || t.Zone.offset >= day:
		return 0, &RangeError{k, "zone's offset in microseconds", t.Zone.offset}
	case len(t.Zone.text) > maxZoneText:
		return 0, &RangeError{k, "zone's length of the name", int64(len(t.Zone.text))}
	}
	data := uint64(t.Hour)<<hourShift | uint64(t.Minute)<<minuteShift | uint64(t.Second)<<secondShift | uint64(t.Microsecond)
	if t.Fold {
		data |= 1 << foldShift
	}
	return data, nil
}

const (
	day         = 24 * 60 * 60 * 1_000_000 // in microseconds
	maxZoneText = 1024
)

// zoned returns the value of a datetime or time whose other parts are packed.
func zoned(k Kind, data uint64, z Zone) Value {
	n := zonedNode(k, data, z)
	if z.kind < zoneNamed {
		return Value{node: n}
	}
	text := z.appendText(nil)
	n.x = uint16(len(text))
	return Value{t: &tape{src: text}, node: n}
}

// zonedNode returns zoned's node without the place of the zone's text.
func zonedNode(k Kind, data uint64, z Zone) node {
	n := node{kind: k, data: data | uint64(z.kind)<<zoneShift}
	if z.kind == zoneFixed {
		biased := uint64(z.offset + day)
		n.n, n.x = uint32(biased), uint16(biased>>32)
	}
	return n
}

// appendText appends the text of a zone that has one: the name; in front of it,
// for a fixed one, the offset in 8 bytes, big-endian.
func (z Zone) appendText(dst []byte) []byte {
	if z.kind == zoneNamed {
		dst = binary.BigEndian.AppendUint64(dst, uint64(z.offset))
	}
	text, _ := toWTF8(dst, z.text)
	return text
}

// zoneText returns the text of a datetime's or time's zone, if that has one.
func (v Value) zoneText() []byte {
	if v.data>>zoneShift&3 < zoneNamed {
		return nil
	}
	from := v.t.src
	if v.flags&flagOwn != 0 {
		from = v.t.own
	}
	return from[v.n : v.n+uint32(v.x)]
}

func (v Value) zone() Zone {
	z := Zone{kind: uint8(v.data >> zoneShift & 3), offset: v.offset()}
	switch text := v.zoneText(); z.kind {
	case zoneNamed:
		z.text = string(text[8:])
	case zoneKey:
		z.text = string(text)
	}
	return z
}

// offset returns the offset of a fixed zone, in microseconds.
func (v Value) offset() int64 {
	switch v.data >> zoneShift & 3 {
	case zoneFixed:
		return int64(uint64(v.n)|uint64(v.x)<<32) - day
	case zoneNamed:
		return int64(binary.BigEndian.Uint64(v.zoneText()))
	default:
		return 0
	}
}

func (v Value) date() Date {
	return Date{
		Year:  int(v.data >> yearShift & (1<<14 - 1)),
		Month: int(v.data >> monthShift & 15),
		Day:   int(v.data >> dayShift & 31),
	}
}

func (v Value) timeOfDay() TimeOfDay {
	t := v.clock()
	t.Zone = v.zone()
	return t
}

// clock returns the time of day without its zone.
func (v Value) clock() TimeOfDay {
	return TimeOfDay{
		Hour:        int(v.data >> hourShift & 31),
		Minute:      int(v.data >> minuteShift & 63),
		Second:      int(v.data >> secondShift & 63),
		Microsecond: int(v.data & (1<<20 - 1)),
		Fold:        v.data>>foldShift&1 != 0,
	}
}

// Value returns d as a value. The error is a *[RangeError].
func (d Date) Value() (Value, error) {
	data, err := d.pack(KindDate)
	if err != nil {
		return Value{}, err
	}
	return Value{node: node{kind: KindDate, data: data}}, nil
}

// Value returns t as a value of kind time. The error is a *[RangeError].
func (t TimeOfDay) Value() (Value, error) {
	data, err := t.pack(KindTime)
	if err != nil {
		return Value{}, err
	}
	return zoned(KindTime, data, t.Zone), nil
}

// Value returns t as a value. The error is a *[RangeError].
func (t DateTime) Value() (Value, error) {
	date, err := t.Date.pack(KindDateTime)
	if err != nil {
		return Value{}, err
	}
	clock, err := t.TimeOfDay.pack(KindDateTime)
	if err != nil {
		return Value{}, err
	}
	return zoned(KindDateTime, date|clock, t.Zone), nil
}

const maxDays = 999_999_999

// Value returns t as a value, in its normal form. The error is a *[RangeError].
func (t TimeDelta) Value() (Value, error) {
	t = t.normal()
	if t.Days < -maxDays || t.Days > maxDays {
		return Value{}, &RangeError{KindTimeDelta, "number of days", int64(t.Days)}
	}
	return Value{node: node{
		kind: KindTimeDelta, n: uint32(int32(t.Days)),
		data: uint64(t.Seconds)<<secondShift | uint64(t.Microseconds),
	}}, nil
}

func (t TimeDelta) normal() TimeDelta {
	var carry int
	carry, t.Microseconds = divmod(t.Microseconds, 1_000_000)
	more, seconds := divmod(t.Seconds, 86_400)
	days, seconds := divmod(seconds+carry%86_400, 86_400)
	t.Days += more + days + carry/86_400
	t.Seconds = seconds
	return t
}

// divmod is Python's: the remainder is never negative.
func divmod(a, b int) (q, r int) {
	q, r = a/b, a%b
	if r < 0 {
		q, r = q-1, r+b
	}
	return q, r
}

// Date returns a date, and false for any other kind: a datetime is none.
func (v Value) Date() (Date, bool) {
	if v.kind != KindDate {
		return Date{}, false
	}
	return v.date(), true
}

// TimeOfDay returns a time, and false for any other kind.
func (v Value) TimeOfDay() (TimeOfDay, bool) {
	if v.kind != KindTime {
		return TimeOfDay{}, false
	}
	return v.timeOfDay(), true
}

// DateTime returns a datetime, and false for any other kind.
func (v Value) DateTime() (DateTime, bool) {
	if v.kind != KindDateTime {
		return DateTime{}, false
	}
	return DateTime{v.date(), v.timeOfDay()}, true
}

// TimeDelta returns a timedelta in its normal form, and false for any other
// kind.
func (v Value) TimeDelta() (TimeDelta, bool) {
	if v.kind != KindTimeDelta {
		return TimeDelta{}, false
	}
	return TimeDelta{
		Days:         int(int32(v.n)),
		Seconds:      int(v.data >> secondShift),
		Microseconds: int(v.data & (1<<20 - 1)),
	}, true
}

// microseconds returns the time of day in microseconds.
func (t TimeOfDay) microseconds() int64 {
	return (int64(t.Hour)*3600+int64(t.Minute)*60+int64(t.Second))*1_000_000 + int64(t.Microsecond)
}

// days returns how many days d is after January 1, 1970.
func (d Date) days() int64 {
	return time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}
