// Package option reads options whose zero value is a default.
package option

import "time"

// Never is a time-out that no process lives to see.
const Never = 100 * 365 * 24 * time.Hour

// Timeout returns a time-out as an option gives it: zero means the default,
// negative none.
func Timeout(d, byDefault time.Duration) time.Duration {
	switch {
	case d == 0:
		return byDefault
	case d < 0:
		return Never
	default:
		return d
	}
}
