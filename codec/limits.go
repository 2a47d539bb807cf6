package codec

import "math"

// Limits are the limits of one record. A field of zero means the default, a negative one no
// limit.
type Limits struct {
	// RecordBytes caps one serialized dictionary, in bytes. Zero means 1 MiB. A record is always
	// smaller than 2 GiB.
	RecordBytes int

	// Depth caps the nesting of containers, where the dictionary itself counts as 1. Zero means
	// 128.
	Depth int

	// Items caps the keys and values of one record, at all depths together.
	// Zero means 1,000,000.
	Items int

	// Digits caps the decimal digits of one integer. Zero means 4300, as in
	// CPython.
	Digits int
}

// Effective returns l with defaults in place of zeros, and the largest possible number in place of
// negative fields.
func (l Limits) Effective() Limits {
	return Limits{
		RecordBytes: effective(l.RecordBytes, 1<<20),
		Depth:       effective(l.Depth, 128),
		Items:       effective(l.Items, 1_000_000),
		Digits:      effective(l.Digits, 4300),
	}
}

func effective(limit, byDefault int) int {
	switch {
	case limit == 0:
		return byDefault
	case limit < 0:
		return math.MaxInt32
	default:
		return min(limit, math.MaxInt32)
	}
}
