package json_test

import (
	"errors"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
)

// TestExtended feeds a sequence of a strict dictionary, one in question and a strict
// one, whole and byte by byte.
func TestExtended(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":1,"b":"\u00e9 \ud7ff \ue000 é"}`:    false,
		`{"a":1e999}`:                             false, // by its grammar
		`{"a":"\ud83d\ude00\uD83D\uDE00 \u0041"}`: false,
		`{"\ud83d\ude00":{"b":["\uDBFF\uDFFF"]}}`: false,
		`{"a":"NaN, Infinity, \\ud83d"}`:          false,
		`{"a":NaN}`:                               true,
		`{"a":[1,-Infinity]}`:                     true,
		`{"b":{"a":Infinity},"c":"x"}`:            true,
		`{"a":"\ud83d"}`:                          true,
		`{"\udbFF x":1}`:                          true,
		`{"a":"\uDC00"}`:                          true,
		`{"a":"\ude00\ud83d"}`:                    true,
		`{"a":"\ud83d\ud83d\ude00"}`:              true,
		`{"a":"\ud83d\ude00\ude00"}`:              true,
		`{"a":"\ud83d\u0041\ude00"}`:              true,
		`{"a":"\ud83d x\ude00"}`:                  true,
		`["\ud83d"]{"a":"\ude00"}`:                true,
		`{"a":"\ud83d","b":"\ude00"}`:             true,
		`{"a":"\ud83d\n\ude00"}`:                  true,
	} {
		text = `{"a":1}` + text + `{"b":"\ud83d\ude00"}`
		for _, step := range []int{1, 7, len(text)} {
			s := json.Codec{}.NewScanner(codec.Limits{}).(codec.Extender)
			s.Resume()
			var told []bool // by the end of each dictionary
			for from, to := 0, 0; to < len(text); {
				to = min(to+step, len(text))
				for {
					_, end, err := s.Next([]byte(text[from:to]))
					if errors.Is(err, codec.ErrIncomplete) {
						from += end
						break
					}
					from += end
					if extended := s.Extended(); err == nil {
						told = append(told, extended)
					}
				}
			}
			if len(told) != 3 || told[0] || told[1] != want || told[2] {
				t.Errorf("%s in steps of %d: %v, want the second to be %v", text, step, told, want)
			}
		}
	}
}

// TestExtendedRepeated feeds the scanner records that differ in their scalars alone, which
// it compares with earlier ones.
func TestExtendedRepeated(t *testing.T) {
	for text, want := range map[string]bool{
		`{"\ud83d":1}`:               true,
		`{"\ude00":{"a":[true,2]}}`:  true,
		`{"\ud83d\ude00":1,"a":"x"}`: false,
		`{"a":1,"b":-Infinity}`:      true,
		`{"a":"\udfff","b":"x"}`:     true,
	} {
		s := json.Codec{}.NewScanner(codec.Limits{}).(codec.Extender)
		for n := range 100 {
			if _, _, err := s.Next([]byte(text)); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if got := s.Extended(); got != want {
				t.Fatalf("%s: after %d of them %v, want %v", text, n, got, want)
			}
		}
	}
}

// FuzzExtended compares what a scanner says of a dictionary with what a look at the found
// dictionary says.
func FuzzExtended(f *testing.F) {
	f.Add([]byte(`{"a":[NaN,-Infinity],"b":"\ud83d\ude00"}{"a":"\ud83d\ud83d\ude00"}`), uint8(3))
	f.Add([]byte(`{"\ude00":"\\ud83d"} {"a":"NaN"}`), uint8(20))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		s := json.Codec{}.NewScanner(codec.Limits{}).(codec.Extender)
		s.Resume()
		for from, to := 0, 0; to < len(data); {
			to = min(to+1+int(step), len(data))
			for {
				start, end, err := s.Next(data[from:to])
				if errors.Is(err, codec.ErrIncomplete) {
					from += end
					break
				}
				record := data[from+start : from+end]
				from += end
				if got := s.Extended(); err == nil && got == json.IsStrict(record) {
					t.Fatalf("%q: extended is %v", record, got)
				}
			}
		}
	})
}
