// Package testrand has what tests with random inputs share: the seed, which a failed
// test tells, and how many inputs they take.
package testrand

import (
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

const variable = "DICTWIRE_TEST_SEED"

// Seed returns another seed each run, or that of the environment variable
// DICTWIRE_TEST_SEED, and names it if the test fails.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv(variable); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with %s=%d", variable, seed)
		}
	})
	return seed
}

// From yields n seeds, beginning with first.
func From(first uint64, n int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range uint64(n) {
			if !yield(first + i) {
				return
			}
		}
	}
}

// Many returns n, or a tenth of it with -short: for where that is slow and has been
// done elsewhere, with -race and on other machines.
func Many(n int) int {
	if testing.Short() {
		return max(n/10, 1)
	}
	return n
}
