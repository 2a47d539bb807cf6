package python_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

var keys = []dict.Kind{
	dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindComplex, dict.KindDecimal, dict.KindString,
	dict.KindBytes, dict.KindUUID, dict.KindDateTime, dict.KindDate, dict.KindTime, dict.KindTimeDelta,
	dict.KindTuple, dict.KindFrozenSet, dict.KindTagged,
}

// holds reports whether Python can represent a value.
func holds(v dict.Value) bool { return !v.HasNanoseconds() }

func TestCodec(t *testing.T) {
	for _, version := range []dict.Python{0, dict.Python311} {
		codectest.Run(t, codectest.Config{
			Codec: python.Codec{Python: version}, Kinds: dict.Kinds(), Keys: keys, Holds: holds,
			BadThenGood: []string{"{'a': 1,,}\n{'good': 1}\n", "{'a': 'b\n{'good': 1}\n", "oops\n{'good': 1}\n"},
		})
	}
}

// Literals are read as Python means them, and written as by repr.
func TestDecode(t *testing.T) {
	for in, want := range map[string]string{
		` {'a' : 1, "b": [1, (2,), (3), ()], } `:                    "{'a': 1, 'b': [1, (2,), 3, ()]}",
		`{1: {2, 2, 3}, 2: {}, 3: set(), 4: frozenset()}`:           "{1: {2, 3}, 2: {}, 3: set(), 4: frozenset()}",
		`{'a' "b" '''c''': b'x' rb'\y', R'\n': u'é'}`:               `{'abc': b'x\\y', '\\n': 'é'}`,
		`{0x_ff: 0o17, 0b1_1: 1_000, 00: -0, 4: 1_0.5_0e1_0}`:       "{255: 15, 3: 1000, 0: 0, 4: 105000000000.0}",
		"{'\\x41\\101\\u00e9\\U0001F600\\\n\\q': '\\ud83d\\ude00'}": `{'AAé😀\\q': '\ud83d\ude00'}`,
		`{1+2j: -1-2j, 2j: -2j, 3: (-0-0j), 4: ((1))+(0j)}`:         "{(1+2j): (-1-2j), 2j: -2j, 3: (-0-0j), 4: (1+0j)}",
		`OrderedDict([('a', 1), ((2, 3), [4],),])`:                  "OrderedDict({'a': 1, (2, 3): [4]})",
		`OrderedDict({'a': OrderedDict()})`:                         "OrderedDict({'a': OrderedDict()})",
		`{nan: inf, 'z': (nan+infj), 'm': -inf}`:                    "{nan: inf, 'z': (nan+infj), 'm': -inf}",
	} {
		d, err := python.Codec{}.Decode([]byte(in), codec.Limits{})
		if err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", in, d, err, want)
		}
	}
}

