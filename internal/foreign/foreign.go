// Package foreign recognizes input that is not what the reader expects, such as HTTP, an
// archive or another format, by its first bytes, and names it together with a remedy.
package foreign

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
)

// A Kind is what an input is. The zero Kind has no name.
type Kind struct {
	Name   string // as in "this is …"
	Hint   string // the remedy
	Format string // the format's name, if it is one that can be read
	Lines  bool   // its lines can be taken one by one
}

// maxLine is how much of a line of text is looked at.
const maxLine = 512

// A magic is the first bytes of a kind.
type magic struct {
	bytes string
	Kind
}

const unpack = "decompress it first, as "

var magics = []magic{
	{"\x1f\x8b", Kind{Name: "gzip", Hint: unpack + "gunzip does"}},
	{"\x28\xb5\x2f\xfd", Kind{Name: "zstd", Hint: unpack + "zstd -d does"}},
	{"\x78\x01", Kind{Name: "zlib", Hint: unpack + "Python's zlib.decompress does"}},
	{"\x78\x5e", Kind{Name: "zlib", Hint: unpack + "Python's zlib.decompress does"}},
	{"\x78\x9c", Kind{Name: "zlib", Hint: unpack + "Python's zlib.decompress does"}},
	{"\x78\xda", Kind{Name: "zlib", Hint: unpack + "Python's zlib.decompress does"}},
	{"BZh", Kind{Name: "bzip2", Hint: unpack + "bunzip2 does"}},
	{"\xfd7zXZ\x00", Kind{Name: "xz", Hint: unpack + "unxz does"}},
	{"\x04\x22\x4d\x18", Kind{Name: "lz4", Hint: unpack + "lz4 -d does"}},
	{"\xff\x06\x00\x00sNaPpY", Kind{Name: "framed Snappy", Hint: unpack + "snzip -d does"}},
	{"PK\x03\x04", Kind{Name: "a ZIP archive", Hint: unpack + "unzip does"}},
	{"\xff\xfe\x00\x00", utf32},
	{"\x00\x00\xfe\xff", utf32},
	{"{\x00\x00\x00", utf32},
	{"[\x00\x00\x00", utf32},
	{"\x00\x00\x00{\x00", utf32},
	{"\x00\x00\x00[\x00", utf32},
	{"\xff\xfe", utf16},
	{"\xfe\xff", utf16},
	{"{\x00", utf16},
	{"[\x00", utf16},
	{"\x00{\x00", utf16},
	{"\x00[\x00", utf16},
	{"\x00\r\nQUIT\n", Kind{Name: "the PROXY protocol", Hint: "switch it off, or connect without the proxy"}},
	{"PROXY ", Kind{Name: "the PROXY protocol", Hint: "switch it off, or connect without the proxy"}},
	{"\xac\xed\x00\x05", Kind{Name: "Java serialization", Hint: "write JSON instead"}},
	{"PAR1", Kind{Name: "Parquet", Hint: "write JSON instead, as pandas does with to_json(orient='records', lines=True)"}},
	{"Obj\x01", Kind{Name: "Avro", Hint: "write JSON instead, as avro-tools tojson does"}},
	{"AMQP", Kind{Name: "AMQP", Hint: protocol}},
	{"SSH-", Kind{Name: "SSH", Hint: protocol}},
}

const protocol = "send dictionaries alone"

var (
	utf16 = Kind{Name: "UTF-16", Hint: "encode it as UTF-8, as iconv -f UTF-16 -t UTF-8 does"}
	utf32 = Kind{Name: "UTF-32", Hint: "encode it as UTF-8, as iconv -f UTF-32 -t UTF-8 does"}
)

// A pattern is what the first line of a kind of text looks like.
type pattern struct {
	line *regexp.Regexp
	Kind
}

const (
	wrap    = `wrap each line, as in {"line": …}`
	logLine = "a line of a log"
)

func text(expr, name, hint string) pattern {
	return pattern{regexp.MustCompile("^(?:" + expr + ")"), Kind{Name: name, Hint: hint, Lines: hint == wrap}}
}

// CSV is text in columns.
var CSV = Kind{Name: "CSV", Hint: "convert it to JSON, as dictwire convert does"}

