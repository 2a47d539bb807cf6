package json_test

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/testrand"
)

const (
	malformed = "!malformed"
	none      = "!not_a_dictionary"
	ends      = "!!malformed" // and later records are lost
)

func TestSequences(t *testing.T) {
	deep := `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}"
	digits := `{"a":` + strings.Repeat("9", 5000) + "}"
	for sequence, want := range map[string][]string{
		"":                        nil,
		"{}{}":                    {"{}", "{}"},
		" \r\n\t{\n}\n{}":         {"{\n}", "{}"},
		"\x1e{}\n\x1e{\"a\":1}\n": {"{}", `{"a":1}`},
		"{}\x00{\"a\":1}\x00":     {"{}", `{"a":1}`},
		"\xef\xbb\xbf{}\n\xef\xbb\xbf{\"a\":1}\n\xef\xbb\xbf\xef\xbb\xbf{}": {"{}", `{"a":1}`, "{}"},
		"{}\xef\xbb\xbf":    {"{}"},
		"{}\n\xef\xbb":      {"{}", malformed},
		"{}\n\xef\xbbx\n{}": {"{}", malformed, "{}"},

		// A bad record costs its line.
		"{}\n{\"a\":oops}\n{}":                     {"{}", malformed, "{}"},
		"{\n}\n{\"a\":oops}\n{}":                   {"{\n}", malformed, "{}"},
		"{oops}\n{oops}\n{oops}\n":                 {malformed, malformed, malformed},
		"oops\nhello {}\n\n  }\n{}":                {malformed, malformed, malformed, "{}"},
		"not\nnull\nnullable\n":                    {malformed, none, malformed},
		"1\n-1.5\n\"x\"\ntrue\nNaN":                {none, none, none, none, none},
		"{\"id\":2,\"price\":19,90}\n{}":           {malformed, "{}"},
		"{\"size\":\"19\" monitor\",\"n\":{}}\n{}": {malformed, "{}"},
		"{\"a\":1,\"a\":2}\n{}":                    {"!duplicate_key", "{}"},
		"{\"a\":\"\xff\"}\n{}":                     {malformed, "{}"},
		"{\"a\":[1,2}\n{}":                         {malformed, "{}"},
		deep + "\n{}":                              {"!too_deep", "{}"},
		digits + "\n{}":                            {"!limit", "{}"},
		"{\"a\":oops}{\"b\":1}\n{}":                {malformed, "{}"},
		"{\"a\":\"cut of\n{}":                      {malformed, "{}"},
		"{\"cut of\n{}":                            {malformed, "{}"},
		"{\"a\":{\"b\":oops}}\r\n{}\r\n":           {malformed, "{}"},
		"{\"a\":1},\n{\"b\":2},\n":                 {`{"a":1}`, malformed, `{"b":2}`, malformed},
		"[2026-11-29] (started)\n{}":               {malformed, "{}"},

		// Unless it continues on the next line.
		"{\n\"a\":1,,\n\"b\":\n{\n\"c\": 2\n}\n}\n":  {ends},
		"{\n\"a\":1,,\n\"b\":\n{\"c\":2}\n}\n{}":     {ends},
		"{\"a\":1,,\n\"b\":\n{\"c\":2}\n}\n{}":       {ends},
		"{}\n{\"a\":oops,\"b\":[\n{\"c\":2}\n]}":     {"{}", ends},
		"{\"a\":\n{\"b\":2}\n{\"c\":3}":              {ends},
		"{\"a\":\n{\"b\":2},,\n\"c\":\n{\"d\":2}\n}": {ends},
		"{\"a\":1\n{\"b\":2}\n}":                     {ends},
		"{\"a\":\"{\n{\"b\":2}\n}\"}":                {ends},
		"data: {\n\"a\":\n{\"b\":1}\n}":              {ends},
		"oops [\n{\"b\":1}\n]":                       {ends},

		// A byte that can't be in a record starts a new one all the same.
		"{}\x00{\n\"a\":oops,\n\"b\":\n{}}\x00{\"c\":1}\x00":       {"{}", malformed, `{"c":1}`},
		"\x1e{\n\"a\":oops,\n\"b\":\n{}}\n\x1e{\"c\":1}\n":         {malformed, `{"c":1}`},
		"\x1e{\"a\":oops,\n\"b\":\n{}}\n\x1e{\"c\":1}\n":           {malformed, `{"c":1}`},
		"\x1e{\"a\":\n\x1e{\"b\":1}\n\x1e{\"c\":\"\x1e{\"d\":1}\n": {malformed, `{"b":1}`, malformed, `{"d":1}`},
		"{}\x00oops\x00{}\x00\x00{\"a\":\x00{}":                    {"{}", malformed, "{}", malformed, "{}"},

		// An array of dictionaries is a sequence of its items.
		`[{"a":1},{"b":2}]`:                                 {`{"a":1}`, `{"b":2}`},
		"[\n{\"a\":1},\n{\"b\":2}\n]\n":                     {`{"a":1}`, `{"b":2}`},
		"[\n  {\n    \"a\": [{}]\n  }\n]\n{}":               {"{\n    \"a\": [{}]\n  }", "{}"},
		"\xef\xbb\xbf[{}]\n\xef\xbb\xbf[{},{}]{}":           {"{}", "{}", "{}", "{}"},
		"{}\n[{}]\x00\x1e[{}]":                              {"{}", "{}", "{}"},
		`[{},1,{},"x\"]",[{"b":1},2],null,-Infinity,{}] {}`: {"{}", none, "{}", none, none, none, none, "{}", "{}"},
		"[{},[\n{\"b\":1}\n,{}],{}]":                        {"{}", none, "{}"},
		`[{"a":1},]{}`:                                      {`{"a":1}`, malformed, "{}"},
		`[{},{"a":oops},{}]{}`:                              {"{}", ends},
		"[{},\n{\"a\":oops},\n{}\n]\n{}":                    {"{}", ends},
		"[{},\noops,\n{}]\n{}":                              {"{}", ends},
		"[{}\n{}]":                                          {"{}", ends},
		"[{} {}]":                                           {"{}", ends},
		"[{},,{}]":                                          {"{}", ends},
		"[{}}":                                              {"{}", ends},
		"\x1e[{},{\"a\":\n{}\n,oops}]\x1e{\"b\":1}":         {"{}", malformed, `{"b":1}`},
		"[{},\x00{}":                                        {"{}", malformed, "{}"},
		"[{}\x1e{}":                                         {"{}", malformed, "{}"},
		"[{}":                                               {"{}", "!truncated"},
		"[{},":                                              {"{}", "!truncated"},
		"[{},{\"a\"":                                        {"{}", "!truncated"},
		"[{},[1":                                            {"{}", "!truncated"},
		"[{},\"x":                                           {"{}", "!truncated"},
		"[{},12":                                            {"{}", "!truncated"},

		// Any other array is refused as a whole.
		"[]{}":                                   {none, "{}"},
		"[ ]\n{}":                                {none, "{}"},
		"[1,\n{\"b\":2},\n{}\n]\n{}":             {none, "{}"},
		"[[{}],\n{}]{}":                          {none, "{}"},
		"[1,\n{\"b\":2},\noops\n]{}":             {ends},
		"[1, oops]\n{}":                          {malformed, "{}"},
		"[1, oops,\n{}\n]\n{}":                   {ends},
		"[":                                      {"!truncated"},
		"[\n":                                    {"!truncated"},
		"[1":                                     {"!truncated"},
		"[" + strings.Repeat("\n", 5000) + "{}]": {none},
	} {
		codectest.CheckSequence(t, json.Codec{}, sequence, want...)
	}
}

// Without Resume, the first fault ends the sequence, and an array is a fault.
func TestStrictSequence(t *testing.T) {
	for sequence, want := range map[string]string{
		"[{}]":                "not_a_dictionary",
		"{\"a\":oops}\n{}":    "malformed",
		"{\"a\":1,\"a\":2}{}": "duplicate_key",
	} {
		s := json.Codec{}.NewScanner(codec.Limits{})
		_, _, err := s.Next([]byte(sequence))
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) || !bad.Final || string(bad.Code) != want {
			t.Errorf("%s: %#v", sequence, err)
		}
	}
}

// What follows something that can't be the end of a line is reported with the reason.
func TestSequenceEnds(t *testing.T) {
	s := json.Codec{}.NewScanner(codec.Limits{})
	s.Resume()
	_, _, err := s.Next([]byte("{\n\"a\":oops}\n{}"))
	var bad *codec.SyntaxError
	if !errors.As(err, &bad) || !strings.Contains(bad.Hint, "the sequence ends here") {
		t.Errorf("%#v", bad)
	}
}

// An array has the items that encoding/json finds, uses bounded memory, and may be of any
// length.
func TestArrays(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), kinds, keys)
	g.Holds = holds
	for range testrand.Many(300) {
		text := []byte("[")
		for i := range 1 + g.IntN(10) {
			if i > 0 {
				text = append(text, ","...)
			}
			text = append(text, strings.Repeat("\n ", g.IntN(3))...)
			if i > 0 && g.IntN(4) == 0 {
				text = append(text, []string{`1`, `"x"`, `[{"a":1},[]]`, `null`, `-0.5`, `[]`}[g.IntN(6)]...)
				continue
			}
			var err error
			if text, err = (json.Codec{}).Append(text, g.Dict()); err != nil {
				t.Fatal(err)
			}
		}
		text = append(text, "\n]"...)
		var items []stdjson.RawMessage
		if err := stdjson.Unmarshal(text, &items); err != nil {
			continue // beyond RFC 8259
		}
		var want []string
		for _, item := range items {
			if item[0] == '{' {
				want = append(want, string(item))
			} else {
				want = append(want, none)
			}
		}
		if len(text) < 2000 {
			codectest.CheckSequence(t, json.Codec{}, string(text), want...)
		}
	}

	s := json.Codec{}.NewScanner(codec.Limits{RecordBytes: 1000})
	s.Resume()
	buf, found := []byte("["), 0
	for n := 0; ; n++ {
		start, end, err := s.Next(buf)
		switch {
		case err == nil:
			found++
			buf = slices.Delete(buf, 0, end)
		case errors.Is(err, codec.ErrIncomplete) && n < 200_000:
			buf = fmt.Appendf(buf[start:], `{"n":%d},`, n)
		case errors.Is(err, codec.ErrIncomplete):
			if _, _, err := s.End(buf[start:]); err == io.EOF || err == nil {
				t.Errorf("an array that is cut off ends with %v", err)
			}
			if found < 90_000 || s.Scratch() > 8<<10 {
				t.Errorf("%d items, %d bytes held", found, s.Scratch())
			}
			return
		default:
			t.Fatal(err)
		}
		if len(buf) > 1000 {
			t.Fatalf("%d bytes are held", len(buf))
		}
	}
}
