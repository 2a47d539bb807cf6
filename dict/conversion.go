package dict

import (
	"fmt"
	"reflect"
)

// A ConversionError says why a Go value has no dictionary, or why a dictionary
// does not fit a Go type.
type ConversionError struct {
	Path string       // of the value, as in /user/tags/2; "" at the top
	Type reflect.Type // the Go type; nil for an untyped nil
	Msg  string
}

func (e *ConversionError) Error() string {
	if e.Path == "" {
		return "dict: " + e.Msg
	}
	return "dict: " + e.Path + ": " + e.Msg
}

// under puts a key or an index in front of an error's path.
func under(err error, key any) error {
	if c, ok := err.(*ConversionError); ok { //nolint:errorlint // conversion wraps nothing
		c.Path = fmt.Sprintf("/%v%s", key, c.Path)
	}
	return err
}

// pathKey returns a key as paths name it: a string's text, or else its repr.
func pathKey(k Value) string {
	if text, ok := k.Text(); ok {
		return text
	}
	return k.String()
}

// maxDepth is how deep Go values may nest: whatever is deeper is a cycle.
const maxDepth = 1000
