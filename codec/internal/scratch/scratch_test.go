package scratch_test

import (
	"testing"

	"github.com/dictwire/dictwire/codec/internal/scratch"
)

// Memory is kept as long as one of the last records has needed it, and given back
// when many have not.
func TestPatience(t *testing.T) {
	const held, keep = 80_000, 8 << 10
	var p scratch.Patience
	ask := func(size int) (asked, unneeded bool) {
		if !p.Ends(size) {
			return false, false
		}
		return true, p.Unneeded(held, keep)
	}
	count := func(size func(i int) int) (records int) {
		for i := range 10_000 {
			if _, unneeded := ask(size(i)); unneeded {
				return i + 1
			}
		}
		return 0
	}
	if n := count(func(i int) int { return 10 + 9_990*(1-min(i%100, 1)) }); n != 0 {
		t.Errorf("given back behind %d records, of which each hundredth needs it", n)
	}
	if n := count(func(int) int { return 10 }); n == 0 || n > 1000 {
		t.Errorf("given back behind %d small records", n)
	}
	for range 1000 {
		if p.Ends(1) && p.Unneeded(keep, keep) {
			t.Fatal("what is always kept was given back")
		}
	}
}
