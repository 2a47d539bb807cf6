package dict

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A field is a struct field that is a key of the dictionary.
type field struct {
	name      string
	key       node  // name in WTF-8, whose text is in layout.keys
	plan      *plan // of the field's type
	index     []int // for reflect.Value.FieldByIndex
	omitEmpty bool
	omitZero  bool
	tagged    bool
	isError   bool // an embedded error, which has no exported name
}

// A layout is the converted fields of a struct type, or why it can't be converted.
type layout struct {
	fields []field
	keys   []byte           // the text of their keys
	byKey  map[string]int   // indices of fields, by key
	err    *ConversionError // without a path
	hidden bool             // it has fields, but none is a key
}

// newLayout returns the layout of a struct type: the fields in order, by the rules of
// encoding/json, except that nothing is left out silently.
func newLayout(t reflect.Type) *layout {
	l := &layout{byKey: make(map[string]int)}
	all, err := candidates(t)
	l.err = err
	slices.SortStableFunc(all, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), boolean(b.tagged)-boolean(a.tagged))
	})
	for i, f := range all {
		if i > 0 && all[i-1].name == f.name {
			continue // hidden by the field before it
		}
		if i+1 < len(all) && all[i+1].name == f.name && len(all[i+1].index) == len(f.index) && all[i+1].tagged == f.tagged && l.err == nil {
			l.err = &ConversionError{Type: t, Msg: fmt.Sprintf("the fields %s and %s of %s are both named %q",
				pathOf(t, f.index), pathOf(t, all[i+1].index), t, f.name)}
		}
		l.fields = append(l.fields, f)
	}
	slices.SortFunc(l.fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	for i := range l.fields {
		at := len(l.keys)
		text, surrogates := toWTF8(l.keys, l.fields[i].name)
		key := node{mark: mark{kind: KindString}, n: uint32(len(text) - at), data: uint64(at)}
		if surrogates {
			key.flags |= flagSurrogate
		}
		l.keys, l.fields[i].key, l.byKey[string(text[at:])] = text, key, i
	}
	l.hidden = len(all) == 0 && hasHidden(t)
	return l
}

// find returns the field of a key, or nil. guess is the most likely index.
func (l *layout) find(key []byte, guess int) (f *field, at int) {
	if guess < len(l.fields) {
		f := &l.fields[guess]
		if string(l.keys[f.key.data:f.key.data+uint64(f.key.n)]) == string(key) {
			return f, guess
		}
	}
	if at, ok := l.byKey[string(key)]; ok {
		return &l.fields[at], at
	}
	return nil, guess
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pathOf returns the names of the fields that lead to a field.
func pathOf(t reflect.Type, index []int) string {
	var names []string
	for i := range index {
		names = append(names, t.FieldByIndex(index[:i+1]).Name)
	}
	return strings.Join(names, ".")
}

// hasHidden reports whether a struct without keys has fields that are not excluded by a
// tag.
func hasHidden(t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		if tag, _ := tagOf(f); f.Name != "_" && tag != "-" {
			return true
		}
	}
	return false
}

// candidates returns all fields that may be keys, including those of embedded structs.
func candidates(t reflect.Type) (all []field, err *ConversionError) {
	type level struct {
		t     reflect.Type
		index []int
	}
	seen := map[reflect.Type]bool{t: true}
	for next := []level{{t: t}}; len(next) > 0; {
		this := next
		next = nil
		for _, l := range this {
			for i := range l.t.NumField() {
				sf := l.t.Field(i)
				tag, own := tagOf(sf)
				if tag == "-" {
					continue
				}
				name, options, _ := strings.Cut(tag, ",")
				index := append(slices.Clone(l.index), i)
				if inner := embedded(sf); inner != nil && name == "" {
					if !seen[inner] {
						seen[inner] = true
						next = append(next, level{inner, index})
					}
					continue
				}
				isError := sf.Anonymous && sf.Type == errorType
				if !sf.IsExported() && !isError {
					continue
				}
				f := field{name: cmp.Or(name, sf.Name), plan: planOf(sf.Type), index: index, tagged: name != "", isError: isError}
				for option := range strings.SplitSeq(options, ",") {
					switch {
					case option == "":
					case option == "omitempty":
						f.omitEmpty = true
					case option == "omitzero":
						f.omitZero = true
					case option == "string" && !own: // in encoding/json it concerns the JSON text alone
					default:
						err = &ConversionError{Type: t, Msg: fmt.Sprintf(
							"the tag of the field %s of %s has the unknown option %q; dict knows omitempty and omitzero",
							pathOf(t, index), t, option)}
					}
				}
				all = append(all, f)
			}
		}
	}
	return all, err
}

// tagOf returns the tag dict, or else the tag json. own says that it is dict.
func tagOf(f reflect.StructField) (tag string, own bool) {
	if tag, own = f.Tag.Lookup("dict"); own {
		return tag, true
	}
	return f.Tag.Get("json"), false
}

// embedded returns the embedded struct whose fields are promoted, or nil.
func embedded(f reflect.StructField) reflect.Type {
	if !f.Anonymous {
		return nil
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || f.IsExported() && ownWay(t) != byKind {
		return nil
	}
	return t
}
