package dictwire

import (
	"fmt"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A RemoteError is what the server says against a record, or against all that
// was sent.
type RemoteError struct {
	Code codec.Code // what kind of fault
	Text string     // what is wrong, and what helps
	At   int64      // where, in bytes from the connection's first; -1 where there is no place
}

func (e *RemoteError) Error() string { return fmt.Sprintf("dictwire: the server says: %s", e.Text) }

// remoteError returns the error that d reports, or nil where it is a reply.
func remoteError(d *dict.Dict) *RemoteError {
	text, isText := textOf(d, "error")
	code, isCode := textOf(d, "code")
	if !isText || !isCode {
		return nil
	}
	e := &RemoteError{Code: codec.Code(code), Text: text, At: -1}
	if v, ok := d.Get("at"); ok {
		if at, ok := v.Int(); ok {
			e.At = at
		}
	}
	return e
}
