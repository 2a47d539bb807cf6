package cbor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// What we accept is well-formed. We refuse well-formed input only for its meaning, or for a
// limit.
func TestAgainstWellformed(t *testing.T) {
	mode, err := fxcbor.DecOptions{MaxNestedLevels: 65535, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), keys)
	accepted, refused, meaning := 0, 0, 0
	for range testrand.Many(20_000) {
		b, err := cbor.Codec{}.Append(nil, g.Dict())
		if err != nil {
			t.Fatal(err)
		}
		for range g.IntN(3) {
			i := g.IntN(len(b))
			switch g.IntN(4) {
			case 0:
				b[i] ^= 1 << g.IntN(8)
			case 1:
				b[i] = byte(g.Uint32())
			case 2:
				b = slices.Insert(b, i, byte(g.Uint32()))
			default:
				b = slices.Delete(b, i, i+1)
			}
			if len(b) == 0 {
				b = []byte{0xA0}
			}
		}
		fine := mode.Wellformed(b) == nil
		_, err = cbor.Codec{}.Decode(b, codec.Limits{})
		if err == nil {
			if accepted++; !fine {
				t.Fatalf("%x: we accept what is not well-formed: %v", b, mode.Wellformed(b))
			}
			continue
		}
		if !fine {
			refused++
			continue
		}
		meaning++
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) {
			t.Fatal(err)
		}
		if bad.Code == fault.Truncated || strings.Contains(bad.Msg, "want an item") || strings.Contains(bad.Msg, "nothing after") {
			t.Fatalf("%x: well-formed, and we say %v", b, err)
		}
	}
	if accepted < testrand.Many(4000) || refused < testrand.Many(2000) || meaning < testrand.Many(200) {
		t.Errorf("%d accepted, %d malformed, %d refused for their meaning: the test is lopsided", accepted, refused, meaning)
	}
}
