package python

import (
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// time adds a date, time, datetime or timedelta.
func (a *arguments) time(w word) bool {
	var (
		d     dict.Date
		t     dict.TimeOfDay
		begin = a.i
		b     = &a.p.b
		err   error
	)
	switch w {
	case theTimeDelta:
		delta, ok := a.timeDelta()
		if !ok {
			return false
		}
		var v dict.Value
		if v, err = delta.Value(); err == nil {
			b.Add(v)
		}
	case theDate:
		if n, ok := a.numbers([]*int{&d.Year, &d.Month, &d.Day}); !ok || n < 3 || !a.atEnd() {
			return ok && a.fail("year, month and day")
		}
		var v dict.Value
		if v, err = d.Value(); err == nil {
			b.Add(v)
		}
	case theTime:
		if _, ok := a.numbers([]*int{&t.Hour, &t.Minute, &t.Second, &t.Microsecond}); !ok || !a.foldAndZone(&t) {
			return false
		}
		err = b.TimeOfDay(t)
	default:
		n, ok := a.numbers([]*int{&d.Year, &d.Month, &d.Day, &t.Hour, &t.Minute, &t.Second, &t.Microsecond})
		if !ok || n < 3 {
			return ok && a.fail("at least year, month and day")
		}
		if !a.foldAndZone(&t) {
			return false
		}
		err = b.DateTime(dict.DateTime{Date: d, TimeOfDay: t})
	}
	if err != nil {
		a.p.fail(fault.Malformed, begin, err.Error())
		return false
	}
	return true
}

// timeDelta reads a timedelta's arguments.
func (a *arguments) timeDelta() (t dict.TimeDelta, ok bool) {
	if _, ok := a.numbers([]*int{&t.Days, &t.Seconds, &t.Microseconds}); !ok {
		return t, false
	}
	for !a.atEnd() {
		part := &t.Days
		switch {
		case a.has("days="):
		case a.has("seconds="):
			part = &t.Seconds
		case a.has("microseconds="):
			part = &t.Microseconds
		default:
			return t, a.fail("days, seconds or microseconds")
		}
		n, ok := a.int()
		if !ok {
			return t, false
		}
		*part = int(n)
		if !a.atEnd() && !a.want(",", "',' or ')'") {
			return t, false
		}
	}
	return t, true
}

// foldAndZone reads a time's named arguments.
func (a *arguments) foldAndZone(t *dict.TimeOfDay) bool {
	for !a.atEnd() {
		switch {
		case a.has("fold="):
			n, ok := a.int()
			if !ok || n != 0 && n != 1 {
				return ok && a.fail("a fold of 0 or 1 before it")
			}
			t.Fold = n == 1
		case a.has("tzinfo="):
			zone, ok := a.zone()
			if !ok {
				return false
			}
			t.Zone = zone
		default:
			return a.fail("fold or tzinfo")
		}
		if !a.atEnd() && !a.want(",", "',' or ')'") {
			return false
		}
	}
	return true
}

// zone reads what follows tzinfo=.
func (a *arguments) zone() (z dict.Zone, ok bool) {
	switch {
	case a.has("datetime.timezone.utc"):
		return dict.UTC(), true
	case a.has("zoneinfo.ZoneInfo(") && a.want("key=", "key="):
		key, ok := a.text(false)
		if !ok || !a.want(")", "')'") {
			return z, false
		}
		return a.p.zones.get(false, 0, key), true
	case a.has("datetime.timezone("):
		if !a.want("datetime.timedelta(", "a timedelta") {
			return z, false
		}
		end := a.i
		for a.buf[end] != ')' { // the call's own ends buf
			end++
		}
		inner := arguments{p: a.p, buf: a.buf[:end+1], i: a.i}
		delta, ok := inner.timeDelta()
		if !ok {
			return z, false
		}
		a.i = min(end+1, len(a.buf)-1)
		const day = 24 * time.Hour
		if delta.Days < -1 || delta.Days > 1 || delta.Seconds < -86400 || delta.Seconds > 86400 ||
			delta.Microseconds < -1e6 || delta.Microseconds > 1e6 {
			return z, a.fail("an offset of less than a day before it")
		}
		offset := time.Duration(delta.Days)*day + time.Duration(delta.Seconds)*time.Second + time.Duration(delta.Microseconds)*time.Microsecond
		if a.has(")") {
			return dict.FixedZone(offset), true
		}
		if !a.want(",", "',' or ')'") {
			return z, false
		}
		name, ok := a.text(false)
		if !ok || !a.want(")", "')'") {
			return z, false
		}
		return a.p.zones.get(true, offset, name), true
	default:
		return z, a.fail("datetime.timezone or zoneinfo.ZoneInfo")
	}
}
