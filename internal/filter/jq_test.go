package filter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

func TestExpression(t *testing.T) {
	const rich = "{'z': 1, 'a': (1.5, {b'x'}), 2: datetime.date(2026, 11, 25), 'big': 36893488147419103232, 'n': {'m': None}, 's': 'é', 't': True}"
	for _, tt := range []struct{ in, expression, want string }{
		{rich, ".", rich},
		{rich, "select(.z == 1)", rich},
		{rich, "select(.z != 1)", ""},
		{rich, ".,.", rich + "\n" + rich},
		{rich, ".a", `[1.5,["eA=="]]`},
		{rich, `.["2"]`, `"2026-11-25"`},
		{rich, ".big, .n.m, .s, .t", "36893488147419103232\nnull\n\"é\"\ntrue"},
		{rich, "{z, a: .s}", "{'a': 'é', 'z': 1}"},
		{rich, "{big}", "{'big': 36893488147419103232}"},
		{rich, ".n", "{'m': None}"},
		{rich, ".z, .s.t", "1\n!expected an object but got: string (\"é\")"},
		{rich, "error(\"no\")", "!error: no"},
		{"{}", ".", "{}"},
		{"{}", "{}", "{}"},
		{"{'a': '\\ud800', '\\ud801': 1}", ". | tojson | fromjson", "{'a': '�', '�': 1}"},
		{"{1: 'a', '1': 'b'}", "._pairs", `[[1,"a"],["1","b"]]`},
	} {
		f, err := Compile(tt.expression)
		if err != nil {
			t.Fatal(err)
		}
		d, err := python.Codec{}.Decode([]byte(tt.in), codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for v, err := range f.Run(t.Context(), d, codec.Limits{}) {
			switch v := v.(type) {
			case *dict.Dict:
				got = append(got, v.String())
			default:
				if err != nil {
					got = append(got, "!"+err.Error())
					continue
				}
				text, err := Marshal(v)
				got = append(got, strings.TrimSuffix(fmt.Sprint(string(text), err), "<nil>"))
			}
		}
		if text := strings.Join(got, "\n"); text != tt.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", tt.in, tt.expression, text, tt.want)
		}
	}
	if _, err := Compile(".a |"); err == nil {
		t.Error("an expression that is cut off is taken")
	}
	if _, err := Compile("nonsense"); err == nil {
		t.Error("an unknown function is taken")
	}
}
