package shape_test

import (
	"fmt"
	"testing"

	"github.com/dictwire/dictwire/codec/internal/shape"
)

// A stream is records of lines "beginning:scalar;more", of which the beginning and what is
// after the scalar are the parts. The scalar is one byte.
type stream struct {
	shapes         shape.Shapes
	tried, learned int
}

// next is what a codec does with the next record. It reports whether the record was of a shape.
func (s *stream) next(beginning, more string) bool {
	record := []byte(beginning + ":" + "1" + more)
	if f := s.shapes.Find(record, ' '); f != nil {
		s.tried++
		i := int(f.Parts[0].Size) + 1
		if p := &f.Parts[1]; p.Begins(shape.Word(record, i)) && p.Ends(record, i) && i+int(p.Size) == len(record) {
			f.Hit()
			return true
		}
		f.Miss()
	}
	if f := s.shapes.Learn(); f != nil {
		s.learned++
		n := len(beginning) + 1
		s.shapes.Learned(f, f.Add(record[:n], 0, 0) && f.Add(record[n+1:], 0, 0), false)
	}
	return false
}

func (s *stream) hits(n int, record func(i int) (beginning, more string)) (hits int) {
	for i := range n {
		if s.next(record(i)) {
			hits++
		}
	}
	return hits
}

// Of streams of few shapes almost all records are found to be of one.
func TestFew(t *testing.T) {
	for kinds := 1; kinds <= 4; kinds++ {
		s := new(stream)
		if hits := s.hits(10_000, func(i int) (string, string) { return fmt.Sprintf("kind %d of several", i*7/3%kinds), ";the end" }); hits < 9_000 {
			t.Errorf("%d kinds: %d of 10,000 records were of a shape", kinds, hits)
		}
	}
}

// A shape that some records have is kept next to others that come once.
func TestSome(t *testing.T) {
	s := new(stream)
	if hits := s.hits(10_000, func(i int) (string, string) {
		if i%3 == 0 {
			return "often the same", ";the end"
		}
		return fmt.Sprintf("kind %d", i), ";the end"
	}); hits < 2_500 {
		t.Errorf("%d of 3,334 records were of a shape", hits)
	}
}

// A stream that changes is learned again.
func TestChange(t *testing.T) {
	s := new(stream)
	for n := range 5 {
		if hits := s.hits(5_000, func(int) (string, string) { return "the same beginning", fmt.Sprintf(";end %d", n) }); hits < 4_000 {
			t.Errorf("change %d: %d of 5,000 records were of a shape", n, hits)
		}
		if hits := s.hits(20_000, func(i int) (string, string) { return fmt.Sprintf("beginning %d of time %d", i%4, n), ";end" }); hits < 15_000 {
			t.Errorf("time %d: %d of 20,000 records were of a shape", n, hits)
		}
	}
}

// Records that have no shape in common cost few comparisons, and few lessons.
func TestNoShape(t *testing.T) {
	for name, record := range map[string]func(i int) (string, string){
		"no common beginning": func(i int) (string, string) { return fmt.Sprintf("kind %d", i), ";the end" },
		"the same beginning":  func(i int) (string, string) { return "the same beginning", fmt.Sprintf(";end %d", i) },
		"too large":           func(i int) (string, string) { return fmt.Sprintf("a beginning of very many bytes %d", i), ";the end" },
		"too large later": func(i int) (string, string) {
			return "the same beginning", fmt.Sprintf(";an end of very many bytes %d", i)
		},
	} {
		s := new(stream)
		if hits := s.hits(100_000, record); hits > 0 {
			t.Errorf("%s: %d records were of a shape", name, hits)
		}
		if s.tried > 1_000 || s.learned > 300 {
			t.Errorf("%s: of 100,000 records, %d were compared and %d learned", name, s.tried, s.learned)
		}
		if n := s.shapes.Scratch(); n > 8<<10 {
			t.Errorf("%s: %d bytes of memory", name, n)
		}
	}
}

// A part is found where all its bytes are, and nowhere else.
func TestPart(t *testing.T) {
	text := []byte("0123456789abcdefghijklmn")
	for n := range len(text) + 1 {
		var f shape.Shape
		if !f.Add(text[:n], 0, 0) {
			t.Fatalf("a part of %d bytes is refused", n)
		}
		p := &f.Parts[0]
		is := func(buf []byte, i int) bool { return p.Begins(shape.Word(buf, i)) && p.Ends(buf, i) }
		for i := range 20 {
			buf := append(make([]byte, 8+i), text[:n]...)
			if !is(buf, 8+i) {
				t.Fatalf("%d bytes at %d", n, i)
			}
			for k := range n {
				buf[8+i+k] ^= 0x10
				if is(buf, 8+i) {
					t.Fatalf("%d bytes at %d, of which number %d is another", n, i, k)
				}
				buf[8+i+k] ^= 0x10
			}
			if n > 0 && is(buf[:len(buf)-1], 8+i) {
				t.Fatalf("%d bytes at %d, of which one is missing", n, i)
			}
		}
	}
	zeros := shape.Shape{}
	zeros.Add(make([]byte, 4), 0, 0)
	if buf := make([]byte, 10); zeros.Parts[0].Begins(shape.Word(buf, 8)) && zeros.Parts[0].Ends(buf, 8) {
		t.Error("zeros beyond the end")
	}
	if f := new(shape.Shape); f.Add(make([]byte, 25), 0, 0) {
		t.Error("a part of 25 bytes is taken")
	}
}
