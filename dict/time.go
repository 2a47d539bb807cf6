package dict

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Times hold what Python's datetime module holds, to the nanosecond:
//
//	data        fold 1 bit | zone 2 | year 14 | month 4 | day 5 | hour 5 | minute 6 | second 6 | microsecond 20
//	naive       x: nanosecond << 6
//	fixed       n, x: the zone's offset in microseconds + 24 h, its lowest 32 bits and the 6 above;
//	            x also as above
//	other zone  n, x: offset and length of its text; see zoneText
//
// A timedelta has its days in n, two's complement, and in data
//
//	nanosecond 10 bits | second 17 | microsecond 20
const (
	secondShift = 20
	minuteShift = secondShift + 6
	hourShift   = minuteShift + 6
	dayShift    = hourShift + 5
	monthShift  = dayShift + 5
	yearShift   = monthShift + 4
	zoneShift   = yearShift + 14
	foldShift   = zoneShift + 2

	nanoShift      = 6  // in x
	deltaNanoShift = 37 // in a timedelta's data
)

// The kinds of zone.
const (
	zoneNone  = iota // naive
	zoneFixed        // an offset from UTC
	zoneNamed        // an offset with a name of its own
	zoneKey          // a name in the IANA time zone database
)

// A Zone is the time zone of a datetime or time. The zero Zone means a naive one. Zones
// can be compared by ==.
type Zone struct {
	kind   uint8
	offset int64 // microseconds
	text   string
}

// FixedZone returns a zone with an offset from UTC, in whole microseconds and less than
// 24 hours.
func FixedZone(offset time.Duration) Zone {
	return Zone{kind: zoneFixed, offset: offset.Microseconds()}
}

// NamedFixedZone returns a zone with an offset from UTC and a name: Python's
// timezone(offset, name).
func NamedFixedZone(offset time.Duration, name string) Zone {
	return Zone{kind: zoneNamed, offset: offset.Microseconds(), text: name}
}

// KeyZone returns the zone with a name in the IANA time zone database, such as
// Europe/Paris: Python's zoneinfo.ZoneInfo(key). The name is not looked up.
func KeyZone(key string) Zone { return Zone{kind: zoneKey, text: key} }

// UTC returns the zone UTC: Python's datetime.timezone.utc.
func UTC() Zone { return Zone{kind: zoneFixed} }

// IsNaive reports whether z is the zero Zone.
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

// A TimeOfDay is a time of day: Python's time, with nanoseconds.
type TimeOfDay struct {
	Hour, Minute, Second, Microsecond int

	// Nanosecond is the part below Microsecond, from 0 to 999, as in a Timestamp of
	// pandas. Python's own times lack it.
	Nanosecond int

	Fold bool // the second of two equal times when clocks are set back
	Zone Zone
}

// A DateTime is a date and a time of day with its zone.
type DateTime struct {
	Date
	TimeOfDay
}

// A TimeDelta is a span of time: the sum of its fields. In its normal form, Days is from
// -999999999 to 999999999, Seconds from 0 to 86399, Microseconds from 0 to 999999, and
// Nanoseconds, which Python's timedelta lacks, from 0 to 999.
type TimeDelta struct{ Days, Seconds, Microseconds, Nanoseconds int }

// DeltaOf returns d as a timedelta in its normal form.
func DeltaOf(d time.Duration) TimeDelta {
	const day = 24 * time.Hour
	days := d / day
	if d %= day; d < 0 {
		days, d = days-1, d+day
	}
	return TimeDelta{
		Days: int(days), Seconds: int(d / time.Second),
		Microseconds: int(d % time.Second / time.Microsecond), Nanoseconds: int(d % time.Microsecond),
	}
}

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
	case t.Nanosecond < 0 || t.Nanosecond > 999:
		return 0, &RangeError{k, "nanosecond beyond the microsecond", int64(t.Nanosecond)}
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

// zoned returns a datetime or time. data holds everything but the nanosecond and the
// zone.
func zoned(k Kind, data uint64, t *TimeOfDay) Value {
	n := zonedNode(k, data, t)
	if t.Zone.kind < zoneNamed {
		return Value{node: n}
	}
	text := t.appendZone(nil)
	n.x = uint16(len(text))
	return Value{t: &tape{src: text}, node: n}
}

// zonedNode returns the node of zoned. The offset of the zone's text is not set.
func zonedNode(k Kind, data uint64, t *TimeOfDay) node {
	n := node{mark: mark{kind: k}, data: data | uint64(t.Zone.kind)<<zoneShift}
	switch t.Zone.kind {
	case zoneNone:
		n.x = uint16(t.Nanosecond) << nanoShift
	case zoneFixed:
		biased := uint64(t.Zone.offset + day)
		n.n, n.x = uint32(biased), uint16(biased>>32)|uint16(t.Nanosecond)<<nanoShift
	}
	return n
}

// The text of a zone that needs one: the nanosecond in 2 bytes; for a fixed zone, its
// offset in 8 bytes; then the name.
const (
	nanoSize   = 2
	offsetSize = 8
)

