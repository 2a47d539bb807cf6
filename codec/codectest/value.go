package codectest

import (
	"bytes"
	"errors"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

func checkRoundTrip(t T, c Config, g *Generator) {
	for range testrand.Many(2000) {
		d := g.Dict()
		b, err := c.Codec.Append([]byte("before"), d)
		if err != nil || !bytes.HasPrefix(b, []byte("before")) {
			t.Fatalf("Append to bytes that are there: %.40q, %v", b, err)
		}
		b = b[len("before"):]
		back, err := c.Codec.Decode(b, codec.Limits{})
		if err != nil {
			t.Fatalf("Decode(%q): %v", b, err)
		}
		if !back.Equal(d) {
			t.Fatalf("%v came back as %v by %q", d, back, b)
		}
		if again := encode(t, c.Codec, back); !bytes.Equal(again, b) {
			t.Fatalf("%q was written again as %q", b, again)
		}
	}
}

// What Decode returns may refer to src, and to nothing that the next Decode
// changes.
func checkOwnership(t T, c Config, g *Generator) {
	type kept struct {
		d    *dict.Dict
		want string
	}
	var all []kept
	for range 200 {
		d := g.Dict()
		back, err := c.Codec.Decode(encode(t, c.Codec, d), codec.Limits{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		all = append(all, kept{back, d.String()})
	}
	for _, k := range all {
		if got := k.d.String(); got != k.want {
			t.Fatalf("a later Decode changed %s to %s", k.want, got)
		}
	}
}

func checkLoss(t T, c Config, g *Generator) {
	for _, k := range dict.Kinds() {
		for range 20 {
			v := g.Of(k)
			d := dict.Of("in", []any{0, dict.Of("deep", v)})
			holds := g.holds(v)
			if !holds || !contains(c.Kinds, k) {
				wantLoss(t, c, d, codec.LossError{Codec: c.Codec.Name(), Path: "/in/1/deep", Kind: k})
			}
			if holds && contains(c.Keys, k) || dict.Hashable(v) != nil {
				continue
			}
			inner := new(dict.Dict)
			if err := inner.SetKey(v, dict.Null()); err != nil {
				t.Fatalf("%v", err)
			}
			wantLoss(t, c, dict.Of("in", inner), codec.LossError{Codec: c.Codec.Name(), Path: "/in", Kind: k, Key: true})
		}
	}
}

func wantLoss(t T, c Config, d *dict.Dict, want codec.LossError) {
	t.Helper()
	b, err := c.Codec.Append([]byte("before"), d)
	var loss *codec.LossError
	if !errors.As(err, &loss) {
		t.Errorf("Append(%v) = %q, %v, want a LossError", d, b, err)
		return
	}
	got := *loss
	got.Hint = ""
	if got != want || string(b) != "before" {
		t.Errorf("Append(%v) = %q, %+v, want %+v and what was there before", d, b, got, want)
	}
}

func contains(kinds []dict.Kind, k dict.Kind) bool {
	for _, have := range kinds {
		if have == k {
			return true
		}
	}
	return false
}

func checkConcurrent(t T, c Config, g *Generator) {
	d := g.Dict()
	b := encode(t, c.Codec, d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				back, err := c.Codec.Decode(b, codec.Limits{})
				if err != nil || !back.Equal(d) {
					t.Errorf("Decode = %v, %v", back, err)
					return
				}
				if out, err := c.Codec.Append(nil, back); err != nil || !bytes.Equal(out, b) {
					t.Errorf("Append = %q, %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
