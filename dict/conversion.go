package dict

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
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

// maxDepth is how deep Go values may nest: whatever is deeper is a cycle.
const maxDepth = 1000

// A field is a field of a struct as a key of a dictionary.
type field struct {
	name      string
	index     []int // as reflect.Value.FieldByIndex wants it
	omitEmpty bool
}

var fieldsOf sync.Map // of reflect.Type to []field

// fields returns the fields of a struct type that are converted, in order.
func fields(t reflect.Type) []field {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]field)
	}
	var all []field
	at := make(map[string]int) // of each name in all
	taken := make([][]int, 0)  // embedded structs that are one value, or none
	for _, sf := range reflect.VisibleFields(t) {
		if hasPrefix(sf.Index, taken) {
			continue
		}
		tag, tagged := sf.Tag.Lookup("dict")
		if !tagged {
			tag = sf.Tag.Get("json")
		}
		name, options, _ := strings.Cut(tag, ",")
		embedded := sf.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if sf.Anonymous && name == "" && embedded.Kind() == reflect.Struct {
			if !sf.IsExported() && sf.Type.Kind() == reflect.Pointer {
				taken = append(taken, sf.Index) // can't be allocated from outside
			}
			continue // its fields follow
		}
		taken = append(taken, sf.Index)
		if tag == "-" || !sf.IsExported() {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		f := field{name: name, index: sf.Index, omitEmpty: strings.Contains(","+options+",", ",omitempty,")}
		if i, twice := at[name]; twice {
			if len(f.index) < len(all[i].index) { // the shallower one wins, then the first
				all[i] = f
			}
			continue
		}
		at[name] = len(all)
		all = append(all, f)
	}
	known, _ := fieldsOf.LoadOrStore(t, all)
	return known.([]field)
}

func hasPrefix(index []int, of [][]int) bool {
	for _, p := range of {
		if len(p) < len(index) && reflect.DeepEqual(p, index[:len(p)]) {
			return true
		}
	}
	return false
}