// appendZone appends the text of a zone that needs one.
func (t *TimeOfDay) appendZone(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.Nanosecond))
	if t.Zone.kind == zoneNamed {
		dst = binary.BigEndian.AppendUint64(dst, uint64(t.Zone.offset))
	}
	text, _ := toWTF8(dst, t.Zone.text)
	return text
}

// zoneText returns the text of a datetime's or time's zone, or nil.
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
		z.text = string(text[nanoSize+offsetSize:])
	case zoneKey:
		z.text = string(text[nanoSize:])
	}
	return z
}

// offset returns the offset of a fixed zone, in microseconds.
func (v Value) offset() int64 {
	switch v.data >> zoneShift & 3 {
	case zoneFixed:
		return int64(uint64(v.n)|uint64(v.x&(1<<nanoShift-1))<<32) - day
	case zoneNamed:
		return int64(binary.BigEndian.Uint64(v.zoneText()[nanoSize:]))
	default:
		return 0
	}
}

// nanosecond returns the part of a datetime or time below the microsecond.
func (v Value) nanosecond() uint16 {
	if text := v.zoneText(); text != nil {
		return binary.BigEndian.Uint16(text)
	}
	return v.x >> nanoShift
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
		Nanosecond:  int(v.nanosecond()),
		Fold:        v.data>>foldShift&1 != 0,
	}
}

// HasNanoseconds reports whether v is a datetime, time or timedelta that is not in whole
// microseconds, so that Python can't hold it.
func (v Value) HasNanoseconds() bool {
	switch v.kind {
	case KindDateTime, KindTime:
		return v.nanosecond() != 0
	case KindTimeDelta:
		return v.data>>deltaNanoShift != 0
	default:
		return false
	}
}

// Value returns d as a value. The error is a *[RangeError].
func (d Date) Value() (Value, error) {
	data, err := d.pack(KindDate)
	if err != nil {
		return Value{}, err
	}
	return Value{node: node{mark: mark{kind: KindDate}, data: data}}, nil
}

// Value returns t as a value of kind time. The error is a *[RangeError].
func (t TimeOfDay) Value() (Value, error) {
	data, err := t.pack(KindTime)
	if err != nil {
		return Value{}, err
	}
	return zoned(KindTime, data, &t), nil
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
	return zoned(KindDateTime, date|clock, &t.TimeOfDay), nil
}

const maxDays = 999_999_999

// Value returns t as a value, in its normal form. The error is a *[RangeError].
func (t TimeDelta) Value() (Value, error) {
	t = t.normal()
	if t.Days < -maxDays || t.Days > maxDays {
		return Value{}, &RangeError{KindTimeDelta, "number of days", int64(t.Days)}
	}
	return Value{node: node{
		mark: mark{kind: KindTimeDelta}, n: uint32(int32(t.Days)),
		data: uint64(t.Nanoseconds)<<deltaNanoShift | uint64(t.Seconds)<<secondShift | uint64(t.Microseconds),
	}}, nil
}

func (t TimeDelta) normal() TimeDelta {
	more, nanos := divmod(t.Nanoseconds, 1000)
	carry, micros := divmod(t.Microseconds, 1_000_000)
	again, micros := divmod(micros+more%1_000_000, 1_000_000)
	carry += again + more/1_000_000
	days, seconds := divmod(t.Seconds, 86_400)
	next, seconds := divmod(seconds+carry%86_400, 86_400)
	return TimeDelta{Days: t.Days + days + next + carry/86_400, Seconds: seconds, Microseconds: micros, Nanoseconds: nanos}
}

// divmod is Python's divmod: the remainder is never negative.
func divmod(a, b int) (q, r int) {
	q, r = a/b, a%b
	if r < 0 {
		q, r = q-1, r+b
	}
	return q, r
}

// Date returns a date. ok is false for any other kind, including a datetime.
func (v Value) Date() (Date, bool) {
	if v.kind != KindDate {
		return Date{}, false
	}
	return v.date(), true
}

// TimeOfDay returns a time. ok is false for any other kind.
func (v Value) TimeOfDay() (TimeOfDay, bool) {
	if v.kind != KindTime {
		return TimeOfDay{}, false
	}
	return v.timeOfDay(), true
}

// DateTime returns a datetime. ok is false for any other kind.
func (v Value) DateTime() (DateTime, bool) {
	if v.kind != KindDateTime {
		return DateTime{}, false
	}
	return DateTime{v.date(), v.timeOfDay()}, true
}

// TimeDelta returns a timedelta in its normal form. ok is false for any other kind.
func (v Value) TimeDelta() (TimeDelta, bool) {
	if v.kind != KindTimeDelta {
		return TimeDelta{}, false
	}
	return TimeDelta{
		Days:         int(int32(v.n)),
		Seconds:      int(v.data >> secondShift & (1<<17 - 1)),
		Microseconds: int(v.data & (1<<20 - 1)),
		Nanoseconds:  int(v.data >> deltaNanoShift),
	}, true
}

// microseconds returns the time of day in microseconds, without the nanosecond.
func (t TimeOfDay) microseconds() int64 {
	return (int64(t.Hour)*3600+int64(t.Minute)*60+int64(t.Second))*1_000_000 + int64(t.Microsecond)
}

// days returns how many days d is after January 1, 1970.
func (d Date) days() int64 {
	return time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}
