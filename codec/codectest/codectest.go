// Package codectest is what every codec passes: the contract of package codec,
// checked on generated dictionaries.
//
//	func TestCodec(t *testing.T) {
//		codectest.Run(t, codectest.Config{Codec: json.Codec{}, Kinds: …})
//	}
//
// Random tests take a new seed each run and print it when they fail;
// DICTWIRE_TEST_SEED repeats one.
package codectest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A Config says what a codec holds.
type Config struct {
	Codec codec.Codec

	// Kinds are the kinds of value that the format holds, and Keys those of
	// keys and of the items of sets. KindDict must be among Kinds.
	Kinds, Keys []dict.Kind

	// Holds reports whether the format holds a value of one of Kinds: see
	// Generator. nil: it holds all.
	Holds func(dict.Value) bool

	// FramesOnly says that the codec's scanner only finds where a dictionary ends,
	// and leaves it to Decode to accept it.
	FramesOnly bool

	// BadThenGood are sequences of a bad record and {'good': 1} that the codec's
	// scanner finds behind it; none where the format has none.
	BadThenGood []string
}

// T is the part of testing.TB that Run needs. It lets the suite itself be tested
// with codecs that break the contract.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	t.Helper()
	seed := Seed(t)
	for _, test := range checks {
		t.Run(test.name, func(t *testing.T) {
			g := NewGenerator(seed, c.Kinds, c.Keys)
			g.Holds = c.Holds
			test.check(t, c, g)
		})
	}
}

// Seed returns another seed each run, or that of DICTWIRE_TEST_SEED, and names it
// if the test fails.
func Seed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("DICTWIRE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with DICTWIRE_TEST_SEED=%d", seed)
		}
	})
	return seed
}

var checks = []struct {
	name  string
	check func(T, Config, *Generator)
}{
	{"RoundTrip", checkRoundTrip},
	{"Ownership", checkOwnership},
	{"Loss", checkLoss},
	{"ScannerAgreesWithDecode", checkAgreement},
	{"Sequence", checkSequence},
	{"Pieces", checkPieces},
	{"End", checkEnd},
	{"NextBehindBad", checkBadThenGood},
	{"Limits", checkLimits},
	{"Linear", checkLinear},
	{"Allocations", checkAllocations},
	{"Release", checkRelease},
	{"Concurrent", checkConcurrent},
}

// encode appends d, which the codec must hold.
func encode(t T, c codec.Codec, d *dict.Dict) []byte {
	t.Helper()
	b, err := c.Append(nil, d)
	if err != nil {
		t.Fatalf("Append(%v): %v", d, err)
	}
	return b
}

