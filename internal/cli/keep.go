package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A perTopic is a flag with one value for all topics and others for some:
// "30d,orders.*=1d".
type perTopic[V any] struct {
	kind   string
	parse  func(string) (V, error)
	text   []string
	values map[string]V // by topic or pattern; "*" for all
}

// Set adds values.
func (f *perTopic[V]) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		topic, value, one := strings.Cut(part, "=")
		if !one {
			topic, value = "*", part
		} else if err := store.CheckPattern(topic); err != nil {
			return err
		}
		v, err := f.parse(value)
		if err != nil {
			return err
		}
		if f.values == nil {
			f.values = make(map[string]V)
		}
		f.values[topic] = v
		f.text = append(f.text, part)
	}
	return nil
}

// Under implements [perTopicFlag].
func (f *perTopic[V]) Under(topic, text string) error {
	if _, has := f.values[topic]; has {
		return nil
	}
	return f.Set(topic + "=" + text)
}

func (f *perTopic[V]) String() string { return strings.Join(f.text, ",") }

// Type names the value in help texts.
func (f *perTopic[V]) Type() string { return "[topic=]" + f.kind }

// of returns the value for a topic: that of the longest matching name. Topics that begin
// with "_" match only if they are named.
func (f *perTopic[V]) of(topic string) (V, bool) {
	best, longest := "*", 0
	for name := range f.values {
		n := len(strings.TrimSuffix(name, "*"))
		if n > longest && store.Match([]string{name}, topic) {
			best, longest = name, n
		}
	}
	if best == "*" && strings.HasPrefix(topic, "_") {
		var none V
		return none, false
	}
	v, ok := f.values[best]
	return v, ok
}

// addSchemas adds the flag for the schemas of records.
func (s *serve) addSchemas(flags *pflag.FlagSet) {
	s.schemas.kind, s.schemas.parse = "file", func(path string) (string, error) {
		if path == "" {
			return "", fmt.Errorf("want the name of a file")
		}
		return path, nil
	}
	flags.Var(&s.schemas, "schema", "JSON Schema that the records of all topics have to fit, or of one; may be repeated (default none)")
}

// A keepFlags is the retention of serve.
type keepFlags struct {
	age   perTopic[time.Duration]
	bytes perTopic[byteSize]
}

func (f *keepFlags) add(flags *pflag.FlagSet) {
	f.age.kind, f.age.parse = "age", point.ParseAge
	f.bytes.kind, f.bytes.parse = "bytes", func(s string) (n byteSize, err error) {
		if err = n.Set(s); err == nil && n <= 0 {
			err = fmt.Errorf("want more than nothing")
		}
		return n, err
	}
	flags.Var(&f.age, "keep-age", "delete what is older, as 30d, of all topics or of one; may be repeated (default nothing)")
	flags.Var(&f.bytes, "keep-bytes", "delete the oldest records of each topic, or of one, beyond so many bytes; may be repeated (default nothing; in memory, which has one bound for all, 64MiB)")
}

// keep returns the retention of a topic on disk.
func (f *keepFlags) keep(topic string) log.Keep {
	keep := log.DefaultKeep(topic)
	if age, ok := f.age.of(topic); ok {
		keep.Age = age
	}
	if n, ok := f.bytes.of(topic); ok {
		keep.Bytes = uint64(n)
	}
	return keep
}
