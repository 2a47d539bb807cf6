package codec

import (
	"fmt"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A SyntaxError says why bytes are not a dictionary.
type SyntaxError struct {
	Codec  string // the codec's name: "json"
	Code   fault.Code
	Offset int    // of the fault, in bytes from the beginning of the record
	Path   string // of the value with the fault, as in /user/tags/2; "" at the top
	Msg    string // what was expected, or which limit was exceeded
	Hint   string // the remedy, if there is one

	// Final says that the sequence ends here, because the beginning of the next record can't be
	// known.
	Final bool
}

func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("at byte %d", e.Offset)
	if e.Path != "" {
		at += ", in " + e.Path
	}
	return fmt.Sprintf("%s: %s (%s)", e.Codec, e.Msg, at)
}

// A LossError says that a format can't represent a value.
type LossError = dict.LossError
