package cli

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/store"
)

// addTopics adds the flag for the topics to read.
func addTopics(flags *pflag.FlagSet, topics *[]string) {
	flags.StringArrayVar(topics, "topic", nil, "a `topic`, or all below one as orders.*; may be repeated (default all that don't begin with _)")
}

// checkPatterns returns an error that names the invalid patterns.
func checkPatterns(topics []string) error {
	var errs []error
	for _, t := range topics {
		errs = append(errs, store.CheckPattern(t))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// topicsOr returns the topics to read, or the default.
func topicsOr(topics []string) []string {
	if len(topics) == 0 {
		return []string{"*"}
	}
	return topics
}
