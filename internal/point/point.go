// Package point parses points in a store: earliest, latest, a position, an RFC 3339 time,
// or an age; from people also dates and times in their own zone.
package point

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

const (
	// Help describes what ParseLocal accepts.
	Help = "earliest, latest, a position, a time as 2026-11-23T10:00Z, '2026-11-23 10:00', 2026-11-23, 10:00, today or yesterday, or an age as 10m, 7d or 1w"

	strict = "earliest, latest, a position, a time as 2026-11-23T10:00Z, or an age as 10m, 7d or 1w"
)

// A Point is a point in a store. The zero value is the beginning.
type Point struct {
	latest   bool
	position store.Position
	time     time.Time
	age      time.Duration
}

// Latest returns the head of a store.
func Latest() Point { return Point{latest: true} }

// Parse parses a point that means the same everywhere. "" is earliest.
func Parse(s string) (Point, error) {
	switch s {
	case "", "earliest":
		return Point{}, nil
	case "latest":
		return Latest(), nil
	}
	if age, err := ParseAge(s); err == nil {
		return Point{age: age}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Point{time: t}, nil
		}
	}
	if p, err := store.ParsePosition(s); err == nil {
		return Point{position: p}, nil
	}
	return Point{}, errors.New("want " + strict)
}

// local are the layouts of dates and times without a zone.
var local = []string{
	time.DateOnly, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04",
}

// ParseLocal is Parse, but also accepts dates and times in the zone of now.
func ParseLocal(s string, now time.Time) (Point, error) {
	if p, err := Parse(s); err == nil {
		return p, nil
	}
	year, month, day := now.Date()
	switch s {
	case "now":
		return Point{time: now}, nil
	case "yesterday":
		day--
		fallthrough
	case "today":
		return Point{time: time.Date(year, month, day, 0, 0, 0, 0, now.Location())}, nil
	}
	for _, layout := range local {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return Point{time: t}, nil
		}
	}
	for _, layout := range []string{"15:04", time.TimeOnly} { // of today
		if t, err := time.Parse(layout, s); err == nil {
			return Point{time: time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())}, nil
		}
	}
	return Point{}, errors.New("want " + Help)
}

// String returns the point in the form that Parse accepts.
func (p Point) String() string {
	switch {
	case p.latest:
		return "latest"
	case !p.time.IsZero():
		return p.time.UTC().Format(time.RFC3339Nano)
	case p.age > 0:
		return p.age.String()
	case p.position.IsZero():
		return "earliest"
	default:
		return p.position.String()
	}
}

// Position returns the position of a point that is one, or the zero position.
func (p Point) Position() store.Position { return p.position }

// Time returns the time of a point that is a time, or an age as of now; otherwise the
// zero time.
func (p Point) Time(now time.Time) time.Time {
	if p.age > 0 {
		return now.Add(-p.age)
	}
	return p.time
}

// Past reports whether the point is before everything that is stored after now.
func (p Point) Past(now time.Time) bool {
	return p.position.IsZero() && !p.Time(now).After(now)
}

// In returns the point's position in a store, which is zero for the beginning. A given
// position is not looked up, except to check its index: the error wraps store.ErrPosition
// if it is beyond the end of its block.
func (p Point) In(ctx context.Context, s store.Log) (store.Position, error) {
	switch {
	case p.latest:
		return s.Head(ctx)
	case !p.time.IsZero():
		return s.Seek(ctx, p.time)
	case p.age > 0:
		return s.Seek(ctx, time.Now().Add(-p.age))
	default:
		return p.position, store.CheckIndex(ctx, s, p.position)
	}
}

// ParseAge parses an age: 90s, 10m, 12h, 7d, 1w.
func ParseAge(s string) (time.Duration, error) {
	text, factor := s, 1.0
	for unit, days := range map[string]float64{"d": 1, "w": 7} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			text, factor = n+"h", 24*days
		}
	}
	d, err := time.ParseDuration(text)
	if years := float64(d) * factor / float64(365*24*time.Hour); err != nil || d <= 0 || years > 200 {
		return 0, errors.New("want an age, as in 90s, 10m, 12h, 7d or 1w")
	}
	return time.Duration(float64(d) * factor), nil
}
