package dict

import (
	"fmt"
	"reflect"
)

// A ConversionError says why a Go value can't be converted to a dictionary, or a
// dictionary to a Go type.
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

// under prepends a key or an index to the path of an error.
func under(err error, key any) error {
	if c, ok := err.(*ConversionError); ok { //nolint:errorlint // conversion wraps nothing
		c.Path = fmt.Sprintf("/%v%s", key, c.Path)
	}
	return err
}

// pathKey returns a key as it is in paths: the text of a string, or else its repr.
func pathKey(k Value) string {
	if text, ok := k.Text(); ok {
		return text
	}
	return k.String()
}

// maxDepth is how deep Go values may nest. Deeper ones are taken for cycles.
const maxDepth = 1000
