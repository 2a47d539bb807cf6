// Package option reads options whose zero value is a default.
package option

import "time"

// Never is a time-out longer than the life of any process.
const Never = 100 * 365 * 24 * time.Hour

// Timeout returns the time-out for an option's value: zero means the default, negative
// none.
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
