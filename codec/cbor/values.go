package cbor

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// The methods of this file take in a tagged value whose parts have been read. They
// return what was expected instead, where it is none.

// add takes in v, which problem says was expected where err says that it is none.
func (p *parser) add(v dict.Value, err error, problem string) string {
	if err != nil {
		return problem
	}
	if p.B != nil {
		p.B.Add(v)
	}
	return ""
}

// int returns an int that fits in int64.
func (a *arg) int() (int64, bool) {
	if a.kind != dict.KindInt || a.big != nil || a.n > math.MaxInt64 {
		return 0, false
	}
	if a.minus {
		return -1 - int64(a.n), true
	}
	return int64(a.n), true
}

// number returns an int or a float as a float.
func (a *arg) number() (float64, bool) {
	switch {
	case a.kind == dict.KindFloat:
		return a.f, true
	case a.kind != dict.KindInt || a.big != nil:
		return 0, false
	case a.minus:
		return -1 - float64(a.n), true
	default:
		return float64(a.n), true
	}
}

func (p *parser) complex(args []arg) string {
	const problem = "a list of two numbers, the parts of a complex number"
	if len(args) != 2 {
		return problem
	}
	re, ok := args[0].number()
	im, fine := args[1].number()
	if !ok || !fine {
		return problem
	}
	if p.B != nil {
		p.B.Complex(complex(re, im))
	}
	return ""
}

// decimal takes in the exponent and the mantissa of a decimal fraction.
func (p *parser) decimal(args []arg) string {
	const problem = "a list of two integers, the exponent and mantissa of a decimal, in Python's range"
	if len(args) != 2 || args[1].kind != dict.KindInt {
		return problem
	}
	exp, ok := args[0].int()
	if !ok {
		return problem
	}
	mantissa := &args[1]
	switch {
	case mantissa.big != nil:
		if !p.digitsFit(mantissa.big, mantissa.minus) {
			return tooManyDigits
		}
		if p.B == nil && exp > -1<<59 && exp < 1<<59 {
			return "" // in range, whatever the digits
		}
		p.Text = bigInt(mantissa.big, mantissa.minus).Append(p.Text[:0], 10)
	case mantissa.n > p.MaxInt:
		return tooManyDigits
	case mantissa.minus && mantissa.n == math.MaxUint64:
		p.Text = append(p.Text[:0], "-18446744073709551616"...)
	case mantissa.minus:
		p.Text = strconv.AppendUint(append(p.Text[:0], '-'), mantissa.n+1, 10)
	default:
		p.Text = strconv.AppendUint(p.Text[:0], mantissa.n, 10)
	}
	digits := bytes.TrimPrefix(p.Text, []byte{'-'})
	if !p.addDecimal(mantissa.minus, digits, exp) {
		return problem
	}
	return ""
}

// addDecimal takes in ±digits × 10^exp. digits may lie in p.Text.
func (p *parser) addDecimal(minus bool, digits []byte, exp int64) bool {
	n := len(p.Text)
	text, err := dict.AppendDecimal(p.Text, minus, digits, exp)
	if err != nil {
		return false
	}
	p.Text = text
	if p.B != nil {
		p.B.OwnRef(dict.KindDecimal, append(p.B.Own(), text[n:]...))
	}
	return true
}

// decimalText takes in a decimal as Python's str prints it.
func (p *parser) decimalText(text []byte) string {
	const problem = "a decimal as Python's str prints it"
	rest := bytes.TrimPrefix(text, []byte{'-'})
	minus := len(rest) < len(text)
	if word := bytes.TrimRight(rest, "0123456789"); len(word) > 0 && word[0] > '9' {
		payload := rest[len(word):]
		switch string(word) {
		case "NaN", "sNaN":
			if len(payload) > p.Lim.Digits {
				return tooManyDigits
			}
			if len(payload) > 0 && payload[0] == '0' {
				return problem
			}
		case "Infinity":
			if len(payload) > 0 {
				return problem
			}
		default:
			return problem
		}
		if p.B != nil {
			p.B.OwnRef(dict.KindDecimal, append(p.B.Own(), text...))
		}
		return ""
	}
	var exp int64
	if i := bytes.IndexByte(rest, 'E'); i >= 0 {
		var ok bool
		if exp, ok = exponent(rest[i+1:]); !ok {
			return problem
		}
		rest = rest[:i]
	}
	p.Text = p.Text[:0]
	point := false
	for _, c := range rest {
		switch {
		case c-'0' <= 9:
			p.Text = append(p.Text, c)
			if point {
				exp--
			}
		case c == '.' && !point:
			point = true
		default:
			return problem
		}
	}
	switch {
	case len(p.Text) == 0:
		return problem
	case len(p.Text) > p.Lim.Digits:
		return tooManyDigits
	case !p.addDecimal(minus, p.Text, exp):
		return problem
	default:
		return ""
	}
}

// exponent reads a decimal's exponent, "+5".
func exponent(b []byte) (int64, bool) {
	if len(b) < 2 || len(b) > 20 || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	var v int64
	for _, c := range b[1:] {
		if c-'0' > 9 || v > math.MaxInt64/20 {
			return 0, false
		}
		v = 10*v + int64(c-'0')
	}
	if b[0] == '-' {
		v = -v
	}
	return v, true
}

// moment takes in the number of seconds, or days, since the epoch.
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

