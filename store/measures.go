package store

import (
	"context"
	"math"
	"time"
)

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

// A Keeper is a [Store] that trims its topics by itself.
type Keeper interface {
	// Keeps returns what of a topic is kept.
	Keeps(topic string) Keep
}

// Keep bounds what of a topic is kept. The zero value keeps all.
type Keep struct {
	Age   time.Duration // blocks that the store took longer ago are trimmed
	Bytes uint64        // of records: older blocks beyond are trimmed
}

// A Histogram is how often values of a size came.
type Histogram struct {
	Counts [65]uint64 // of values below 2 to the power of the index, and not below half of that
	Sum    uint64     // of all values
}

// Quantile returns a value that a part of all values, from 0 to 1, do not exceed: at
// most twice as large as the smallest such value. It is 0 where there are no values.
func (h Histogram) Quantile(part float64) uint64 {
	rest := uint64(math.Ceil(part * float64(h.Count())))
	for i, n := range h.Counts {
		if n >= rest && rest > 0 {
			return 1<<i - 1
		}
		rest -= n
	}
	return 0
}

// Count returns how many values there are.
func (h Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
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