var patterns = []pattern{
	text(`[!#$%&'*+.^_|~0-9A-Za-z\x60-]+ .*\bHTTP/\d(\.\d)?\s*$`, HTTP.Name, HTTP.Hint),
	text(`(INFO|CONNECT) \{|(PUB|SUB|MSG|HPUB|HMSG) \S|\+OK\b|-ERR\b`, "NATS", protocol),
	text(`\*\d+\r|(SET|GET|PING|AUTH|HELLO|XADD)(\s|$)`, "the Redis protocol", protocol),
	text(`(EHLO|HELO) `, "SMTP", protocol),
	text(`\d+ <\d{1,3}>`, "syslog with octet counts", wrap),
	text(`<\d{1,3}>`, "syslog", wrap),
	text(`\d{1,9}:[{\[(\x80-\xff]`, "a netstring", "send the dictionary alone, without its length"),
	text(`<`, "XML or HTML", "convert it to JSON"),
	text(`(data|event|id|retry): ?`, "a stream of server-sent events", "send what stands after data: alone"),
	text(`\[?\d{4}[-/.]\d{1,2}[-/.]\d{1,2}`, logLine, wrap),
	text(`\[?\d{1,2}/([A-Z][a-z]{2}|\d\d)/\d{4}`, logLine, wrap),
	text(`\[?([A-Z][a-z]{2},? )?[A-Z][a-z]{2} [ \d]\d( \d{4})?,? \d\d:\d\d`, logLine, wrap),
	text(`\[?\d{1,2}:\d\d(:\d\d)?[\s.,\]]`, logLine, wrap),
	text(`[IWEF]\d{4} \d\d:\d\d`, logLine, wrap),
	text(`\d{10}(\d{3})?(\.\d+)? \D`, logLine, wrap),
	text(`\d{1,3}(\.\d{1,3}){3} `, logLine, wrap),
	text(`\[?(?i:trace|debug|info|notice|warn|warning|error|fatal|critical|panic)\b[\]:\s|]`, logLine, wrap),
	text(`\d+ *[{\[]`, "a decimal length before a record", "send the records alone"),
	text(`\w+=("[^"]*"|\S*)( \w+=|\s*$)`, "logfmt", "convert it to JSON"),
	text(`(OrderedDict|dict|defaultdict|Counter)\(|\{'`, Python.Name, Python.Hint),
	text(`---(\s|$)|%YAML|- \S|["'\w.-]+:(\s|$)`, "YAML", "convert it to JSON, as yq -o json does"),
	text(`\[\[?["\w. -]+\]\]?\s*$|["\w.-]+ *= *\S`, "TOML or INI", "convert it to JSON"),
	text(`-?\d+([.,]\d+)?\s*$`, "a length or a number in decimal digits", "send the dictionary alone"),
	text(`("([^"]|"")*"|[^,"{}\[\]\t;|\r]*)([,;\t|]("([^"]|"")*"|[^\s,"{}\[\]\t;|][^,"{}\[\]\t;|\r]*)?)+\s*$`, CSV.Name, CSV.Hint),
	text(`[\w-]+([,;|] ?[\w-]+){2,}\s*$`, CSV.Name, CSV.Hint),
}

// Kinds that others ask for.
var (
	HTTP   = Kind{Name: "HTTP", Hint: "send dictionaries alone, without HTTP"}
	Python = Kind{Name: "a Python literal", Hint: "send json.dumps(dictionary), not str(dictionary)", Format: "python"}
)

// Of identifies an input whose first bytes, after white space, are b. It returns
// [codec.ErrIncomplete] while they are not sufficient, unless they are the whole input.
func Of(b []byte, whole bool) (Kind, error) {
	undecided := false
	for _, m := range magics {
		switch {
		case len(b) >= len(m.bytes) && string(b[:len(m.bytes)]) == m.bytes:
			if undecided {
				return Kind{}, codec.ErrIncomplete
			}
			return m.Kind, nil
		case len(b) < len(m.bytes) && string(b) == m.bytes[:len(b)]:
			undecided = !whole
		}
	}
	if undecided {
		return Kind{}, codec.ErrIncomplete
	}
	return line(b, whole)
}

// line returns what an input is whose first line says so.
func line(b []byte, whole bool) (Kind, error) {
	if len(b) > maxLine {
		b, whole = b[:maxLine], true
	}
	end := bytes.IndexByte(b, '\n')
	if end >= 0 {
		b, whole = b[:end], true
	}
	if !isText(b) {
		return Kind{}, nil
	}
	if !whole {
		return Kind{}, codec.ErrIncomplete
	}
	for _, p := range patterns {
		if p.line.Match(b) {
			return p.Kind, nil
		}
	}
	return Kind{}, nil
}

// isText reports whether b, whose end may be cut off, is text.
func isText(b []byte) bool {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return i > 0 && !utf8.FullRune(b[i:])
		case r < ' ' && r != '\t' && r != '\r' && r != 0x1b, r == 0x7f:
			return false
		}
		i += n
	}
	return len(b) == 0 || b[0] < utf8.RuneSelf
}

