package json_test

import (
	"testing"

	"github.com/dictwire/dictwire/codec/json"
)

func TestExtended(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":1}`:                          false,
		`{"a":"é \u00e9 \ud7ff \ue000"}`:   false,
		`{"a":1e999}`:                      false, // by its grammar
		`{"a":"\ud83d\ude00\uD83D\uDE00"}`: false,
		`{"a":"\\"}`:                       false,
		``:                                 false,
		`{"a":NaN}`:                        true,
		`{"a":[-Infinity]}`:                true,
		`{"a":Infinity}`:                   true,
		`{"a":"\ud83d"}`:                   true,
		`{"a":"\udbFF x"}`:                 true,
		`{"a":"\uDC00"}`:                   true,
		`{"a":"\ude00\ud83d"}`:             true,
		`{"a":"\ud83d\ud83d\ude00"}`:       true,
		`{"a":"\ud83d\u0041"}`:             true,
		`{"a":"\ud83d\ude00\uDFFF"}`:       true,
		`{"a":"NaN"}`:                      true, // a search of the bytes can't tell
	} {
		if got := json.Extended([]byte(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
