package store

import (
	"iter"
	"strings"
)

// Patterns is a set of patterns, as in [ReadOptions.Topics]. Matching a topic takes time
// proportional to the length of its name, however many patterns there are.
type Patterns struct {
	every    bool            // no patterns: all topics
	all      bool            // "*": all topics that don't begin with "_"
	exact    map[string]bool // "orders.eu"
	prefixes map[string]bool // "orders.", of "orders.*"
}

// NewPatterns returns the set of the given patterns.
func NewPatterns(patterns []string) *Patterns {
	s := &Patterns{every: len(patterns) == 0}
	for _, p := range patterns {
		switch prefix, below := strings.CutSuffix(p, "*"); {
		case p == "*":
			s.all = true
		case below:
			s.prefixes = add(s.prefixes, prefix)
		default:
			s.exact = add(s.exact, p)
		}
	}
	return s
}

func add(set map[string]bool, s string) map[string]bool {
	if set == nil {
		set = map[string]bool{}
	}
	set[s] = true
	return set
}

// Every reports whether there are no patterns, so that all topics match.
func (s *Patterns) Every() bool { return s.every }

// Match reports whether a topic matches one of the patterns.
func (s *Patterns) Match(topic string) bool {
	switch {
	case s.every, s.all && !strings.HasPrefix(topic, "_"), s.exact[topic]:
		return true
	case len(s.prefixes) == 0:
		return false
	}
	for i := range len(topic) {
		if topic[i] == '.' && s.prefixes[topic[:i+1]] {
			return true
		}
	}
	return false
}

// Named yields the entries of a map by topic whose topics match, in no order. If all
// patterns are names of topics, and there are fewer of them than topics, it looks each
// name up.
func Named[T any](s *Patterns, topics map[string]T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		if !s.every && !s.all && len(s.prefixes) == 0 && len(s.exact) < len(topics) {
			for name := range s.exact {
				if v, ok := topics[name]; ok && !yield(name, v) {
					return
				}
			}
			return
		}
		for name, v := range topics {
			if s.Match(name) && !yield(name, v) {
				return
			}
		}
	}
}