// File returns what a file is that is to be in a format, and whose first bytes are b.
// It returns the zero Kind for one that is in that format, or may be, with something
// in front that is not.
func File(format string, b []byte, whole bool) (Kind, error) {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 {
		return incomplete(whole)
	}
	if format == "json" || format == "python" {
		b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	}
	k, err := binary(b, whole)
	switch {
	case err != nil:
		return k, err
	case format == k.Format && k.Format != "":
		return Kind{}, nil
	case format == "json" && bytes.HasPrefix(b, []byte("{'")):
		return Python, nil
	case (format == "json" || format == "python") && k.Format != "":
		return k, nil
	case format == "json" && bytes.IndexByte([]byte("{[\x00\x1e"), b[0]) >= 0 && (len(b) < 2 || b[1] != 0):
		return json(b, whole)
	case format == "pickle" && bytes.IndexByte([]byte("](}cl"), b[0]) >= 0:
		return Kind{}, nil
	case format == "python" && (b[0] == '{' || b[0] == 'O'):
		return Kind{}, nil
	}
	if k, err = Of(b, whole); err != nil || k.Name != "" {
		return alone(k, err, b, whole)
	}
	if format != "json" && format != "python" && b[0] == '{' {
		return Kind{Name: "JSON", Format: "json", Hint: "say that it is JSON"}, nil
	}
	return Kind{}, nil
}

func incomplete(whole bool) (Kind, error) {
	if whole {
		return Kind{}, nil
	}
	return Kind{}, codec.ErrIncomplete
}

// json distinguishes an array from text that begins like one.
func json(b []byte, whole bool) (Kind, error) {
	if b[0] != '[' || Array(b, whole) != NoArray {
		return Kind{}, nil
	}
	k, err := line(b, whole)
	return alone(k, err, b, whole)
}

// Enough of a text to say that it holds nothing else.
const (
	enoughBytes = 4 << 10
	enoughLines = 16
)

// alone returns k for text that is one of its kind as far as it is looked at, and the
// zero Kind where a line among the first ones begins as a dictionary or an array does.
func alone(k Kind, err error, b []byte, whole bool) (Kind, error) {
	switch {
	case !isText(b[:1]):
		return k, err
	case bytes.Contains(b, []byte("\n{")), bytes.Contains(b, []byte("\n[{")):
		return Kind{}, nil
	case err != nil || k.Name == "" || whole || len(b) >= enoughBytes || bytes.Count(b, []byte{'\n'}) >= enoughLines:
		return k, err
	default:
		return Kind{}, codec.ErrIncomplete
	}
}

// binary returns the binary format of an input, or the zero Kind.
func binary(b []byte, whole bool) (Kind, error) {
	pickle := Kind{Name: "a pickle", Format: "pickle", Hint: "say that it is a pickle"}
	switch c := b[0]; {
	case c == 0x80 && len(b) == 1:
		return incomplete(whole)
	case c == 0x80 && b[1] >= 2 && b[1] <= 5:
		return pickle, nil
	case c >= 0x80 && c <= 0x8f, c == 0xde, c == 0xdf:
		return Kind{Name: "MessagePack", Format: "msgpack", Hint: "say that it is MessagePack"}, nil
	case c >= 0xa0 && c <= 0xbb && !bytes.HasPrefix(b, []byte("\xac\xed\x00")), c == 0xbf, bytes.HasPrefix(b, []byte("\xd9\xd9\xf7")):
		return Kind{Name: "CBOR", Format: "cbor", Hint: "say that it is CBOR"}, nil
	case bytes.HasPrefix(b, []byte("(dp0\n")), bytes.HasPrefix(b, []byte("}q\x00")), bytes.HasPrefix(b, []byte(OrderedDict)):
		return pickle, nil
	}
	return Kind{}, nil
}

// OrderedDict is how the pickle of one begins, in protocols 0 and 1.
const OrderedDict = "ccollections\nOrderedDict\n"

// An Arrayness is what begins with a bracket.
type Arrayness uint8

// What may begin with a bracket.
const (
	Undecided Arrayness = iota
	NoArray             // of JSON
	OfOthers            // an array of JSON whose first item is no dictionary, if it has one
	OfDictionaries
)

// maxSpace is how much white space may stand before an array's first item.
const maxSpace = 4 << 10

// Array returns what b begins, whose first byte is a bracket.
func Array(b []byte, whole bool) Arrayness {
	rest := bytes.TrimLeft(b[1:], " \t\r\n")
	open := Undecided
	if whole {
		open = OfOthers
	}
	switch {
	case len(b)-len(rest) > maxSpace:
		return OfOthers
	case len(rest) == 0:
		return open
	}
	switch rest[0] {
	case '{':
		return OfDictionaries
	case ']', '[', '"':
		return OfOthers
	}
	token := rest[:min(len(rest), 64)]
	switch n := len(token) - len(bytes.TrimLeft(token, "+-.0123456789truefalsnNIityE")); {
	case n == len(rest) && !whole:
		return Undecided
	case scalar.Match(token[:n]) && (n == len(rest) || strings.IndexByte(" \t\r\n,]", rest[n]) >= 0):
		return OfOthers
	default:
		return NoArray
	}
}

var scalar = regexp.MustCompile(`^(-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false|null|NaN|-?Infinity)$`)
