// Package point reads what people write for a place in a store: earliest, latest,
// a position, a time of RFC 3339, or an age.
package point

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Help says what Parse takes.
const Help = "earliest, latest, a position, a time as 2026-11-23T10:00Z, or an age as 10m or 7d"

// A Point is a place in a store. The zero value is its beginning.
type Point struct {
	latest   bool
	position store.Position
	time     time.Time
	age      time.Duration
}

// Latest returns the head of a store.
func Latest() Point { return Point{latest: true} }

// Parse reads a point; "" is earliest.
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
	return Point{}, errors.New("want " + Help)
}

// In returns the position of the point in a store, the zero one for its
// beginning. A position that was written is not looked at, but for its index: the
// error wraps store.ErrPosition where that is after the end of its block.
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

// ParseAge reads an age: 90s, 10m, 12h, 7d.
func ParseAge(s string) (time.Duration, error) {
	text, factor := s, 1.0
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, factor = days+"h", 24
	}
	d, err := time.ParseDuration(text)
	if years := float64(d) * factor / float64(365*24*time.Hour); err != nil || d <= 0 || years > 200 {
		return 0, errors.New("want an age, as in 90s, 10m, 12h or 7d")
	}
	return time.Duration(float64(d) * factor), nil
}
