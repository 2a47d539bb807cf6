package codectest

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Each limit accepts what just meets it, and names itself one beyond.
func checkLimits(t T, c Config, _ *Generator) {
	deep := dict.Of("l", dict.List(dict.List(dict.List(dict.Int(1))))) // 4 levels
	items := dict.Of("a", []any{1, 2, 3}, "b", 4)                      // 2 keys, 2 values, 3 items
	digits, nDigits := dict.Of("n", new(big.Int).Exp(big.NewInt(10), big.NewInt(29), nil)), 30
	if _, err := c.Codec.Append(nil, digits); err != nil { // not of any size
		digits, nDigits = dict.Of("n", int64(1e18)), 19
	}
	size := len(encode(t, c.Codec, items))
	for _, test := range []struct {
		what   string
		d      *dict.Dict
		at     int
		limits func(int) codec.Limits
		code   fault.Code
	}{
		{"bytes", items, size, func(n int) codec.Limits { return codec.Limits{RecordBytes: n} }, fault.TooLarge},
		{"depth", deep, 4, func(n int) codec.Limits { return codec.Limits{Depth: n} }, fault.TooDeep},
		{"items", items, 7, func(n int) codec.Limits { return codec.Limits{Items: n} }, fault.OverLimit},
		{"items", manyKeys(50), 100, func(n int) codec.Limits { return codec.Limits{Items: n} }, fault.OverLimit},
		{"digits", digits, nDigits, func(n int) codec.Limits { return codec.Limits{Digits: n} }, fault.OverLimit},
	} {
		b := encode(t, c.Codec, test.d)
		for _, lim := range []codec.Limits{test.limits(test.at), test.limits(-1), {}} {
			if err := whole(c, b, lim); err != nil {
				t.Errorf("%s: %+v: the scanner says %v", test.what, lim, err)
			}
			if _, err := c.Codec.Decode(b, lim); err != nil {
				t.Errorf("%s: %+v: Decode says %v", test.what, lim, err)
			}
		}
		_, decoded := c.Codec.Decode(b, test.limits(test.at-1))
		for by, err := range map[string]error{"the scanner": whole(c, b, test.limits(test.at-1)), "Decode": decoded} {
			if c.FramesOnly && test.code != fault.TooLarge && by != "Decode" {
				continue
			}
			var over *codec.SyntaxError
			if !errors.As(err, &over) || over.Code != test.code {
				t.Errorf("%s: one beyond the limit %s says %v, want the code %s", test.what, by, err, test.code)
			}
		}
	}
	// What has no end is refused when the limit is reached, not when it ends.
	s := c.Codec.NewScanner(codec.Limits{RecordBytes: 1000})
	b := encode(t, c.Codec, dict.Of("a", string(bytes.Repeat([]byte("x"), 5000))))
	var over *codec.SyntaxError
	if _, _, err := s.Next(b[:1100]); !errors.As(err, &over) || over.Code != fault.TooLarge {
		t.Errorf("a record beyond the limit that has not ended: %v", err)
	}
}

// A record of 1 MiB that comes a byte at a time costs little more than one that
// comes at once: each byte is looked at a few times at the most.
func checkLinear(t T, c Config, _ *Generator) {
	for _, d := range []*dict.Dict{
		dict.Of("text", string(bytes.Repeat([]byte("x"), 1_000_000))),
		dict.Of("list", make([]int, 300_000)),
		manyKeys(80_000),
	} {
		b := encode(t, c.Codec, d)
		lim := codec.Limits{RecordBytes: -1}
		s := c.Codec.NewScanner(lim)
		begin := time.Now()
		for n := 1; n < len(b); n++ {
			if start, _, err := s.Next(b[:n]); !errors.Is(err, codec.ErrIncomplete) || start != 0 {
				t.Fatalf("after %d of %d bytes: %d, %v", n, len(b), start, err)
			}
		}
		if _, end, err := s.Next(b); err != nil || end != len(b) {
			t.Fatalf("%d of %d bytes, %v", end, len(b), err)
		}
		// If each byte cost a look at all before it, this would be minutes.
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%d bytes, one at a time, took %v", len(b), took)
		}
	}
}

func manyKeys(n int) *dict.Dict {
	d := new(dict.Dict)
	for i := range n {
		d.Set("key "+strconv.Itoa(i), dict.Null())
	}
	return d
}

func checkAllocations(t T, c Config, g *Generator) {
	// Other keys are rare, and dict.AppendKey may allocate for them.
	g.keys = slices.DeleteFunc(slices.Clone(g.keys), func(k dict.Kind) bool {
		return k != dict.KindString && k != dict.KindBytes && k != dict.KindBool && k != dict.KindNull
	})
	var records [][]byte
	for range 100 {
		records = append(records, encode(t, c.Codec, g.Dict()))
	}
	records = append(records, encode(t, c.Codec, manyKeys(500)))
	s := c.Codec.NewScanner(codec.Limits{})
	scanAll := func() {
		for _, b := range records {
			half, _, _ := s.Next(b[:len(b)/2])
			if _, _, err := s.Next(b[half:]); err != nil {
				t.Fatalf("%q: %v", b, err)
			}
		}
	}
	scanAll()
	if n := testing.AllocsPerRun(20, scanAll); n > 0 {
		t.Errorf("the scanner allocates %v times for %d records", n, len(records))
	}
}

// A scanner's memory is bounded by what the record needs, and comes back.
func checkRelease(t T, c Config, _ *Generator) {
	s := c.Codec.NewScanner(codec.Limits{})
	b := encode(t, c.Codec, manyKeys(20_000))
	if _, _, err := s.Next(b[:len(b)-1]); !errors.Is(err, codec.ErrIncomplete) {
		t.Fatalf("%v", err)
	}
	if held, most := s.Scratch(), 8*len(b)+4096; held > most {
		t.Errorf("a scanner holds %d bytes for a record of %d", held, len(b))
	}
	if _, _, err := s.Next(b); err != nil {
		t.Fatalf("%v", err)
	}
	small := encode(t, c.Codec, dict.Of("a", 1))
	for range 1000 {
		if _, _, err := s.Next(small); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if held := s.Scratch(); held > 64<<10 {
		t.Errorf("behind 1,000 small records a scanner holds %d bytes", held)
	}
	s.Release()
	if held := s.Scratch(); held > 1024 {
		t.Errorf("after Release a scanner holds %d bytes", held)
	}
	if _, end, err := s.Next(small); err != nil || end != len(small) {
		t.Errorf("after Release: %d, %v", end, err)
	}
}
