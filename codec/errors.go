package codec

import (
	"fmt"

	"github.com/dictwire/dictwire/dict"
)

// A Code names a kind of fault on the wire. The list is closed.
type Code string

// The codes that a record itself can earn.
const (
	Malformed      Code = "malformed"        // not the format's syntax
	Truncated      Code = "truncated"        // the sequence ended within the record
	NotADictionary Code = "not_a_dictionary" // well-formed, but a list or a scalar
	DuplicateKey   Code = "duplicate_key"
	TooLarge       Code = "too_large"     // Limits.RecordBytes
	TooDeep        Code = "too_deep"      // Limits.Depth
	OverLimit      Code = "limit"         // Limits.Items, Limits.Digits
	UnsafePickle   Code = "unsafe_pickle" // a pickle that is more than data
)

// A SyntaxError says why bytes are not a dictionary.
type SyntaxError struct {
	Codec  string // the codec's name: "json"
	Code   Code
	Offset int    // of the fault, in bytes from the beginning of the record
	Path   string // of the value with the fault, as in /user/tags/2; "" at the top
	Msg    string // what was expected, or which limit was passed
	Hint   string // the remedy, where there is one

	// Final says that the sequence has no next record: where it would begin
	// can't be known.
	Final bool
}

func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("at byte %d", e.Offset)
	if e.Path != "" {
		at += ", in " + e.Path
	}
	return fmt.Sprintf("%s: %s (%s)", e.Codec, e.Msg, at)
}

// A LossError says that a format can't hold a value.
type LossError = dict.LossError
