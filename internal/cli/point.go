package cli

import (
	"errors"
	"time"

	"github.com/dictwire/dictwire/internal/point"
)

// A pointFlag is a flag's value: a point in a store where to begin or end.
type pointFlag struct {
	point.Point
	text string // as it was written
}

// Set parses a point.
func (f *pointFlag) Set(s string) (err error) {
	if s == "" {
		return errors.New("want " + point.Help)
	}
	f.text = s
	f.Point, err = point.ParseLocal(s, time.Now())
	return err
}

func (f *pointFlag) String() string { return f.text }

// Type names the value in help texts.
func (*pointFlag) Type() string { return "point" }

// from returns the point as it is in a greeting.
func (f *pointFlag) from() string {
	if f.text == "" {
		return ""
	}
	return f.Point.String()
}
