// Package codectest is what every codec passes: the contract of package codec,
// checked on generated dictionaries.
//
//	func TestCodec(t *testing.T) {
//		codectest.Run(t, codectest.Config{Codec: json.Codec{}, Kinds: …})
//	}
//
// Random tests take a new seed each run and print it when they fail;
// DICTWIRE_TEST_SEED repeats one. With -short they take a tenth of the inputs.
package codectest

import (
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A Config describes what a codec supports.
type Config struct {
	Codec codec.Codec

	// Kinds are the kinds of value that the format supports, and Keys those of keys and of
	// items of sets. Kinds must include KindDict.
	Kinds, Keys []dict.Kind

	// Holds reports whether the format can represent a value of one of Kinds: see
	// Generator. nil: all of them.
	Holds func(dict.Value) bool

	// FramesOnly says that the codec's scanner only finds where a dictionary ends,
	// and leaves it to Decode to accept it.
	FramesOnly bool

	// BadThenGood are sequences of a bad record and {'good': 1}, which the codec's scanner
	// must find after it; none if the format can't.
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
	return testrand.Seed(t)
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

// encode appends d, which the codec must be able to represent.
func encode(t T, c codec.Codec, d *dict.Dict) []byte {
	t.Helper()
	b, err := c.Append(nil, d)
	if err != nil {
		t.Fatalf("Append(%v): %v", d, err)
	}
	return b
}
