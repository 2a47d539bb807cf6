// Package schema checks the records of topics by JSON Schema, before a server's handler
// sees them:
//
//	var schemas schema.Set
//	if err := schemas.Load(map[string]string{"orders.*": "orders.schema.json"}); err != nil {
//		return err
//	}
//	srv := &dictwire.Server{Schema: schemas.Of}
//
// A record that does not fit is rejected with the code "schema" and a text that names
// each fault by its path in the record and by what the schema wants there, never by what
// the record has.
//
// A schema sees a record as it is read back in JSON: datetimes as texts of RFC 3339, bytes
// as base64, tuples and sets as arrays, NaN as null; see docs/formats.md. Decimals are
// numbers, and they and integers have all their digits. Drafts 4 to 2020-12 are known, the newest is the default,
// and "format" is checked. References to other files are followed, to the network never.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

const (
	maxFile     = 1 << 20 // bytes of a schema
	maxExponent = 5000    // of a number that is compared exactly
	maxTold     = 4       // faults of a record that are told
	maxText     = 1 << 10 // bytes of what is told
)

// A Set is schemas of topics. The zero Set has none. Any number of goroutines may use it.
type Set struct{ now atomic.Pointer[[]entry] }

// An entry is the schema of the topics that a pattern names.
type entry struct {
	pattern string
	schema  *jsonschema.Schema
}

// Load reads the schemas of topics from files, by names of topics, or of all below one as
// "orders.*", or "*" for all but the server's own. They are in force for the records that
// come from then on. Where one can't be used, all of them stay as they were, and the
// error says what is wrong with each.
func (s *Set) Load(files map[string]string) error {
	var (
		all    []entry
		faults []error
	)
	for pattern, path := range files {
		if err := store.CheckPattern(pattern); err != nil {
			faults = append(faults, fmt.Errorf("schema: %w", err))
			continue
		}
		compiled, err := compile(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("schema: %s: %w", path, err))
			continue
		}
		all = append(all, entry{pattern, compiled})
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return errors.Join(faults...)
	}
	// The longest name that is a topic's own comes first.
	slices.SortFunc(all, func(a, b entry) int {
		return len(strings.TrimSuffix(b.pattern, "*")) - len(strings.TrimSuffix(a.pattern, "*"))
	})
	s.now.Store(&all)
	return nil
}

// Of returns what checks the records of a topic, or nil where they may be anything. It is
// [dictwire.Server]'s Schema.
func (s *Set) Of(topic string) func(*dict.Dict) error {
	all := s.now.Load()
	if all == nil {
		return nil
	}
	for _, e := range *all {
		if store.Match([]string{e.pattern}, topic) {
			return e.check
		}
	}
	return nil
}

// compile reads a schema and what it refers to.
func compile(path string) (*jsonschema.Schema, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{"file": loader{}})
	return c.Compile("file://" + filepath.ToSlash(full))
}

// A loader reads files of bounded size.
type loader struct{ jsonschema.FileLoader }

// Load implements [jsonschema.URLLoader].
func (l loader) Load(url string) (any, error) {
	path, err := l.ToFile(url)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // it is the user's to say which
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// check returns what is wrong with a record.
func (e entry) check(d *dict.Dict) error {
	v, far := instance(d.Value())
	if far != nil {
		return far
	}
	err := e.schema.Validate(v)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	return errors.New(told(invalid))
}

// told returns what is said of a record that does not fit.
func told(invalid *jsonschema.ValidationError) string {
	var texts []string
	n := 0
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				walk(cause)
			}
			return
		}
		n++
		text := fmt.Sprintf("at %q: %s", pointer(e.InstanceLocation), wants(e.ErrorKind))
		if i, had := slices.BinarySearch(texts, text); !had && i < maxTold {
			texts = slices.Insert(texts, i, text)
			texts = texts[:min(len(texts), maxTold)]
		}
	}
	walk(invalid)
	text := strings.Join(texts, "; ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	if n > len(texts) {
		text += fmt.Sprintf("; %d faults in all", n)
	}
	return text
}

// pointer returns a path as RFC 6901 has it.
func pointer(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteString("/" + escape(part))
	}
	return b.String()
}

func escape(part string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(part) }

var english = message.NewPrinter(language.English)

// wants says what a schema wants, without what the record has.
func wants(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("want %s, got %s", strings.Join(k.Want, " or "), k.Got)
	case *kind.Required:
		return "without " + quoted(k.Missing)
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		return "want no " + quoted(k.Properties)
	case *kind.Pattern:
		return "want a text that matches " + strconv.Quote(k.Want)
	case *kind.Format:
		return "want the format " + k.Want
	case *kind.Enum:
		return fmt.Sprintf("want one of %.200v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("want %.200v", k.Want)
	case *kind.MinLength, *kind.MaxLength, *kind.MinItems, *kind.MaxItems, *kind.MinProperties, *kind.MaxProperties,
		*kind.UniqueItems, *kind.FalseSchema, *kind.DependentRequired:
		return k.LocalizedString(english)
	case *kind.Minimum:
		return "want at least " + k.Want.RatString()
	case *kind.Maximum:
		return "want at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "want more than " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "want less than " + k.Want.RatString()
	case *kind.MultipleOf:
		return "want a multiple of " + k.Want.RatString()
	default:
		return "does not satisfy " + strings.Join(k.KeywordPath(), "/")
	}
}

// quoted returns the first of some names.
func quoted(names []string) string {
	texts := make([]string, 0, maxTold)
	for _, name := range names[:min(len(names), maxTold)] {
		texts = append(texts, fmt.Sprintf("%.60q", name))
	}
	if len(names) > maxTold {
		texts = append(texts, "…")
	}
	return strings.Join(texts, ", ")
}
