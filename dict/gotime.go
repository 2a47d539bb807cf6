package dict

import (
	"math"
	"reflect"
	"time"
)

// fromTime returns t with its offset from UTC.
func fromTime(t time.Time) DateTime {
	zone := UTC()
	if t.Location() != time.UTC {
		_, offset := t.Zone()
		zone = FixedZone(time.Duration(offset) * time.Second)
	}
	return wallClock(t, zone)
}

// wallClock returns what calendar and clock show at t, in the given zone.
func wallClock(t time.Time, zone Zone) DateTime {
	return DateTime{
		Date: Date{t.Year(), int(t.Month()), t.Day()},
		TimeOfDay: TimeOfDay{
			Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(),
			Microsecond: t.Nanosecond() / 1000, Nanosecond: t.Nanosecond() % 1000, Zone: zone,
		},
	}
}

// toTime sets a time.Time.
func (v Value) toTime(r reflect.Value) error {
	if v.kind != KindDateTime {
		return v.misfit(r)
	}
	dt, _ := v.DateTime()
	loc, fixed := time.UTC, true
	var offset time.Duration
	switch z := dt.Zone; {
	case z.IsNaive():
		return &ConversionError{Type: r.Type(), Msg: "the naive datetime " + v.String() + " has no zone; take a dict.DateTime"}
	case z.kind == zoneKey:
		var err error
		if loc, err = time.LoadLocation(z.text); err != nil {
			return &ConversionError{Type: r.Type(), Msg: err.Error()}
		}
		fixed = false
	default:
		if offset, _ = z.Offset(); offset%time.Second != 0 {
			return v.misfit(r)
		}
		if z != UTC() {
			loc = time.FixedZone(z.text, int(offset/time.Second))
		}
	}
	utc := time.Date(dt.Year, time.Month(dt.Month), dt.Day, dt.Hour, dt.Minute, dt.Second, dt.Microsecond*1000+dt.Nanosecond, time.UTC)
	if !fixed {
		offset = offsetAt(utc, loc, dt.Fold)
	}
	r.Set(reflect.ValueOf(utc.Add(-offset).In(loc)))
	return nil
}

// offsetAt returns the offset from UTC at which clocks in loc show the given time, which
// utc holds as if it were UTC. If they show it twice, or never, fold selects the offset
// after the change, otherwise the one before it: PEP 495.
func offsetAt(utc time.Time, loc *time.Location, fold bool) time.Duration {
	at := func(t time.Time) time.Duration {
		_, offset := t.In(loc).Zone()
		return time.Duration(offset) * time.Second
	}
	before, behind := at(utc.Add(-24*time.Hour)), at(utc.Add(24*time.Hour))
	if before == behind {
		return at(utc.Add(-before))
	}
	// A change is near. A time is on one side of it unless both readings, or neither,
	// have the offset that they assume.
	early, late := at(utc.Add(-before)) == before, at(utc.Add(-behind)) == behind
	if early && !late || early == late && !fold {
		return before
	}
	return behind
}

// toDuration sets a time.Duration.
func (v Value) toDuration(r reflect.Value) error {
	const day = int64(24 * time.Hour)
	t, _ := v.TimeDelta()
	days := int64(t.Days)
	rest := int64(t.Seconds)*int64(time.Second) + int64(t.Microseconds)*int64(time.Microsecond) + int64(t.Nanoseconds)
	if days < 0 { // so that the smallest duration fits
		days, rest = days+1, rest-day
	}
	if days < math.MinInt64/day || days > math.MaxInt64/day ||
		days*day > 0 && rest > math.MaxInt64-days*day || days*day < 0 && rest < math.MinInt64-days*day {
		return v.misfit(r)
	}
	r.SetInt(days*day + rest)
	return nil
}