// duration takes in the keys and values of a duration.
func (p *parser) duration(args []arg) string {
	const problem = "a map of 1: seconds and, where there are any, -3: milliseconds, -6: microseconds, -9: nanoseconds in whole microseconds"
	var d dict.TimeDelta
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
			d.Days, d.Seconds = int(n/86_400), int(n%86_400)
			d.Microseconds += int(micros)
			if !ok {
				return problem
			}
			continue
		}
		if !ok || n < 0 || n > 1e12 {
			return problem
		}
		switch key {
		case -3:
			d.Microseconds += int(n) * 1000
		case -6:
			d.Microseconds += int(n)
		case -9:
			if n%1000 != 0 {
				return problem
			}
			d.Microseconds += int(n) / 1000
		default:
			return problem
		}
	}
	if seen&(1<<10) == 0 {
		return problem
	}
	v, err := d.Value()
	return p.add(v, err, "a duration of less than a billion days")
}

// dateTime takes in the text of tag 0: RFC 3339, and offsets to the microsecond as
// Python's isoformat writes them.
func (p *parser) dateTime(text []byte) string {
	const problem = "a date and time as in 2024-01-02T03:04:05.678Z or …+01:00, in the years 1 to 9999"
	var t dict.DateTime
	var ok bool
	if t.Date, text, ok = readDate(text); !ok || len(text) == 0 || text[0]|0x20 != 't' {
		return problem
	}
	if t.TimeOfDay, text, ok = readClock(text[1:]); !ok {
		return problem
	}
	offset, ok := readOffset(text)
	if !ok {
		return problem
	}
	t.Zone = dict.FixedZone(offset)
	v, err := t.Value()
	return p.add(v, err, problem)
}

// date takes in the text of tag 1004.
func (p *parser) date(text []byte) string {
	const problem = "a date as in 2024-01-02, in the years 1 to 9999"
	d, rest, ok := readDate(text)
	if !ok || len(rest) > 0 {
		return problem
	}
	v, err := d.Value()
	return p.add(v, err, problem)
}

// objectValue takes in a generic object.
func (p *parser) objectValue(name []byte, args []arg) string {
	const problem = "an object's name and arguments as the table of objects has them"
	switch string(name) {
	case objByteArray:
		if len(args) != 1 || args[0].kind != dict.KindBytes {
			return problem
		}
		if p.B != nil {
			p.B.OwnRef(dict.KindByteArray, append(p.B.Own(), args[0].text...))
		}
		return ""
	case objDecimal:
		if len(args) != 1 || args[0].kind != dict.KindString {
			return problem
		}
		return p.decimalText(args[0].text)
	case objExtType:
		if len(args) != 2 || args[1].kind != dict.KindBytes {
			return problem
		}
		code, ok := args[0].int()
		if !ok || code < -128 || code > 127 {
			return problem
		}
		if p.B != nil {
			at := p.B.OpenTagged(dict.MessagePackExt)
			p.B.Int(code)
			p.B.OwnRef(dict.KindBytes, append(p.B.Own(), args[1].text...))
			p.B.Close(at, 2)
		}
		return ""
	case objTimeDelta:
		if len(args) != 3 {
			return problem
		}
		var n [3]int64
		for i := range args {
			var ok bool
			if n[i], ok = args[i].int(); !ok || n[i] < -1e12 || n[i] > 1e12 {
				return problem
			}
		}
		v, err := dict.TimeDelta{Days: int(n[0]), Seconds: int(n[1]), Microseconds: int(n[2])}.Value()
		return p.add(v, err, problem)
	case objDateTime:
		return p.clockObject(args, true, problem)
	default: // objTime
		return p.clockObject(args, false, problem)
	}
}

// clockObject takes in a datetime, or a time.
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
	if t.TimeOfDay, text, ok = readClock(text); !ok || len(text) > 0 {
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

// readClock reads 03:04:05, with a fraction that is cut to microseconds.
func readClock(b []byte) (t dict.TimeOfDay, rest []byte, ok bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return t, b, false
	}
	t = dict.TimeOfDay{Hour: decimal(b[:2]), Minute: decimal(b[3:5]), Second: decimal(b[6:8])}
	t.Microsecond, rest, ok = readFraction(b[8:])
	return t, rest, ok && t.Hour >= 0 && t.Minute >= 0 && t.Second >= 0
}

// readFraction reads the fraction of a second, if there is one.
func readFraction(b []byte) (micros int, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' {
		return 0, b, true
	}
	b = b[1:]
	n := 0
	for ; n < len(b) && b[n]-'0' <= 9; n++ {
		if n < 6 {
			micros = 10*micros + int(b[n]-'0')
		}
	}
	for i := n; i < 6; i++ {
		micros *= 10
	}
	return micros, b[n:], n > 0
}

// readOffset reads Z or +01:00, the last thing of a text.
func readOffset(b []byte) (time.Duration, bool) {
	if len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if len(b) < 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hours, minutes, seconds, micros := decimal(b[1:3]), decimal(b[4:6]), 0, 0
	ok := hours >= 0 && minutes >= 0 && minutes < 60
	rest := b[6:]
	if len(rest) >= 3 && rest[0] == ':' {
		seconds = decimal(rest[1:3])
		ok = ok && seconds >= 0 && seconds < 60
		var fine bool
		micros, rest, fine = readFraction(rest[3:])
		ok = ok && fine
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute +
		time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond
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
