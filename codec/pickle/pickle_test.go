package pickle_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// config describes what the codec supports: everything except tagged values and
// nanoseconds.
func config() codectest.Config {
	c := codectest.Config{Codec: pickle.Codec{}, FramesOnly: true, Holds: func(v dict.Value) bool { return !v.HasNanoseconds() }}
	for _, k := range dict.Kinds() {
		if k == dict.KindTagged {
			continue
		}
		c.Kinds = append(c.Kinds, k)
		if !slices.Contains([]dict.Kind{
			dict.KindByteArray, dict.KindList, dict.KindSet, dict.KindDict, dict.KindOrderedDict,
		}, k) {
			c.Keys = append(c.Keys, k)
		}
	}
	return c
}

func TestCodec(t *testing.T) { codectest.Run(t, config()) }

// Output of Python 2 and older versions of Python 3, and rare output of picklers.
func TestDecode(t *testing.T) {
	for _, test := range []struct{ name, pickle, want string }{
		{"str of Python 2, protocol 0", "(dp0\nS'a'\np1\nS\"it's\\n\\x41\\\\\\t\\r\\'\"\ns.", `{'a': "it's\nA\\\t\r'"}`},
		{"str of Python 2, protocol 1", "}U\x01aT\x02\x00\x00\x00bcs.", "{'a': 'bc'}"},
		{"int of Python 2 that is long", "}U\x01aI123456789012345678901234567890\ns.", "{'a': 123456789012345678901234567890}"},
		{"long without its L", "(dVa\nL-12\ns.", "{'a': -12}"},
		{"the edges of int64", "}(K\x00L9223372036854775807L\nK\x01L-9223372036854775808L\nK\x02L9223372036854775808L\nK\x03\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00u.", "{0: 9223372036854775807, 1: -9223372036854775808, 2: 9223372036854775808, 3: 9223372036854775808}"},
		{"ints with more bytes than they need", "}(K\x00\x8a\x0a\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00K\x01\x8a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffK\x02\x8a\x00K\x03\x8a\x01\x80u.", "{0: 5, 1: -1, 2: 0, 3: -128}"},
		{"bools of protocol 0", "(dI01\nI00\nsI00\nI1\ns.", "{True: False, False: 1}"},
		{"floats of protocol 0", "(dI0\nFnan\nsI1\nF-inf\nsI2\nF1e+16\nsI3\nF-0.0\ns.", "{0: nan, 1: -inf, 2: 1e+16, 3: -0.0}"},
		{"raw-unicode-escape", "(dVa\\u0041\\\\u0041\\U0001f600\\ud83d\\ude00\xe9\\x\\\nI1\ns.", `{'aA\\\\u0041😀\ud83d\ude00é\\x\\': 1}`},
		{"lone surrogates", in("\x8c\x06\xed\xa0\xbd\xed\xb8\x80"), `{'a': '\ud83d\ude00'}`},
		{"bytearray before Python 3.8", "\x80\x02}U\x01ac__builtin__\nbytearray\nX\x02\x00\x00\x00\xc3\xa9U\x07latin-1\x86Rs.", `{'a': bytearray(b'\xe9')}`},
		{"empty bytes of protocol 2", "\x80\x02}U\x01ac__builtin__\nbytes\n)Rs.", "{'a': b''}"},
		{"filled after it was shared", "}(\x8c\x01a]\x94\x8c\x01bh\x00u\x8c\x01ch\x00K\x01as.", "{'a': [1], 'b': [1], 'c': [1]}"},
		{"a set of a list that grows", "}(\x8c\x01a]\x94K\x01a\x8c\x01bcbuiltins\nset\nh\x00\x85R\x8c\x01ch\x00K\x02au.", "{'a': [1, 2], 'b': {1}, 'c': [1, 2]}"},
		{"a set of a list that grows in place", "}(\x8c\x01a]\x94h\x00\x85\x940K\x01a\x8c\x01bcbuiltins\nset\nh\x01R\x8c\x01ch\x00K\x02au.", "{'a': [1, 2], 'b': {1}, 'c': [1, 2]}"},
		{"lists that grow in turn", "}(\x8c\x01a]\x94K\x01a\x8c\x01b]\x94K\x02a\x8c\x01ch\x00K\x03a\x8c\x01dh\x01K\x04au.", "{'a': [1, 3], 'b': [2, 4], 'c': [1, 3], 'd': [2, 4]}"},
		{"popped and doubled", "}(K\x01K\x021\x8c\x01aK\x07K\x080s(0.", "{'a': 7}"},
		{"DUP", "}\x8c\x01a2s.", "{'a': 'a'}"},
		{"an unsafe UUID", in("cuuid\nUUID\n)\x81}(\x8c\x03int\x8a\x11" + strings.Repeat("\xff", 16) + "\x00\x8c\x07is_safeJ\xff\xff\xff\xffub"), "{'a': UUID('ffffffff-ffff-ffff-ffff-ffffffffffff')}"},
		{"two frames", "\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00}\x95\x01\x00\x00\x00\x00\x00\x00\x00.", "{}"},
		{"NaN as several keys", "}(G\x7f\xf8\x00\x00\x00\x00\x00\x00K\x01G\x7f\xf8\x00\x00\x00\x00\x00\x00K\x02u.", "{nan: 1, nan: 2}"},
		{"an OrderedDict", "ccollections\nOrderedDict\n)R(\x8c\x01bK\x01\x8c\x01aK\x02u.", "OrderedDict({'b': 1, 'a': 2})"},
		{
			"a log record of SocketHandler",
			"}q\x00(X\x04\x00\x00\x00nameq\x01X\x01\x00\x00\x00aq\x02X\x03\x00\x00\x00msgq\x03X\x05\x00\x00\x00got 3q\x04X\x04\x00\x00\x00argsq\x05NX\x07\x00\x00\x00levelnoq\x06K\x14X\x07\x00\x00\x00createdq\x07GA\xda\x9cv\xe7\xa0\x00\x00u.",
			"{'name': 'a', 'msg': 'got 3', 'args': None, 'levelno': 20, 'created': 1785846686.5}",
		},
	} {
		d, err := pickle.Codec{}.Decode([]byte(test.pickle), codec.Limits{})
		if err != nil || d.String() != test.want {
			t.Errorf("%s: %v, %v, want %s", test.name, d, err, test.want)
		}
	}
}

