package dialect_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

func TestSniff(t *testing.T) {
	for _, test := range []struct {
		first string
		want  dialect.Protocol
		err   string // part of the refusal
	}{
		{`{"name": "Alice"}`, dialect.JSON, ""},
		{`{}`, dialect.JSON, ""},
		{" \r\n\t{\n}", dialect.JSON, ""},
		{"\x1e{", dialect.JSON, ""},
		{"\xef\xbb\xbf{", dialect.JSON, ""},
		{"\xef\xbb\xbfname,age\nAlice,30\n", 0, "this looks like CSV"},
		{"\xef\xbb\xbf\r\n\"name\";\"age\"\r\n", 0, "this looks like CSV"},
		{"\xef\xbb\xbfhello\n", dialect.JSON, ""},
		{"\xef\xbb{", 0, "byte 0xef begins no dictionary"},
		{`{"dictwire":1}`, dialect.Native, ""},
		{"{ \"dictwire\"\n: -12 ,", dialect.Native, ""},
		{`{"dictwire":1.5}`, dialect.JSON, ""},
		{`{"dictwire":1e3}`, dialect.JSON, ""},
		{`{"dictwire":"1"}`, dialect.JSON, ""},
		{`{"dictwire":-}`, dialect.JSON, ""},
		{`{"dictwire";1}`, dialect.JSON, ""},
		{`{"dictwires":1}`, dialect.JSON, ""},
		{`{"dict"`, dialect.JSON, ""},
		{`{"dictwire"` + strings.Repeat(" ", 9000), dialect.JSON, ""},
		{`{'name': 'Alice'}`, 0, "Python literal"},
		{`[1]`, 0, "want a dictionary, got a JSON list"},
		{`[]`, 0, "want a dictionary, got a JSON list"},
		{`["tag", 1700000000, {"a":1}]`, 0, "Fluent Forward in JSON"},
		{`["tag",[[1,{}]]]`, 0, "Fluent Forward in JSON"},
		{`["tag", "a"]`, 0, "want a dictionary, got a JSON list"},
		{"\xc0\x93\xa3", dialect.Forward, ""},
		{"\xc0\x74xxxxxxxxxx", 0, "a CBOR tag in front"},
		{"[\n\"a\"]", 0, "want a dictionary, got a JSON list"},
		{"[null,", 0, "want a dictionary, got a JSON list"},
		{"[" + strings.Repeat(" ", 5000) + "{", 0, "want a dictionary, got a JSON list"},
		{"[{", dialect.JSON, ""},
		{"[ \r\n\t{", dialect.JSON, ""},
		{"[INFO] started\n", 0, "this looks like a line of a log"},
		{"[2026-11-29 01:02:03] started\n", 0, "this looks like a line of a log"},
		{"[nothing]\n", 0, "this looks like TOML"},
		{"{\x00\"\x00", 0, "UTF-16"},
		{"\xff\xfe{\x00", 0, "UTF-16"},
		{"\xfe\xff\x00{", 0, "UTF-16"},
		{"\x00{\x00\"", 0, "UTF-16"},
		{"\x00\x00\x00{\x00", 0, "UTF-32"},
		{"\x1f\x8b\x08", 0, "this looks like gzip"},
		{"(\xb5/\xfd", 0, "this looks like zstd"},
		{"(\xb5/xxxxxxx", 0, "'(' begins"},
		{"x\x9c\xab", 0, "this looks like zlib"},
		{"\xac\xed\x00\x05", 0, "Java"},
		{"\xac\x61", dialect.CBOR, ""},
		{"\x80\x02}", dialect.Pickle, ""},
		{"\x80\x05\x95", dialect.Pickle, ""},
		{"}q\x00(", dialect.Pickle, ""},
		{"(dp0\n", dialect.Pickle, ""},
		{"ccollections\nOrderedDict\n", dialect.Pickle, ""},
		{"\x80\x01", dialect.MessagePack, ""},
		{"\x80\x06", dialect.MessagePack, ""},
		{"\x80\x80", dialect.MessagePack, ""},
		{"\x81\xa4", dialect.MessagePack, ""},
		{"\x8f\xa1", dialect.MessagePack, ""},
		{"\xde\x00", dialect.MessagePack, ""},
		{"\xdf\x00", dialect.MessagePack, ""},
		{"\x92\xa3", dialect.Forward, ""},
		{"\x94\xd9", dialect.Forward, ""},
		{"\xdc\x00\x03\xa3", dialect.Forward, ""},
		{"\xdd\x00\x00\x00\x03\xdb", dialect.Forward, ""},
		{"\x92\x01xxxxxxxx", 0, "byte 0x92 begins no dictionary"},
		{"\x91\xa3xxxxxxxx", 0, "byte 0x91 begins no dictionary"},
		{"copy / HTTP/1.1\r\n", dialect.HTTP, ""},
		{"ccollections\nOrderedDicts\n", 0, "'c' begins no dictionary"},
		{"cos\nsystem\n", 0, "'c' begins no dictionary"},
		{"\xa0", dialect.CBOR, ""},
		{"\xbb", dialect.CBOR, ""},
		{"\xbf", dialect.CBOR, ""},
		{"\xd9\xd9\xf7\xa1", dialect.CBOR, ""},
		{"\xd9\xd9\xf8xxxxxxx", 0, "a CBOR tag in front"},
		{"\xd9\x01xxxxxxxx", 0, "a CBOR tag in front"},
		{"\xc1xxxxxxxxx", 0, "a CBOR tag in front"},
		{"\xbcxxxxxxxxx", 0, "byte 0xbc begins no dictionary"},
		{"\x00\x00\x00\x10{", dialect.Framed, ""},
		{"\x00\x00\x01\x10}q", dialect.Framed, ""},
		{"\x00\x00\x01\x10cc", dialect.Framed, ""},
		{"\x00\x00\x00\x05hello", 0, "what follows a length of 4 bytes is no dictionary: byte 0x68"},
		{"\x00\x00\x00\x00{\"abcd", 0, "a frame of length zero"},
		{"\x00\x00\x00\x00\x00\x00\x00\x2d{\"", 0, "an 8-byte length before a record"},
		{"\x2d\x00\x00\x00\x00\x00\x00\x00{\"", 0, "an 8-byte little-endian length"},
		{"\x2d\x00\x00\x00{\"a\":1}", 0, "a 4-byte little-endian length"},
		{"\x85\x00\x00\x00{\"a\":1}", 0, "a 4-byte little-endian length"},
		{"\xa5\x01\x00\x00\x80\x04\x95", dialect.CBOR, ""},
		{"\xa5\x00\x00\x00\x80\x04\x95\x01\x01\x01", 0, "a 4-byte little-endian length"},
		{"\x85\x00\x00\x00\x01\x02\x01\x01\x01\x01", dialect.MessagePack, ""},
		{"\x9b\x01\x00\x00\x80\x04\x95\x01\x01\x01", 0, "a 4-byte little-endian length"},
		{"{\x00\x00\x00{\"a\": ...", 0, "a 4-byte little-endian length"},
		{"\x2d\x00{\"a\":1}...", 0, "a 2-byte little-endian length"},
		{"\x00\x0a{\"a\":1}..", 0, "a 2-byte length before a record"},
		{"\x00\x68{\"a", dialect.Headed, ""},
		{"\x01\x68{\"a", dialect.Headed, ""},
		{"\x01\x68{}.....", 0, "a 2-byte length before a record"},
		{"\x02\x68{\"a......", 0, "a 2-byte length before a record"},
		{"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", 0, "byte 0x01 begins no dictionary"},
		{"45        {", dialect.Columns, ""},
		{"45        \x80\x04", dialect.Columns, ""},
		{"45" + strings.Repeat(" ", 62) + "{", dialect.Columns, ""},
		{"45       {\"a\":1}\n", 0, "a decimal length"},
		{"0000000045{\"a\":1}\n", 0, "a decimal length"},
		{"45{\"a\":1}\n", 0, "a decimal length"},
		{"45 {\"a\":1}\n", 0, "a decimal length"},
		{"\x00\x00\x00{\x80", dialect.Framed, ""},
		{"\x16\x03\x01", dialect.TLS, ""},
		{"\x16\x04xxxxxxxx", 0, "byte 0x16 begins no dictionary"},
		{"GET / HTTP/1.1\r\n", dialect.HTTP, ""},
		{"POST /", dialect.HTTP, ""},
		{"PRI * HTTP/2.0", dialect.HTTP, ""},
		{"OPTIONS * HTTP/1.1", dialect.HTTP, ""},
		{"M-SEARCH * HTTP/1.1\r\n", dialect.HTTP, ""},
		{"PROXY TCP4", 0, "the PROXY protocol"},
		{"0000000042\n", 0, "a length or a number"},
		{"12:{\"a\":1234},\n", 0, "this looks like a netstring"},
		{"83 <34>1 2003\n", 0, "syslog with octet counts"},
		{"2026-11-29T01:02:03Z x\n", 0, "a line of a log"},
		{"<13>Oct 11\n", 0, "this looks like syslog"},
		{"<xml>\n", 0, "this looks like XML"},
		{"CONNECT {}\r\n", 0, "this looks like NATS"},
		{"hello\n", 0, "'h' begins no dictionary in any format; nothing of this connection was taken"},
		{"not\n", 0, "'n' begins no dictionary"},
		{"null\n", 0, "'n' begins no dictionary"},
		{"Gopher\n", 0, "'G' begins no dictionary"},
		{"POSTSCRIPT\n", 0, "'P' begins no dictionary"},
		{strings.Repeat("x", 600), 0, "'x' begins no dictionary"},
		{"\xff\x01xxxxxxxx", 0, "byte 0xff begins no dictionary"},
		{strings.Repeat("\n", 4097), 0, "more than 4096 bytes of white space"},
	} {
		// Every prefix is undecided, or decided like the whole.
		for n := range len(test.first) + 1 {
			got, err := dialect.Sniff([]byte(test.first[:n]))
			if errors.Is(err, codec.ErrIncomplete) {
				if n == len(test.first) {
					t.Errorf("%.40q: undecided", test.first)
				}
				continue
			}
			var refusal *fault.Error
			switch {
			case test.err == "" && (err != nil || got != test.want):
				t.Errorf("%.40q: %v, %v, want %v", test.first[:n], got, err, test.want)
			case test.err != "" && (!errors.As(err, &refusal) || !strings.Contains(err.Error(), test.err)):
				t.Errorf("%.40q: %v, %v, want an error with %q", test.first[:n], got, err, test.err)
			}
		}
	}
}

// Every first byte has an answer.
func TestSniffAllFirstBytes(t *testing.T) {
	for c := range 256 {
		first := append([]byte{byte(c)}, "\x01\x02\x03\x04\x05\x06\x07\x08\x09"...)
		p, err := dialect.Sniff(first)
		if (p == dialect.Unknown) == (err == nil) {
			t.Errorf("0x%02x: %v, %v", c, p, err)
		}
		space := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		if errors.Is(err, codec.ErrIncomplete) && !space {
			t.Errorf("0x%02x is undecided", c)
		}
	}
}

func FuzzSniff(f *testing.F) {
	for _, s := range []string{`{"dictwire":1}`, "{", "\x80", "\xdd\x00\x00", "PROX", "\x00\x00\x00\x01", "  {"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := dialect.Sniff(b)
		if errors.Is(err, codec.ErrIncomplete) {
			if len(b) > 16<<10 {
				t.Fatalf("undecided after %d bytes", len(b))
			}
			return
		}
		more, moreErr := dialect.Sniff(append(b[:len(b):len(b)], "}\x00x"...))
		if p != more || (err == nil) != (moreErr == nil) {
			t.Fatalf("%q: %v, %v; with more bytes %v, %v", b, p, err, more, moreErr)
		}
	})
}
