package codec

import "math"

// Limits bound what a record may cost. The zero value means the defaults; a
// negative field means no limit.
type Limits struct {
	// RecordBytes caps one serialized dictionary, in bytes. Zero means 1 MiB.
	// No record can be of 2 GiB or more.
	RecordBytes int

	// Depth caps how deep containers nest, the dictionary itself being 1. Zero
	// means 128.
	Depth int

	// Items caps the keys and values of one record, at all depths together.
	// Zero means 1,000,000.
	Items int

	// Digits caps the decimal digits of one integer. Zero means 4300, as in
	// CPython.
	Digits int
}

// Effective returns l with every default filled in and every absent limit as
// the largest number that works.
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