// Strings know whether they contain lone surrogates.
func TestSurrogates(t *testing.T) {
	for value, want := range map[string]bool{
		"\x8c\x03\xed\xa0\x80": true, "V\\ud800\n": true, "V\\ud7ff\n": false, "V\xe9\n": false, "\x8c\x03\xed\x9f\xbf": false,
	} {
		d, err := pickle.Codec{}.Decode([]byte(in(value)), codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := d.Get("a"); v.HasSurrogates() != want {
			t.Errorf("%q: HasSurrogates = %v", value, !want)
		}
	}
}

// A line of protocol 0 that arrives byte by byte is scanned once.
func TestLongLine(t *testing.T) {
	src := []byte("(V" + strings.Repeat("x", 1_000_000) + "\nNd.")
	s := pickle.Codec{}.NewScanner(codec.Limits{})
	begin := time.Now()
	for n := 1; n < len(src); n++ {
		if _, _, err := s.Next(src[:n]); !errors.Is(err, codec.ErrIncomplete) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if _, end, err := s.Next(src); err != nil || end != len(src) {
		t.Fatal(end, err)
	}
	if took := time.Since(begin); took > 10*time.Second { // minutes if each byte caused a scan of everything before it
		t.Errorf("%v", took)
	}
}

// A fault in the dictionary has its path.
func TestPath(t *testing.T) {
	for pickled, want := range map[string]string{
		"}\x8c\x01a]K\x01a}K\x02cbuiltins\nset\nsas.":                               "/a/1/2",
		"}\x8c\x01a]K\x01a}K\x02\x85]cbuiltins\nset\nasas.":                         "/a/1/(2,)/0",
		"}\x8c\x01a}\x8c\x01b(K\x01K\x01\x91ss.":                                    "/a/b",
		"}\x8c\x01a}\x8c\x01b}\x8c\x01cL" + strings.Repeat("7", 5000) + "L\nsss.":   "/a/b/c",
		"}\x8c\x01a(" + strings.Repeat("(", 300) + strings.Repeat("l", 300) + "ls.": "/a" + strings.Repeat("/0", 100) + "/…",
	} {
		_, err := pickle.Codec{}.Decode([]byte(pickled), codec.Limits{})
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) || bad.Path != want {
			t.Errorf("%.80q: %v, want the path %s", pickled, err, want)
		}
	}
}

// Tagged values are refused, as values, items and keys.
func TestLoss(t *testing.T) {
	tagged := dict.Tagged(dict.CBORTag, dict.Int(4000), dict.String("x"))
	key := new(dict.Dict)
	if err := key.SetKey(dict.Tuple(tagged), dict.Null()); err != nil {
		t.Fatal(err)
	}
	const hint = "; use cbor.Codec, or Codec.Lossy to write it as a string"
	for want, d := range map[string]*dict.Dict{
		"/a/0: pickle can't hold a tagged value" + hint:        dict.Of("a", dict.List(tagged)),
		"/a: pickle can't hold a tagged value as a key" + hint: dict.Of("a", key),
	} {
		if b, err := (pickle.Codec{}).Append(nil, d); err == nil || err.Error() != want || len(b) > 0 {
			t.Errorf("%v: %q, %v, want %s", d, b, err, want)
		}
	}
}

// A scanner stops at the first bad pickle, and refuses one that is too large before it has
// arrived.
func TestScanner(t *testing.T) {
	for _, test := range []struct {
		buf  string
		code fault.Code
		at   int
	}{
		{"}\n", fault.Malformed, 1},
		{"\x80\x06", fault.Malformed, 0},
		{"}X\xff\xff\xff\xff", fault.TooLarge, 1000},
		{"}\x8e\xff\xff\xff\xff\xff\xff\xff\xff", fault.TooLarge, 1000},
		{"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff", fault.TooLarge, 1000},
		{"V" + strings.Repeat("x", 1000), fault.TooLarge, 1000},
		{strings.Repeat("N", 1000), fault.TooLarge, 1000},
		{"\x95\x05\x00\x00\x00\x00\x00\x00\x00}.", fault.Malformed, 10},
		{"\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x95\x01\x00\x00\x00\x00\x00\x00\x00}.", fault.Malformed, 9},
	} {
		for _, piece := range []int{1, 2, len(test.buf)} {
			s := pickle.Codec{}.NewScanner(codec.Limits{RecordBytes: 1000})
			err := codec.ErrIncomplete
			for n := piece; errors.Is(err, codec.ErrIncomplete) && n < len(test.buf)+piece; n += piece {
				_, _, err = s.Next([]byte(test.buf[:min(n, len(test.buf))]))
			}
			var bad *codec.SyntaxError
			if !errors.As(err, &bad) || bad.Code != test.code || bad.Offset != test.at || !bad.Final {
				t.Errorf("%.40q in pieces of %d: %v, want %s at %d", test.buf, piece, err, test.code, test.at)
			}
		}
	}
	s := pickle.Codec{}.NewScanner(codec.Limits{})
	if _, _, err := s.Next([]byte("}X\x05\x00\x00\x00abc")); !errors.Is(err, codec.ErrIncomplete) {
		t.Fatal(err)
	}
	_, _, err := s.End([]byte("}X\x05\x00\x00\x00abc"))
	const want = "pickle: want the rest of BINUNICODE at byte 1, got the end (at byte 9)"
	if err == nil || err == io.EOF || err.Error() != want {
		t.Errorf("End = %v, want %s", err, want)
	}
}

// The memory of a decoder stays below the limit in the package comment, for the opcodes
// that need the most.
func TestMemory(t *testing.T) {
	const size = 1 << 18
	for name, opcodes := range map[string]string{
		"dictionaries": "}", "tuples": "\x85", "tuples of one": "N\x85", "memoized": "}\x94", "marks": "(",
		"items one by one": "Na", "sparse": "}r\x00\xf0\x03\x00", "sets": "h\x01h\x02R",
	} {
		src := append([]byte("]\x94cbuiltins\nset\n\x94h\x00\x85\x9400"), strings.Repeat(opcodes, size/len(opcodes)-30)...)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := (pickle.Codec{}).Decode(src, codec.Limits{}); err == nil {
			t.Errorf("%s: decoded", name)
		}
		runtime.ReadMemStats(&after)
		// A slice grows by a quarter, so the total allocation is a few times the final
		// size.
		if each := (after.TotalAlloc - before.TotalAlloc) / size; each > 400 {
			t.Errorf("%s: %d bytes for each byte", name, each)
		}
	}
}

func ExampleCodec_Decode() {
	d, err := pickle.Codec{}.Decode([]byte("\x80\x04}\x94(\x8c\x04name\x94\x8c\x05Alice\x94\x8c\x04tags\x94\x8f\x94(\x8c\x01a\x94\x8c\x01b\x94\x90u."), codec.Limits{})
	fmt.Println(d, err)
	_, err = pickle.Codec{}.Decode([]byte("cos\nsystem\n(S'id'\ntR."), codec.Limits{})
	fmt.Println(err)
	// Output:
	// {'name': 'Alice', 'tags': {'a', 'b'}} <nil>
	// pickle: GLOBAL: os.system is refused: a pickle is read as data only (at byte 0)
}
