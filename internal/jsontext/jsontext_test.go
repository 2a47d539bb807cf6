package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/jsontext"
)

// Whatever stands at any place of a string is escaped if it must be, and nothing else is.
func TestAppendString(t *testing.T) {
	for r := range rune(0x800) {
		for at := range 17 {
			want := strings.Repeat("\u00ff", at) + string(r) + "aà\ud7ff\uf000\"z"
			got := jsontext.AppendString(nil, []byte(want))
			var back string
			if err := json.Unmarshal(got, &back); err != nil || back != want {
				t.Fatalf("%q is written as %s: %v", want, got, err)
			}
			if escapes := strings.Count(string(got), `\`); escapes > 1 && r >= ' ' && r != '"' && r != '\\' {
				t.Fatalf("%q is written as %s", want, got)
			}
		}
	}
	for at := range 17 {
		before := strings.Repeat("a", at)
		got := jsontext.AppendString(nil, []byte(before+"\xed\xa0\x80\xed\xbf\xbf-----\xed\x9f\xbf"))
		if want := `"` + before + `\ud800\udfff-----` + "\ud7ff\""; string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
