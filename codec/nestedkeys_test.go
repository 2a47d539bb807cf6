//go:build unix

package codec_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
)

// Parts of keys inside keys are hashed once, however deeply they are nested.
func TestNestedKeys(t *testing.T) {
	items := make([]dict.Value, 20_000)
	for i := range items {
		items[i] = dict.Int(int64(i))
	}
	nested := func(levels int) *dict.Dict {
		v := dict.Tuple(items...)
		for range levels {
			v = must(dict.FrozenSet(v))
		}
		return dict.Of("a", must(dict.SetOf(v)))
	}
	flat, deep := nested(1), nested(100)
	for _, c := range []codec.Codec{cbor.Codec{}, pickle.Codec{}, python.Codec{}} {
		cost := func(d *dict.Dict) time.Duration {
			record, err := c.Append(nil, d)
			if err != nil {
				t.Fatal(err)
			}
			begin := processorTime(t)
			for range 10 {
				if _, err := c.Decode(record, codec.Limits{}); err != nil {
					t.Fatalf("%s: %v", c.Name(), err)
				}
				if _, _, err := c.NewScanner(codec.Limits{}).Next(append(record, '\n')); err != nil {
					t.Fatalf("%s: %v", c.Name(), err)
				}
			}
			return processorTime(t) - begin
		}
		cost(flat) // warms up
		if one, many := cost(flat), cost(deep); many > 8*one {
			t.Errorf("%s: a hundred sets one in the other take %v, one takes %v", c.Name(), many, one)
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