func checkRoundTrip(t T, c Config, g *Generator) {
	for range 2000 {
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

// whole scans b as one record.
func whole(c Config, b []byte, lim codec.Limits) error {
	_, end, err := c.Codec.NewScanner(lim).Next(b)
	if err == nil && end != len(b) {
		return fmt.Errorf("the record ends at %d of %d", end, len(b))
	}
	return err
}

func checkAgreement(t T, c Config, g *Generator) {
	for range 4000 {
		b := g.mutate(encode(t, c.Codec, g.Dict()))
		_, decoded := c.Codec.Decode(b, codec.Limits{})
		s := c.Codec.NewScanner(codec.Limits{})
		start, end, scanned := s.Next(b)
		if errors.Is(scanned, codec.ErrIncomplete) {
			start, end, scanned = s.End(b[start:])
		}
		if decoded == nil && scanned != nil {
			t.Fatalf("%q: Decode accepts it, the scanner says %v", b, scanned)
		}
		if scanned == nil && !c.FramesOnly {
			if _, err := c.Codec.Decode(b[start:end], codec.Limits{}); err != nil {
				t.Fatalf("%q: the scanner accepts it, Decode says %v", b[start:end], err)
			}
		}
	}
}

// A found is what a scanner answered about a sequence.
type found struct {
	start, end int // of the sequence
	err        string
}

// scan scans a sequence that arrives in the given pieces.
func scan(t T, c Config, pieces [][]byte) []found {
	t.Helper()
	var (
		all    []found
		s      = c.Codec.NewScanner(codec.Limits{})
		whole  = bytes.Join(pieces, nil)
		come   int // of the sequence
		buf    []byte
		base   int // of buf in the sequence
		answer = func(start, end int, err error) bool {
			if start < 0 || end < start && !errors.Is(err, codec.ErrIncomplete) || start > len(buf) || end > len(buf) {
				t.Fatalf("the answer %d, %d, %v to %q is not within it", start, end, err, buf)
			}
			f := found{start: base + start, end: base + end}
			var bad *codec.SyntaxError
			switch {
			case errors.As(err, &bad):
				// What stands behind the fault may not have come yet, so texts differ.
				f.err = fmt.Sprintf("%s at %d", bad.Code, bad.Offset)
				f.end = 0 // how far the bytes of a bad record are known depends on the pieces
			case err != nil:
				return false
			}
			all = append(all, f)
			base += end
			buf = buf[end:]
			return bad == nil || !bad.Final
		}
	)
	for _, p := range pieces {
		come += len(p)
		buf = whole[base:come:come]
		for {
			start, end, err := s.Next(buf)
			if errors.Is(err, codec.ErrIncomplete) {
				base += start
				buf = buf[start:]
				break
			}
			if !answer(start, end, err) {
				return all
			}
		}
	}
	for {
		start, end, err := s.End(buf)
		if err == io.EOF {
			return all
		}
		if !answer(start, end, err) {
			return all
		}
		for err = nil; err == nil; {
			start, end, err = s.Next(buf)
			if errors.Is(err, codec.ErrIncomplete) {
				base += start
				buf = buf[start:]
			} else if !answer(start, end, err) {
				return all
			}
		}
	}
}

func checkSequence(t T, c Config, g *Generator) {
	for range 300 {
		var sequence []byte
		var want []found
		for range 1 + g.IntN(20) {
			b := encode(t, c.Codec, g.Dict())
			want = append(want, found{start: len(sequence), end: len(sequence) + len(b)})
			sequence = append(append(sequence, b...), c.Codec.Terminator()...)
		}
		if got := scan(t, c, [][]byte{sequence}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: found %v, want %v", sequence, got, want)
		}
	}
}

// However a sequence is cut into pieces, good or bad, a scanner finds the same.
func checkPieces(t T, c Config, g *Generator) {
	for i := range 600 {
		var sequence []byte
		for range 1 + g.IntN(4) {
			b := append(encode(t, c.Codec, g.Dict()), c.Codec.Terminator()...)
			if g.IntN(3) == 0 {
				b = g.mutate(b)
			}
			sequence = append(sequence, b...)
		}
		want := scan(t, c, [][]byte{sequence})
		cuts := [][][]byte{g.cut(sequence), single(sequence)}
		if i < 30 && len(sequence) < 2000 { // every place to cut
			for n := range sequence {
				cuts = append(cuts, [][]byte{sequence[:n], sequence[n:]})
			}
		}
		for _, pieces := range cuts {
			if got := scan(t, c, pieces); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%q\nin pieces: %v\nwhole:     %v", pieces, got, want)
			}
		}
	}
}

func single(b []byte) [][]byte {
	pieces := make([][]byte, len(b))
	for i := range b {
		pieces[i] = b[i : i+1]
	}
	return pieces
}

// A record that is cut off is said to be, and nothing is not.
func checkEnd(t T, c Config, g *Generator) {
	s := c.Codec.NewScanner(codec.Limits{})
	if _, _, err := s.End(nil); err != io.EOF {
		t.Errorf("End of nothing = %v, want io.EOF", err)
	}
	b := encode(t, c.Codec, dict.Of("a", "bcd", "e", []any{"f"}))
	for n := 1; n < len(b); n++ {
		s := c.Codec.NewScanner(codec.Limits{})
		start, _, err := s.Next(b[:n])
		if !errors.Is(err, codec.ErrIncomplete) || start != 0 {
			t.Fatalf("%q: %d, %v, want ErrIncomplete", b[:n], start, err)
		}
		_, _, err = s.End(b[:n])
		var cut *codec.SyntaxError
		if !errors.As(err, &cut) || cut.Code != codec.Truncated || cut.Codec != c.Codec.Name() {
			t.Errorf("%q: End = %#v, want truncated", b[:n], err)
		}
		if _, err := c.Codec.Decode(b[:n], codec.Limits{}); !errors.As(err, &cut) || cut.Code != codec.Truncated {
			t.Errorf("%q: Decode = %v, want truncated", b[:n], err)
		}
	}
	_ = g
}

func checkBadThenGood(t T, c Config, g *Generator) {
	for _, text := range c.BadThenGood {
		sequence := []byte(text)
		for _, pieces := range [][][]byte{{sequence}, single(sequence), g.cut(sequence)} {
			all := scan(t, c, pieces)
			if len(all) != 2 || all[0].err == "" || all[1].err != "" {
				t.Fatalf("%q: found %v, want an error and a record", pieces, all)
			}
			d, err := c.Codec.Decode(sequence[all[1].start:all[1].end], codec.Limits{})
			if err != nil || !d.Equal(dict.Of("good", 1)) {
				t.Errorf("%q: the good record is %v, %v", pieces, d, err)
			}
		}
	}
}

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
		code   codec.Code
	}{
		{"bytes", items, size, func(n int) codec.Limits { return codec.Limits{RecordBytes: n} }, codec.TooLarge},
		{"depth", deep, 4, func(n int) codec.Limits { return codec.Limits{Depth: n} }, codec.TooDeep},
		{"items", items, 7, func(n int) codec.Limits { return codec.Limits{Items: n} }, codec.OverLimit},
		{"digits", digits, nDigits, func(n int) codec.Limits { return codec.Limits{Digits: n} }, codec.OverLimit},
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
			if c.FramesOnly && test.code != codec.TooLarge && by != "Decode" {
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
	if _, _, err := s.Next(b[:1100]); !errors.As(err, &over) || over.Code != codec.TooLarge {
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
		if took := time.Since(begin); took > 5*time.Second {
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
