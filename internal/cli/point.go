package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A point is a flag's value that says where in a store to begin or to end:
// earliest, latest, a position, a time, or an age.
type point struct {
	text string // as it was written
	wire string // as a greeting has it

	latest   bool
	position store.Position
	time     time.Time
	age      time.Duration
}

const pointHelp = "earliest, latest, a position, a time as 2026-11-23T10:00Z, or an age as 10m or 7d"

// Set parses a point.
func (p *point) Set(s string) error {
	*p = point{text: s, wire: s}
	switch s {
	case "earliest":
		return nil
	case "latest":
		p.latest = true
		return nil
	}
	if age, err := parseAge(s); err == nil {
		p.age, p.wire = age, age.String()
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			p.time, p.wire = t, t.Format(time.RFC3339Nano)
			return nil
		}
	}
	var err error
	if p.position, err = store.ParsePosition(s); err == nil && s != "" {
		return nil
	}
	return fmt.Errorf("want %s", pointHelp)
}

func (p *point) String() string { return p.text }

// Type names the value in help texts.
func (*point) Type() string { return "point" }

// in returns the position of the point in a store.
func (p *point) in(ctx context.Context, s store.Log) (store.Position, error) {
	switch {
	case p.latest:
		return s.Head(ctx)
	case !p.time.IsZero():
		return s.Seek(ctx, p.time)
	case p.age > 0:
		return s.Seek(ctx, time.Now().Add(-p.age))
	default:
		return p.position, nil
	}
}

// parseAge parses an age: 90s, 10m, 12h, 7d.
func parseAge(s string) (time.Duration, error) {
	text, factor := s, 1.0
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, factor = days+"h", 24
	}
	d, err := time.ParseDuration(text)
	if years := float64(d) * factor / float64(365*24*time.Hour); err != nil || d <= 0 || years > 200 {
		return 0, fmt.Errorf("want an age, as in 90s, 10m, 12h or 7d")
	}
	return time.Duration(float64(d) * factor), nil
}
