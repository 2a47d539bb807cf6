package store

import "context"

// A Measurer is a [Store] that measures itself.
type Measurer interface {
	// Measures returns what was measured since the store was opened.
	Measures(ctx context.Context) (Measures, error)
}

// Measures are what a store has measured of itself.
type Measures struct {
	Appends Histogram // how long appends took that stored something, in nanoseconds
	Syncs   Histogram // how long a sync took, in nanoseconds
	Blocks  Histogram // how long the records of a block were together, in bytes

	DiskBytes uint64 // that the store takes
	FreeBytes uint64 // of its disk that are left to it
}

// A Histogram is how often values of a size came.
type Histogram struct {
	Counts [65]uint64 // of values below 2 to the power of the index, and not below half of that
	Sum    uint64     // of all values
}

// An Accountant is a [Store] that knows how much each principal has stored.
type Accountant interface {
	// Stored returns that of each principal that has something stored, in the order of
	// their names. What the server itself notes, and what it has rejected, is nobody's.
	Stored(ctx context.Context) ([]StoredStat, error)
}

// A StoredStat says how much the blocks of a principal take.
type StoredStat struct {
	Principal string
	Bytes     uint64 // of the disk, or of memory; it may be an estimate
	Max       uint64 // from which on the principal's appends are refused; 0 where there is no limit
}
