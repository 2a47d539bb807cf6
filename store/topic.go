package store

import (
	"errors"
	"fmt"
	"strings"
)

// Rejected is the topic of rejected records.
const Rejected = "_rejected"

// CheckTopic returns an error that says why a name is not valid for a topic. A valid name
// is words of letters, digits, "_" and "-", separated by dots, of at most 200 bytes.
// Names that begin with "_" are reserved for the server.
func CheckTopic(name string) error {
	if len(name) > 200 {
		return fmt.Errorf("topic %.40q…: %d bytes, want at most 200", name, len(name))
	}
	if name == "" {
		return errors.New("topic \"\": want a name")
	}
	word := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			word++
		case c == '.' && word > 0:
			word = 0
		default:
			return fmt.Errorf("topic %q: want letters, digits, _ and -, with single dots between words (at byte %d)", name, i)
		}
	}
	if word == 0 {
		return fmt.Errorf("topic %q: want a word at the end", name)
	}
	return nil
}

// CheckPattern returns an error that says why a pattern is not valid in
// [ReadOptions.Topics].
func CheckPattern(pattern string) error {
	if pattern == "*" {
		return nil
	}
	return CheckTopic(strings.TrimSuffix(pattern, ".*"))
}

// Match reports whether a topic matches one of the patterns. For repeated matching, make
// a [Patterns] once.
func Match(patterns []string, topic string) bool { return NewPatterns(patterns).Match(topic) }
