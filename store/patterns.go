package store

import (
	"maps"
	"slices"
	"strings"
)

// Patterns is a set of patterns, as [ReadOptions.Topics]. To look for a topic in it
// takes as long as the topic's name, however many patterns there are.
type Patterns struct {
	every    bool            // no pattern at all: all topics
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

// Names returns the topics that the patterns name one by one, in their order, and
// whether they name no others.
func (s *Patterns) Names() (names []string, only bool) {
	return slices.Sorted(maps.Keys(s.exact)), !s.every && !s.all && s.prefixes == nil
}

// Match reports whether the patterns name a topic.
func (s *Patterns) Match(topic string) bool {
	switch {
	case s.every, s.all && topic[0] != '_', s.exact[topic]:
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
