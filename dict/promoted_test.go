package dict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/dict"
)

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// The result of a json.Marshaler is checked: a duplicate key is reported with its path.
func TestMarshalerWithTwins(t *testing.T) {
	for _, test := range []struct{ json, want string }{
		{`{"a":1,"a":2}`, `dict: /v: the key "a" comes twice in what MarshalJSON returned`},
		{`{"a":1,"\u0061":1}`, `dict: /v: the key "a" comes twice in what MarshalJSON returned`},
		{`{"x":[0,{"b":{"a":1,"c":2,"a":3}}]}`, `dict: /v/x/1/b: the key "a" comes twice in what MarshalJSON returned`},
		{`{"x":[{"a":1,"a":1}],"y":{"b":1,"b":1}}`, `dict: /v/x/0: the key "a" comes twice in what MarshalJSON returned`},
		{`{"x":{"n":1e99999999999999999999999}}`, "dict: /v/x/n: "},
		{`{"a":{"a":1},"b":[{"a":1},{"a":1}]}`, ""},
	} {
		for _, v := range []any{
			map[string]any{"v": rawJSON(test.json)},
			struct {
				V rawJSON `json:"v"`
			}{rawJSON(test.json)},
		} {
			d, err := dict.From(v)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("%s: %v, %v, want %s", test.json, d, err, test.want)
			}
		}
	}
}

type (
	failureError struct {
		error
		Code int `json:"code"`
	}
	taggedError struct {
		error `dict:"why,omitempty"`
		Code  int
	}
	zeroError struct {
		error `dict:",omitzero"`
		Code  int
	}
	shadowedError struct {
		error
		Text string `json:"error"`
	}
	onlyError    struct{ error }
	causeError   struct{ error }
	CauseError   struct{ error }
	derivedError struct {
		causeError
		N int
	}
	DerivedError struct {
		*CauseError
		N int
	}
	withStringer struct {
		fmt.Stringer
		N int
	}
	lower      interface{ String() string }
	withHidden struct {
		lower
		N int
	}
	ownTextError struct {
		error
		N int
	}
	ambiguous struct {
		causeError
		SecondError
		N int
	}
	SecondError struct{ error }
)

func (ownTextError) Error() string { return "of its own" }

type name string

func (n name) String() string { return "name " + string(n) }

// An embedded error is not lost, and promoted methods hide no field.
func TestEmbeddedInterfaces(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		v    any
		want string
	}{
		{failureError{boom, 1}, "{'error': 'boom', 'code': 1}"},
		{&failureError{boom, 1}, "{'error': 'boom', 'code': 1}"},
		{failureError{nil, 1}, "{'error': None, 'code': 1}"},
		{taggedError{boom, 1}, "{'why': 'boom', 'Code': 1}"},
		{taggedError{nil, 1}, "{'Code': 1}"},
		{zeroError{boom, 1}, "{'error': 'boom', 'Code': 1}"},
		{zeroError{nil, 1}, "{'Code': 1}"},
		{shadowedError{boom, "mine"}, "{'error': 'mine'}"},
		{onlyError{boom}, "{'error': 'boom'}"},
		{onlyError{}, "{'error': None}"},
		{derivedError{causeError{boom}, 1}, "{'error': 'boom', 'N': 1}"},
		{DerivedError{&CauseError{boom}, 1}, "{'error': 'boom', 'N': 1}"},
		{DerivedError{nil, 1}, "{'N': 1}"},
		{fmt.Errorf("more: %w", failureError{boom, 1}), "'more: boom'"},
		{[]any{failureError{failureError{boom, 1}, 2}}, "[{'error': 'boom', 'code': 2}]"},
		{withStringer{name("x"), 1}, "{'Stringer': 'x', 'N': 1}"},
		{withStringer{nil, 1}, "{'Stringer': None, 'N': 1}"},
		{withHidden{name("x"), 1}, "{'N': 1}"},
		{ownTextError{boom, 1}, "'of its own'"},
		{ambiguous{causeError{boom}, SecondError{boom}, 1}, "!are both named \"error\""},
	} {
		v, err := dict.ValueOf(test.v)
		got := v.String()
		if err != nil {
			got = "!" + err.Error()
		}
		if got != test.want && (err == nil || test.want[0] != '!' || !strings.Contains(got, test.want[1:])) {
			t.Errorf("%T: %s, want %s", test.v, got, test.want)
		}
	}

	into := failureError{boom, 0}
	if err := dict.Of("error", nil, "code", 7).To(&into); err != nil || into.Code != 7 {
		t.Errorf("%v, %v", into, err)
	}
	if err := dict.Of("error", "boom").To(&into); err == nil || !strings.HasPrefix(err.Error(), "dict: /error: ") {
		t.Errorf("an embedded error is set to a string: %v", err)
	}
}
