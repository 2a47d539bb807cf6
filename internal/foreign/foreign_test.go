package foreign_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/foreign"
)

func TestOf(t *testing.T) {
	for first, want := range map[string]string{
		"\x1f\x8b\x08":                     "gzip",
		"\x28\xb5\x2f\xfd\x04":             "zstd",
		"\x78\x9c\xab":                     "zlib",
		"\x78\x01\x00":                     "zlib",
		"BZh91AY":                          "bzip2",
		"PK\x03\x04\x14":                   "a ZIP archive",
		"\xff\xfe{\x00":                    "UTF-16",
		"\xfe\xff\x00{":                    "UTF-16",
		"{\x00\"\x00a":                     "UTF-16",
		"\x00{\x00\"":                      "UTF-16",
		"[\x00{\x00":                       "UTF-16",
		"\xff\xfe\x00\x00{\x00":            "UTF-32",
		"\x00\x00\xfe\xff\x00":             "UTF-32",
		"{\x00\x00\x00\"":                  "UTF-32",
		"\x00\x00\x00{\x00\x00\x00\"":      "UTF-32",
		"PROXY TCP4 1.2.3.4\r\n":           "the PROXY protocol",
		"\x00\r\nQUIT\n\x21":               "the PROXY protocol",
		"GET / HTTP/1.1\r\nHost: x\r\n":    "HTTP",
		"copy / HTTP/1.1\r\n":              "HTTP",
		"M-SEARCH * HTTP/1.1\r\n":          "HTTP",
		"CONNECT {\"verbose\":false}\r\n":  "NATS",
		"INFO {\"server_id\":\"x\"}\r\n":   "NATS",
		"PUB a 5\r\nhello\r\n":             "NATS",
		"*1\r\n$4\r\nPING\r\n":             "the Redis protocol",
		"EHLO example.com\r\n":             "SMTP",
		"SSH-2.0-OpenSSH_9\r\n":            "SSH",
		"<34>1 2003-10-11T22:14:15Z a\n":   "syslog",
		"<13>Oct 11 22:14:15 host su: x\n": "syslog",
		"83 <34>1 2003-10-11T22:14:15Z\n":  "syslog with octet counts",
		"7:{\"a\":1},":                     "a netstring",
		"<?xml version=\"1.0\"?>\n":        "XML or HTML",
		"<html>\n":                         "XML or HTML",
		"data: {\"a\":1}\n":                "a stream of server-sent events",
		"2026-11-29T01:02:03Z INFO x\n":    "a line of a log",
		"2026/11/29 01:02:03 started\n":    "a line of a log",
		"[2026-11-29 01:02:03] x\n":        "a line of a log",
		"[29/Nov/2026:01:02:03 +0000] x\n": "a line of a log",
		"Nov 29 01:02:03 host su: x\n":     "a line of a log",
		"Sun, Nov 29 01:02:03 x\n":         "a line of a log",
		"01:02:03.123 [main] x\n":          "a line of a log",
		"I1129 01:02:03.0 1 a.go:1] x\n":   "a line of a log",
		"1764378123.5 GET x\n":             "a line of a log",
		"1.2.3.4 - - [29/Nov/2026:01:02:03 +0000] \"GET / HTTP/1.0\" 200 1\n": "a line of a log",
		"[INFO] started\n":             "a line of a log",
		"WARN: disk full\n":            "a line of a log",
		"level=info msg=\"started\"\n": "logfmt",
		"---\na: 1\n":                  "YAML",
		"name: Alice\nage: 30\n":       "YAML",
		"- a\n- b\n":                   "YAML",
		"[section]\nkey = 1\n":         "TOML or INI",
		"key = 1\n":                    "TOML or INI",
		"42\n":                         "a length or a number in decimal digits",
		"0000000042":                   "a length or a number in decimal digits",
		"name,age\nAlice,30\n":         "CSV",
		"\"name\",\"age\"\n":           "CSV",
		"a;b;c\n":                      "CSV",
		"a\tb\n":                       "CSV",
		"a|b\r\n":                      "CSV",
		"\"a\"\"b\",c\n":               "CSV",
		"name, age, city\n":            "CSV",
		"hello | world\n":              "",
		"OrderedDict({'a': 1})\n":      "a Python literal",
		"hello\n":                      "",
		"hello, world\n":               "",
		"not\n":                        "",
		"null\n":                       "",
		"":                             "",
		"\x07\x08\x09":                 "",
		"caf\xc3\xa9\n":                "",
	} {
		for n := range len(first) + 1 { // every beginning is undecided, or decided as the whole is
			k, err := foreign.Of([]byte(first[:n]), n == len(first))
			if errors.Is(err, codec.ErrIncomplete) && n < len(first) {
				continue
			}
			if k.Name != want || err != nil || (k.Name == "") != (k.Hint == "") {
				t.Errorf("%q of %q is %q, %v, want %q", first[:n], first, k.Name, err, want)
				break
			}
		}
	}
	if _, err := foreign.Of([]byte(strings.Repeat("x", 600)), false); err != nil {
		t.Errorf("a long line: %v", err)
	}
}

func TestFile(t *testing.T) {
	for _, test := range []struct{ format, first, want string }{
		{"json", `{"a":1}`, ""},
		{"json", "\xef\xbb\xbf{}", ""},
		{"json", "\x1e{}", ""},
		{"json", "[\n{}]", ""},
		{"json", "[1, 2]", ""},
		{"json", "[]", ""},
		{"json", "oops\n{}", ""},
		{"json", "hello", ""},
		{"json", "42\n{}\n", ""},
		{"json", "2026-11-29 started\n{\"a\":1}\n", ""}, // one line among others
		{"json", "[2026-11-29] started\n{\"a\":1}\n", ""},
		{"json", "[2026-11-29] started\n", "a line of a log"},
		{"json", "2026-11-29 started\n2026-11-29 ended\n", "a line of a log"},
		{"json", "\xff\xfe{\x00", "UTF-16"},
		{"json", "{\x00\"\x00", "UTF-16"},
		{"json", "\x1f\x8b\x08", "gzip"},
		{"json", "{'a': 1}", "a Python literal"},
		{"json", "\x80\x04\x95", "a pickle"},
		{"json", "(dp0\n", "a pickle"},
		{"json", "\x81\xa1a\x01", "MessagePack"},
		{"json", "\xa1\x61a\x01", "CBOR"},
		{"json", "name,age\nAlice,30\n", "CSV"},
		{"json", "a: 1\n", "YAML"},
		{"json", "", ""},
		{"python", "{'a': 1}", ""},
		{"python", "OrderedDict()", ""},
		{"python", "\x80\x04\x95", "a pickle"},
		{"pickle", "\x80\x04\x95", ""},
		{"pickle", "(dp0\n", ""},
		{"pickle", "}q\x00.", ""},
		{"pickle", `{"a":1}`, "JSON"},
		{"pickle", "\x1f\x8b\x08", "gzip"},
		{"msgpack", "\x81\xa1a\x01", ""},
		{"msgpack", `{"a":1}`, "JSON"},
		{"msgpack", "\x78\x9c\xab", "zlib"},
		{"cbor", "\xa1\x61a\x01", ""},
		{"cbor", "\xd9\xd9\xf7\xa0", ""},
		{"cbor", "{\n}", "JSON"},
	} {
		if k, err := foreign.File(test.format, []byte(test.first), true); k.Name != test.want || err != nil {
			t.Errorf("%s: %q is %q, %v, want %q", test.format, test.first, k.Name, err, test.want)
		}
	}
}
