package cbor

import (
	"math"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// moment builds a datetime or date from the number of seconds or days since the epoch.
func (p *parser) moment(number uint64, a *arg) string {
	seconds, ok := a.int()
	if number == tagDays {
		const problem = "an integer, the days from 1970-01-01 to a date in the years 1 to 9999"
		if !ok || seconds < -1e7 || seconds > 1e7 {
			return problem
		}
		v, err := civil(seconds).Value()
		return p.add(v, err, problem)
	}
	const problem = "a number, the seconds from 1970-01-01 to a time in the years 1 to 9999"
	micros := int64(0)
	if a.kind == dict.KindFloat {
		seconds, micros, ok = parts(a.f)
	}
	if !ok || seconds < -1e12 || seconds > 1e12 {
		return problem
	}
	days := seconds / 86_400
	if seconds %= 86_400; seconds < 0 {
		seconds += 86_400
		days--
	}
	v, err := dict.DateTime{Date: civil(days), TimeOfDay: dict.TimeOfDay{
		Hour: int(seconds / 3600), Minute: int(seconds / 60 % 60), Second: int(seconds % 60),
		Microsecond: int(micros), Zone: dict.UTC(),
	}}.Value()
	return p.add(v, err, problem)
}

// parts returns a number of seconds in whole seconds and microseconds, rounded as
// Python does.
func parts(f float64) (seconds, micros int64, ok bool) {
	whole, fraction := math.Modf(f)
	if !(math.Abs(whole) < 1e15) {
		return 0, 0, false
	}
	seconds, micros = int64(whole), int64(math.RoundToEven(fraction*1e6))
	switch {
	case micros >= 1e6:
		return seconds + 1, micros - 1e6, true
	case micros < 0:
		return seconds - 1, micros + 1e6, true
	default:
		return seconds, micros, true
	}
}

// civil returns the date of a number of days since the epoch.
func civil(days int64) dict.Date {
	t := time.Unix(days*86_400, 0).UTC()
	return dict.Date{Year: t.Year(), Month: int(t.Month()), Day: t.Day()}
}

// duration builds a timedelta from the keys and values of a duration.
func (p *parser) duration(args []arg) string {
	const problem = "a map of 1: seconds and, where there are any, -3: milliseconds, -6: microseconds, -9: nanoseconds"
	const tooLong = "a duration of less than a billion days"
	var seconds, nanos int64
	seen := 0
	for i := 0; i < len(args); i += 2 {
		key, ok := args[i].int()
		if !ok || key < -9 || key > 1 || seen&(1<<(key+9)) != 0 {
			return problem
		}
		seen |= 1 << (key + 9)
		n, ok := args[i+1].int()
		if key == 1 {
			micros := int64(0)
			if args[i+1].kind == dict.KindFloat {
				n, micros, ok = parts(args[i+1].f)
			}
			if !ok {
				return problem
			}
			seconds = n
			nanos += micros * 1000
			continue
		}
		if !ok || n < 0 || n > 1e12 {
			return problem
		}
		switch key {
		case -3:
			nanos += n * 1e6
		case -6:
			nanos += n * 1e3
		case -9:
			nanos += n
		default:
			return problem
		}
	}
	if seen&(1<<10) == 0 {
		return problem
	}
	if seconds < -1e14 || seconds > 1e14 {
		return tooLong
	}
	seconds += nanos / 1e9
	nanos %= 1e9
	v, err := dict.TimeDelta{
		Days: int(seconds / 86_400), Seconds: int(seconds % 86_400), Microseconds: int(nanos / 1000), Nanoseconds: int(nanos % 1000),
	}.Value()
	return p.add(v, err, tooLong)
}

// dateTime builds a datetime from the text of tag 0. A text that no datetime can represent
// keeps its tag.
func (p *parser) dateTime(text []byte) string {
	const problem = "a date and time of RFC 3339, as in 2024-01-02T03:04:05.678Z or …+01:00, in which second 60 is the last one of a month in UTC"
	v, beyond, ok := readDateTime(text)
	switch {
	case !ok:
		return problem
	case p.B == nil:
	case beyond:
		at := p.B.OpenTagged(dict.CBORTag)
		p.B.Int(tagDateTime)
		p.B.OwnText(append(p.B.Own(), text...), false)
		p.B.Close(at, 2)
	default:
		p.B.Add(v)
	}
	return ""
}

// readDateTime reads the text of tag 0: RFC 3339, and offsets to the microsecond as
// Python's isoformat writes them. Where ok and beyond, it is a time that no datetime
// is: a leap second, one with more than 9 digits of a second, or one in the year 0.
func readDateTime(text []byte) (v dict.Value, beyond, ok bool) {
	var t dict.DateTime
	if t.Date, text, ok = readDate(text); !ok || len(text) == 0 || text[0]|0x20 != 't' {
		return v, false, false
	}
	if t.TimeOfDay, beyond, text, ok = readClock(text[1:]); !ok {
		return v, false, false
	}
	offset, ok := readOffset(text)
	if !ok {
		return v, false, false
	}
	t.Zone = dict.FixedZone(offset)
	if t.Second == 60 {
		next := time.Date(t.Year, time.Month(t.Month), t.Day, t.Hour, t.Minute, t.Second, 0, time.UTC).Add(-offset)
		if year, month, day := next.Date(); !next.Equal(time.Date(year, month, day, 0, 0, 0, 0, time.UTC)) || day != 1 {
			return v, false, false
		}
		t.Second, beyond = 59, true
	}
	if t.Year == 0 {
		t.Year, beyond = 2000, true // which has the same days
	}
	v, err := t.Value()
	return v, beyond, err == nil
}

// date builds a date from the text of tag 1004.
func (p *parser) date(text []byte) string {
	const problem = "a date as in 2024-01-02, in the years 1 to 9999"
	d, rest, ok := readDate(text)
	if !ok || len(rest) > 0 {
		return problem
	}
	v, err := d.Value()
	return p.add(v, err, problem)
}

// clockObject builds a datetime, or a time.
func (p *parser) clockObject(args []arg, withDate bool, problem string) string {
	if len(args) == 0 || args[0].kind != dict.KindString {
		return problem
	}
	text := args[0].text
	var t dict.DateTime
	var ok bool
	if withDate {
		if t.Date, text, ok = readDate(text); !ok || len(text) == 0 || text[0] != 'T' {
			return problem
		}
		text = text[1:]
	}
	var finer bool
	if t.TimeOfDay, finer, text, ok = readClock(text); !ok || finer || len(text) > 0 {
		return problem
	}
	if len(args) > 1 {
		fold, ok := args[1].int()
		if !ok || fold < 0 || fold > 1 {
			return problem
		}
		t.Fold = fold == 1
		if t.Zone, ok = p.zone(args[2:]); !ok {
			return problem
		}
	}
	v, err := t.TimeOfDay.Value()
	if withDate {
		v, err = t.Value()
	}
	return p.add(v, err, problem)
}

// zone returns the zone that the last arguments of a datetime or time name. Where
// the parser only checks, it has no name.
func (p *parser) zone(args []arg) (dict.Zone, bool) {
	const maxName = 1024
	if len(args) == 0 {
		return dict.Zone{}, true
	}
	last := &args[len(args)-1]
	if last.kind == dict.KindString && len(last.text) > maxName {
		return dict.Zone{}, false
	}
	if len(args) == 1 && last.kind == dict.KindString {
		if p.B == nil {
			return dict.UTC(), true
		}
		return dict.KeyZone(string(last.text)), true
	}
	micros, ok := args[0].int()
	if !ok || micros <= -86_400e6 || micros >= 86_400e6 {
		return dict.Zone{}, false
	}
	offset := time.Duration(micros) * time.Microsecond
	switch {
	case len(args) == 1:
		return dict.FixedZone(offset), true
	case len(args) > 2 || last.kind != dict.KindString:
		return dict.Zone{}, false
	case p.B == nil:
		return dict.FixedZone(offset), true
	default:
		return dict.NamedFixedZone(offset, string(last.text)), true
	}
}

// readDate reads 2024-01-02.
func readDate(b []byte) (d dict.Date, rest []byte, ok bool) {
	if len(b) < 10 || b[4] != '-' || b[7] != '-' {
		return d, b, false
	}
	d = dict.Date{Year: decimal(b[:4]), Month: decimal(b[5:7]), Day: decimal(b[8:10])}
	return d, b[10:], d.Year >= 0 && d.Month >= 0 && d.Day >= 0
}

// readClock reads 03:04:05, with a fraction or not. finer says that this has more than
// nanoseconds.
func readClock(b []byte) (t dict.TimeOfDay, finer bool, rest []byte, ok bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return t, false, b, false
	}
	t = dict.TimeOfDay{Hour: decimal(b[:2]), Minute: decimal(b[3:5]), Second: decimal(b[6:8])}
	nanos, finer, rest, ok := readFraction(b[8:])
	t.Microsecond, t.Nanosecond = nanos/1000, nanos%1000
	return t, finer, rest, ok && t.Hour >= 0 && t.Minute >= 0 && t.Second >= 0
}

