package codectest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/line"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// Warm returns a scanner that has found a dictionary and so holds memory, which may take it
// through different code than a new one.
func Warm(c codec.Codec, lim codec.Limits) codec.Scanner {
	for n := 8; n >= 0; n-- {
		b, err := c.Append(nil, manyKeys(n))
		s := c.NewScanner(lim)
		if err == nil {
			_, _, err = s.Next(b)
		}
		if err == nil {
			return s
		}
	}
	return c.NewScanner(lim)
}

// whole scans b as one record.
func whole(c Config, b []byte, lim codec.Limits) error {
	_, end, err := c.Codec.NewScanner(lim).Next(b)
	s := Warm(c.Codec, lim)
	for range 3 {
		if _, again, warm := s.Next(b); again != end || fmt.Sprint(warm) != fmt.Sprint(err) {
			return fmt.Errorf("a new scanner says %d, %w, and one that has found dictionaries %d, %w", end, err, again, warm)
		}
		if err != nil {
			break
		}
	}
	if err == nil && end != len(b) {
		return fmt.Errorf("the record ends at %d of %d", end, len(b))
	}
	return err
}

func checkAgreement(t T, c Config, g *Generator) {
	for range testrand.Many(4000) {
		b := g.mutate(encode(t, c.Codec, g.Dict()))
		_, decoded := c.Codec.Decode(b, codec.Limits{})
		s := Warm(c.Codec, codec.Limits{})
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
	final      bool
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
				// What follows the fault may not have arrived yet, so texts differ.
				f.err = fmt.Sprintf("%s at %d", bad.Code, bad.Offset)
				f.end = 0 // how far the bytes of a bad record are known depends on the pieces
			case err != nil:
				return false
			}
			// That nothing is certain after a bad record is known at once, or later
			// than its fault, and then a fault of its own.
			switch {
			case bad == nil:
				all = append(all, f)
			case line.IsLate(bad):
				all[len(all)-1].final = true
			default:
				f.final = bad.Final
				all = append(all, f)
			}
			base += end
			buf = buf[end:]
			return bad == nil || !bad.Final
		}
	)
	s.Resume()
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
	for range testrand.Many(300) {
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
	for i := range testrand.Many(600) {
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
		if i < testrand.Many(30) && len(sequence) < 2000 { // every place to cut
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
		if !errors.As(err, &cut) || cut.Code != fault.Truncated || cut.Codec != c.Codec.Name() {
			t.Errorf("%q: End = %#v, want truncated", b[:n], err)
		}
		if _, err := c.Codec.Decode(b[:n], codec.Limits{}); !errors.As(err, &cut) || cut.Code != fault.Truncated {
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

// CheckSkipping checks that c's scanner refuses a record of more than 1,000 bytes at its
// first bytes, head, skips the remaining left bytes as they arrive, and finds the next
// record.
func CheckSkipping(t T, c codec.Codec, head string, left int, next string) {
	t.Helper()
	s := c.NewScanner(codec.Limits{RecordBytes: 1000})
	s.Resume()
	_, end, err := s.Next([]byte(head))
	var large *codec.SyntaxError
	if !errors.As(err, &large) || large.Final || large.Code != fault.TooLarge || end != len(head) {
		t.Errorf("%d, %v", end, err)
		return
	}
	for left > 0 {
		n := min(left, 600)
		if _, end, err := s.Next(make([]byte, n)); !errors.Is(err, codec.ErrIncomplete) || end != n {
			t.Errorf("%d bytes left: %d, %v", left, end, err)
			return
		}
		left -= n
	}
	if start, end, err := s.Next([]byte(next)); start != 0 || end != len(next) || err != nil {
		t.Errorf("%d, %d, %v", start, end, err)
	}
}

// CheckSequence checks what c's scanner finds in a bare sequence, however it is split:
// records as they are, and faults as "!malformed"; "!!malformed" is a fault that ends the
// sequence early.
func CheckSequence(t T, c codec.Codec, sequence string, want ...string) {
	t.Helper()
	b := []byte(sequence)
	cuts := [][][]byte{{b}, single(b)}
	for n := range b {
		cuts = append(cuts, [][]byte{b[:n], b[n:]})
	}
	for _, pieces := range cuts {
		var got []string
		for _, f := range scan(t, Config{Codec: c}, pieces) {
			if f.err == "" {
				got = append(got, sequence[f.start:f.end])
				continue
			}
			code, _, _ := strings.Cut(f.err, " ")
			if f.final && code != string(fault.Truncated) {
				code = "!" + code
			}
			got = append(got, "!"+code)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q in %d pieces, the first of %d bytes:\n got %q\nwant %q", sequence, len(pieces), len(pieces[0]), got, want)
			return
		}
	}
}