// Each error has the place, what was expected and, if there is one, the remedy.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ in, want, hint string }{
		{``, `want a dictionary, got the end (at byte 0)`, ``},
		{`{`, `truncated want a key or '}', got the end (at byte 1)`, ``},
		{`{'a`, `truncated want the string's closing quote, got the end (at byte 3)`, ``},
		{`{'a'`, `truncated want ':' after the key, got the end (at byte 4)`, ``},
		{`{'a':`, `truncated want a value, got the end (at byte 5, in /a)`, ``},
		{`{'a': [1, `, `truncated want a value or ']', got the end (at byte 10, in /a/1)`, ``},
		{`{'a': Decimal('1`, `truncated want ')' at the end of the call, got the end (at byte 16, in /a)`, ``},
		{`{'a': 1 2}`, `malformed want ',' or '}', got '2' (at byte 8, in /a)`, ``},
		{`{'a': [1, 2}`, `malformed want ',' or ']', got '}' (at byte 11, in /a/1)`, ``},
		{`{'a': {'b': [{}, {2: tru}]}}`, `malformed want a value, got the name tru (at byte 21, in /a/b/1/2)`, `evaluated`},
		{`{'a': true}`, `malformed want a value, got the name true (at byte 6, in /a)`, `json.Codec`},
		{`{'a': os.system('x')}`, `malformed want a value, got the name os.system (at byte 6, in /a)`, `nothing is evaluated`},
		{`{'a': 01}`, `malformed want a number, got "01" (at byte 6, in /a)`, `0o`},
		{`{'a': 1__0}`, `malformed want a number, got "1__0" (at byte 6, in /a)`, ``},
		{`{'a': 1+2}`, `malformed want numbers beside the operator, as in 1+2j, got '}' (at byte 9, in /a)`, ``},
		{`{'a': --1}`, `malformed want a number without a sign, got '-' (at byte 7, in /a)`, ``},
		{`{'a': 'b' b'c'}`, `malformed want pieces of one kind side by side, got a string and bytes (at byte 12, in /a)`, ``},
		{`{'a': '\x4'}`, `malformed want hexadecimal digits of the escape, got '\'' (at byte 10, in /a)`, ``},
		{`{'a': '\N{BEL}'}`, `malformed want another escape than \N, got 'N' (at byte 8, in /a)`, `\u`},
		{`{'a': b'é'}`, `malformed want ASCII in bytes, got 'é' (at byte 8, in /a)`, ``},
		{"{'a': '\xff'}", `malformed want UTF-8, got byte 0xff (at byte 7, in /a)`, `UTF-8`},
		{"{'a': 'b\n'}", `malformed want the string to go on or end on its line, got a line feed (at byte 8, in /a)`, ``},
		{`{'a': 1} # x`, `malformed want nothing after the dictionary, got '#' (at byte 9)`, `comments`},
		{`{[1]: 2}`, `malformed want a hashable key, got a list (at byte 4)`, `hashable`},
		{`{'a': {1, []}}`, `malformed want a hashable item of a set, got a list (at byte 12, in /a/1)`, `hashable`},
		{`{1: 2, True: 3}`, `duplicate_key the key True comes twice (at byte 7)`, `last value`},
		{`{'x': OrderedDict([('b', 1), ('b', 2)])}`, `duplicate_key the key 'b' comes twice (at byte 30, in /x)`, `last value`},
		{`{'a': datetime.date(2023, 2, 29)}`, `malformed dict: 29 is no day of a date (at byte 20, in /a)`, ``},
		{`{'a': datetime.time(1, tzinfo=None)}`, `malformed want datetime.timezone or zoneinfo.ZoneInfo, got 'N' (at byte 30, in /a)`, ``},
		{`{'a': UUID('12')}`, `malformed want a UUID of 32 hexadecimal digits and 4 dashes, got '\'' (at byte 11, in /a)`, ``},
		{`{'a': Decimal('x')}`, `malformed want the text of a decimal`, ``},
		{`{'a': frozenset([1])}`, `malformed want a set or ')', got '[' (at byte 16, in /a)`, ``},
		{`{'a': set(1)}`, `malformed want ')', got '1' (at byte 10, in /a)`, ``},
		{`{'a': CBORTag('x', 1)}`, `malformed want the number of the tag before it`, ``},
		{`[1]`, `not_a_dictionary want a dictionary, got a list (at byte 0)`, `wrap it`},
		{`'a'`, `not_a_dictionary want a dictionary, got a string`, `wrap it`},
		{`os.system`, `malformed want a dictionary, which begins with '{' or OrderedDict, got 'o' (at byte 0)`, ``},
		{`{1: 1` + strings.Repeat(`0`, 4300) + `}`, `limit the record has more than 4300 digits of an integer; Limits.Digits raises the limit (at byte 4, in /1)`, ``},
		{strings.Repeat(`{1:`, 129), `too_deep the record has more than 128 levels; Limits.Depth raises the limit (at byte 384, in /1/1/`, ``},
	} {
		_, err := python.Codec{}.Decode([]byte(test.in), codec.Limits{})
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.60q: %v", test.in, err)
			continue
		}
		got := fmt.Sprintf("%s %s", bad.Code, strings.TrimPrefix(bad.Error(), "python: "))
		if !strings.Contains(got, test.want) || !strings.Contains(bad.Hint, test.hint) || test.hint == "" && bad.Hint != "" {
			t.Errorf("%.60q:\n got %s (hint %q)\nwant %s (hint %q)", test.in, got, bad.Hint, test.want, test.hint)
		}
	}
}

func ExampleCodec_Decode() {
	d, err := python.Codec{}.Decode([]byte(`{'when': datetime.date(2026, 1, 2), (1, 'x'): {2}, 'z': 1+2j}`), codec.Limits{})
	fmt.Println(d, err)
	_, err = python.Codec{}.Decode([]byte(`{'a': [open('x')]}`), codec.Limits{})
	fmt.Println(err)
	// Output:
	// {'when': datetime.date(2026, 1, 2), (1, 'x'): {2}, 'z': (1+2j)} <nil>
	// python: want a value, got the name open (at byte 7, in /a/0)
}