// readFraction reads the fraction of a second, if there is one, in nanoseconds. finer
// says that there are digits after these, other than zeros.
func readFraction(b []byte) (nanos int, finer bool, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' {
		return 0, false, b, true
	}
	const digits = 9
	b = b[1:]
	n := 0
	for ; n < len(b) && b[n]-'0' <= 9; n++ {
		switch {
		case n < digits:
			nanos = 10*nanos + int(b[n]-'0')
		case b[n] != '0':
			finer = true
		}
	}
	for i := n; i < digits; i++ {
		nanos *= 10
	}
	return nanos, finer, b[n:], n > 0
}

// readOffset reads Z or +01:00, the last thing of a text.
func readOffset(b []byte) (time.Duration, bool) {
	if len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if len(b) < 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hours, minutes, seconds, nanos := decimal(b[1:3]), decimal(b[4:6]), 0, 0
	ok := hours >= 0 && minutes >= 0 && minutes < 60
	rest := b[6:]
	if len(rest) >= 3 && rest[0] == ':' {
		seconds = decimal(rest[1:3])
		ok = ok && seconds >= 0 && seconds < 60
		var finer, fraction bool
		nanos, finer, rest, fraction = readFraction(rest[3:])
		ok = ok && fraction && !finer && nanos%1000 == 0
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute +
		time.Duration(seconds)*time.Second + time.Duration(nanos)
	if b[0] == '-' {
		offset = -offset
	}
	return offset, ok && len(rest) == 0
}

// decimal returns the number that digits spell, or -1.
func decimal(digits []byte) int {
	v := 0
	for _, c := range digits {
		if c-'0' > 9 {
			return -1
		}
		v = 10*v + int(c-'0')
	}
	return v
}
