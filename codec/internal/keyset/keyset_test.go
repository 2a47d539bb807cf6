package keyset_test

import (
	"fmt"
	"testing"

	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
)

// Each way to add a key finds those that came by another, few or many, and keeps
// strings apart from what is none.
func TestSet(t *testing.T) {
	for _, n := range []int{1, 5, 40, 3000} {
		var record []byte
		for i := range n {
			record = fmt.Appendf(record, "i%07d", i)
		}
		end := len(record)
		record = append(record, "        "...)
		var (
			s     keyset.Set
			outer keyset.Frame
			f     keyset.Frame
		)
		s.Open(&outer)
		s.Add(&outer, record, 0, 8)
		s.Open(&f)
		ways := []func(from, to int) bool{
			func(from, to int) bool { return s.Add(&f, record, from, to) },
			func(from, to int) bool {
				return !s.AddNew(&f, record, from, to) && s.Add(&f, record, from, to)
			},
			func(from, to int) bool { return s.AddOwn(&f, record, append(s.Own(), record[from:to]...)) },
		}
		for i := 0; i < end; i += 8 {
			if ways[i/8%3](i, i+8) {
				t.Fatalf("%q is there before it was added", record[i:i+8])
			}
			if s.AddOther(&f, record, append(s.Own(), record[i:i+8]...)) {
				t.Fatalf("%q is there as a string only", record[i:i+8])
			}
			if n > 40 && i%56 > 0 {
				continue
			}
			for j, add := range ways {
				if !add(i, i+8) {
					t.Fatalf("way %d does not find %q", j, record[i:i+8])
				}
			}
			if !s.AddOther(&f, record, append(s.Own(), record[i:i+8]...)) {
				t.Fatalf("%q is not there", record[i:i+8])
			}
		}
		if got := string(s.Last(&outer, &f, record)); got != "i0000000" {
			t.Errorf("Last of the outer dictionary = %q", got)
		}
		s.Close(&f)
		if !s.Add(&outer, record, 0, 8) || n > 1 && s.Add(&outer, record, 8, 16) {
			t.Error("the outer dictionary has changed")
		}
	}
}

// Keys are equal as in Python.
func TestOther(t *testing.T) {
	decimal, _ := dict.Decimal("1.00")
	var s keyset.Set
	var f keyset.Frame
	s.Open(&f)
	for i, k := range []dict.Value{dict.Int(1), dict.Float(1), dict.Bool(true), decimal} {
		key, ok := dict.AppendKey(s.Own(), k)
		if twice := s.AddOther(&f, nil, key); !ok || twice != (i > 0) {
			t.Errorf("%v: %v, %v", k, twice, ok)
		}
	}
}

// An empty key is found whatever stands around it.
func TestEmpty(t *testing.T) {
	record := []byte("abcdefghijklmnopq")
	var s keyset.Set
	var f keyset.Frame
	s.Open(&f)
	if s.AddNew(&f, record, 3, 3) || s.Add(&f, record, 3, 3) || !s.Add(&f, record, 5, 5) || !s.AddOwn(&f, record, s.Own()) {
		t.Error("the empty key is not found")
	}
}
