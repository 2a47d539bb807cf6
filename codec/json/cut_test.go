package json_test

import (
	"errors"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
)

// The fault in a number that is cut off at the end is the same however it arrived.
func TestCutNumber(t *testing.T) {
	for _, text := range []string{`{"a":1-`, `{"a":1.e`, `{"a":-Infinitt`} {
		var whole, pieces *codec.SyntaxError
		_, _, err := json.Codec{}.NewScanner(codec.Limits{}).Next([]byte(text))
		if errors.Is(err, codec.ErrIncomplete) || !errors.As(err, &whole) {
			t.Fatalf("%s: %v", text, err)
		}
		s := json.Codec{}.NewScanner(codec.Limits{})
		err = codec.ErrIncomplete
		for n := 1; n <= len(text) && errors.Is(err, codec.ErrIncomplete); n++ {
			_, _, err = s.Next([]byte(text[:n]))
		}
		if errors.Is(err, codec.ErrIncomplete) {
			_, _, err = s.End([]byte(text))
		}
		if !errors.As(err, &pieces) || pieces.Code != whole.Code || pieces.Offset != whole.Offset {
			t.Errorf("%s: in pieces %v, whole %v", text, err, whole)
		}
	}
}
