package cli

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

// formatFlags are the flags of all commands that read or write a format.
type formatFlags struct {
	duplicateKeys choice
	python        choice
	lossy         bool
	strict        bool // write RFC 8259 JSON only
	maxRecord     byteLimit
	maxDepth      limit
	maxItems      limit
	maxDigits     limit
}

// addReading adds the flags for reading.
func (f *formatFlags) addReading(flags *pflag.FlagSet) {
	lim := codec.Limits{}.Effective()
	f.duplicateKeys = choice{"error", []string{"error", "last"}}
	f.maxRecord = byteLimit{byteSize(lim.RecordBytes)}
	f.maxDepth, f.maxItems, f.maxDigits = limit(lim.Depth), limit(lim.Items), limit(lim.Digits)
	flags.Var(&f.duplicateKeys, "duplicate-keys", "what becomes of a JSON key that comes twice: an `error`, or the last value stays")
	flags.Var(&f.maxRecord, "max-record", "largest record in `bytes`, -1 for no limit")
	flags.Var(&f.maxDepth, "max-depth", "deepest nesting, -1 for no limit")
	flags.Var(&f.maxItems, "max-items", "most keys and values of a record, -1 for no limit")
	flags.Var(&f.maxDigits, "max-digits", "most digits of an integer, -1 for no limit")
}

// addLossy adds the flag for what a format can't hold.
func (f *formatFlags) addLossy(flags *pflag.FlagSet) {
	flags.BoolVar(&f.lossy, "lossy", false, "write a substitute for a value that the format can't hold (see docs/formats.md)")
}

// addPython adds the flag for printing as Python does.
func (f *formatFlags) addPython(flags *pflag.FlagSet) {
	f.python = choice{value: dict.DefaultPython.String()}
	for v := dict.Python38; v <= dict.Python314; v++ {
		f.python.of = append(f.python.of, v.String())
	}
	flags.Var(&f.python, "python", "`version` of Python whose repr is printed, "+
		f.python.of[0]+" to "+f.python.of[len(f.python.of)-1])
}

func (f *formatFlags) json() json.Codec {
	c := json.Codec{Lossy: f.lossy, Strict: f.strict}
	if f.duplicateKeys.value == "last" {
		c.DuplicateKeys = json.KeepLast
	}
	return c
}

func (f *formatFlags) limits() codec.Limits {
	return codec.Limits{
		RecordBytes: int(f.maxRecord.byteSize), Depth: int(f.maxDepth), Items: int(f.maxItems), Digits: int(f.maxDigits),
	}
}

// pythonVersion returns the version whose repr is written, which is the default without
// the flag.
func (f *formatFlags) pythonVersion() dict.Python {
	if f.python.of == nil {
		return dict.DefaultPython
	}
	return dict.Python38 + dict.Python(slices.Index(f.python.of, f.python.value))
}

// codecs are the formats, by name.
func (f *formatFlags) codecs() map[string]codec.Codec {
	all := make(map[string]codec.Codec)
	for _, c := range []codec.Codec{
		f.json(),
		cbor.Codec{},
		msgpack.Codec{Lossy: f.lossy},
		pickle.Codec{Lossy: f.lossy},
		python.Codec{Python: f.pythonVersion(), Lossy: f.lossy},
	} {
		all[c.Name()] = c
	}
	return all
}

// wire are the formats that servers understand in bare sequences, by name.
func (f *formatFlags) wire() map[string]codec.Codec {
	all := f.codecs()
	delete(all, "python")
	return all
}

// stored returns the formats of stored records, by name. Records stored under other
// settings can be read, too.
func (f *formatFlags) stored() map[string]codec.Codec {
	all := f.codecs()
	all["json"] = json.Codec{DuplicateKeys: json.KeepLast}
	return all
}

// An inputFlags describes a file to read.
type inputFlags struct {
	from     choice
	infer    bool
	rawLines bool
}

// addInput adds the flags of what a file is.
func (f *formatFlags) addInput(flags *pflag.FlagSet, i *inputFlags) {
	i.from = choice{"json", append(slices.Collect(maps.Keys(f.codecs())), "csv")}
	slices.Sort(i.from.of)
	flags.Var(&i.from, "from", "`format` that is read: "+strings.Join(i.from.of, ", "))
	flags.BoolVar(&i.infer, "infer", false, "read what is a number or boolean in CSV as such, not as text")
	flags.BoolVar(&i.rawLines, "raw-lines", false, "take each line by itself, and wrap one that is no dictionary as {\"line\": …}")
}

// check returns an error if flags exclude each other.
func (i *inputFlags) check() error {
	switch {
	case i.infer && i.from.value != "csv":
		return usagef("--infer is for --from csv: other formats say themselves what is a number")
	case i.rawLines && i.from.value != "json":
		return usagef("--raw-lines is for --from json")
	}
	return nil
}

// readFile returns the source of a file's dictionaries. The file may be compressed.
func (f *formatFlags) readFile(name string, r io.Reader, i *inputFlags) source {
	r = unpacked(r)
	switch c := f.codecs()[i.from.value]; {
	case i.from.value == "csv":
		return newCSV(name, r, i.infer, f.limits()).dict
	case i.rawLines:
		return rawLines(name, r, c, f.limits())
	default:
		return newSequence(name, r, c, f.limits()).dict
	}
}

// unlimited is for records that a store has accepted before.
var unlimited = codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1}

// An appender appends a dictionary in some format.
type appender func(dst []byte, d *dict.Dict) ([]byte, error)

// appenders returns the formats that can be written, by name. Each record is written with
// its terminator.
func (f *formatFlags) appenders() map[string]appender {
	all := make(map[string]appender)
	for name, c := range f.codecs() {
		all[name] = func(dst []byte, d *dict.Dict) ([]byte, error) {
			out, err := c.Append(dst, d)
			if err != nil {
				return dst, err
			}
			return append(out, c.Terminator()...), nil
		}
	}
	return all
}

// rendered is the appender of JSON for other programs. What JSON lacks is substituted.
func rendered(dst []byte, d *dict.Dict) ([]byte, error) {
	return append(json.Render(dst, d, nil), '\n'), nil
}

// names lists the keys of a map for an error or help text.
func names[V any](of map[string]V) string {
	var list []string
	for name := range of {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
