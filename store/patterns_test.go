package store_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// matches is what patterns mean, one by one.
func matches(patterns []string, topic string) bool {
	for _, p := range patterns {
		if p == topic || p == "*" && topic[0] != '_' ||
			strings.HasSuffix(p, ".*") && strings.HasPrefix(topic, p[:len(p)-1]) {
			return true
		}
	}
	return len(patterns) == 0
}

func TestPatterns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		words := make([]string, 1+r.IntN(3))
		for i := range words {
			words[i] = []string{"a", "ab", "b", "_a"}[r.IntN(4)]
		}
		return strings.Join(words, ".")
	}
	for range 5000 {
		patterns := make([]string, r.IntN(5))
		for i := range patterns {
			patterns[i] = []string{"*", name(), name() + ".*", name()}[r.IntN(4)]
		}
		set, topic := store.NewPatterns(patterns), name()
		if got, want := set.Match(topic), matches(patterns, topic); got != want {
			t.Fatalf("%q in %q: %v, want %v", topic, patterns, got, want)
		}
	}
}

// A topic is found among many patterns as fast as among few.
func BenchmarkPatterns(b *testing.B) {
	for _, n := range []int{1, 1000} {
		patterns := make([]string, n)
		for i := range patterns {
			patterns[i] = fmt.Sprintf("topic%d.sub", i)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set := store.NewPatterns(patterns)
			for b.Loop() {
				set.Match("topic7.other")
			}
		})
	}
}
