package json_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A number of any length has the value that strconv gives it, also where Decode computes it
// without strconv.
func TestNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(testrand.Seed(t), 1))
	numbers := []string{"0", "-0", "0.0", "-0.0", "9007199254740991.0", "9007199254740993.0", "0.000000000000001", "99999999", "12345678901234567.5"}
	for range 20_000 {
		number := strconv.FormatUint(r.Uint64()>>r.IntN(64), 10)
		if r.IntN(2) == 0 {
			number += fmt.Sprintf(".%0*d", 1+r.IntN(8), r.IntN(10))
		}
		if r.IntN(2) == 0 {
			number = "-" + number
		}
		numbers = append(numbers, number)
	}
	for _, number := range numbers {
		d, err := json.Codec{}.Decode([]byte(`{"n":`+number+`,"pad":"12345678"}`), codec.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", number, err)
		}
		v, _ := d.Get("n")
		if f, isFloat := v.Float(); isFloat {
			if want, _ := strconv.ParseFloat(number, 64); math.Float64bits(f) != math.Float64bits(want) {
				t.Errorf("%s is %v, want %v", number, f, want)
			}
			continue
		}
		want := number
		if want == "-0" {
			want = "0"
		}
		if got := string(v.AppendInt(nil)); got != want {
			t.Errorf("%s is %s", number, got)
		}
	}
}
