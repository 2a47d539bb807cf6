package dictwire_test

import (
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// A Record inside a value becomes the dictionary that it encodes.
func TestRecordWithinAValue(t *testing.T) {
	r := dictwire.Record{Codec: json.Codec{}, Bytes: []byte(`{"a":1}`)}
	for _, v := range []any{r, &r} {
		d, err := dict.From(map[string]any{"r": v})
		if err != nil || d.String() != "{'r': {'a': 1}}" {
			t.Errorf("%T: %v, %v", v, d, err)
		}
	}
	for _, bad := range []dictwire.Record{{Bytes: r.Bytes}, {Codec: json.Codec{}, Bytes: []byte("{")}} {
		if d, err := dict.From(map[string]any{"r": bad}); err == nil {
			t.Errorf("%+v became %v", bad, d)
		}
	}
}
