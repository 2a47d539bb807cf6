package pickle_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/internal/testrand"
)

// sharing makes dictionaries with few objects in many places, and pickles each with and
// without sharing.
const sharing = `
import copy, pickle, random, struct, sys
from collections import OrderedDict
r = random.Random(int(sys.argv[1]))
class Shared:
    def __init__(self): self.values, self.keys = [], []
    def scalar(self): return r.choice([None, True, r.randrange(1000), 1.5, 'text', b'bytes', 10**30, complex(1, 2)])
    def value(self): return r.choice(self.values) if self.values and r.random() < 0.7 else self.scalar()
    def key(self): return r.choice(self.keys) if self.keys and r.random() < 0.6 else self.scalar()
    def grow(self):
        n = r.randrange(4)
        made = r.choice([
            lambda: [self.value() for _ in range(n)], lambda: tuple(self.value() for _ in range(n)),
            lambda: {self.key(): self.value() for _ in range(n)}, lambda: OrderedDict((self.key(), self.value()) for _ in range(n)),
            lambda: {self.key() for _ in range(n)}, lambda: bytearray(b'ab'),
        ])()
        self.values.append(made)
        key = r.choice([lambda: tuple(self.key() for _ in range(n)), lambda: frozenset(self.key() for _ in range(n))])()
        self.keys.append(key)
        self.values.append(key)
def plain(v):
    "The same without an object that stands twice."
    if isinstance(v, dict): return type(v)((plain(k), plain(x)) for k, x in v.items())
    if isinstance(v, (list, tuple, set, frozenset)): return type(v)(list(map(plain, v)))
    return v
def flat(v):
    f = __import__('io').BytesIO()
    p = pickle._Pickler(f, 4)
    p.memoize = lambda obj: None # an object that comes again is written again
    p.dump(v)
    return f.getvalue()
def put(b): sys.stdout.buffer.write(struct.pack('>I', len(b)) + b)
for _ in range(int(sys.argv[2])):
    s = Shared()
    for _ in range(r.randrange(9)): s.grow()
    d = {s.key(): s.value() for _ in range(1 + r.randrange(4))}
    put(pickle.dumps(d, r.randrange(6)))
    put(flat(d))
`

// Shared objects are copied completely, and count as if each had been written where it is
// used.
func TestShared(t *testing.T) {
	var stderr bytes.Buffer
	cmd := exec.Command("/usr/bin/python3", "-c", sharing, fmt.Sprint(codectest.Seed(t)>>1), fmt.Sprint(testrand.Many(2000)))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	in := bytes.NewReader(out)
	next := func() []byte {
		var n uint32
		if binary.Read(in, binary.BigEndian, &n) != nil {
			return nil
		}
		b := make([]byte, n)
		_, _ = io.ReadFull(in, b)
		return b
	}
	n := 0
	for p := next(); p != nil; p = next() {
		flat := next()
		n++
		want, err := pickle.Codec{}.Decode(flat, codec.Limits{})
		got, err2 := pickle.Codec{}.Decode(p, codec.Limits{})
		if fmt.Sprint(err) != fmt.Sprint(err2) && (err == nil || err2 == nil) {
			t.Fatalf("%q: %v\n%q: %v", p, err2, flat, err)
		}
		if err != nil {
			continue
		}
		if !got.Equal(want) || got.String() != want.String() {
			t.Fatalf("%q\nis   %v\nwant %v", p, got, want)
		}
		for limit := range 40 {
			for _, lim := range []codec.Limits{{Items: limit + 1}, {Depth: limit/4 + 1}} {
				_, err := pickle.Codec{}.Decode(flat, lim)
				_, err2 := pickle.Codec{}.Decode(p, lim)
				if (err == nil) != (err2 == nil) {
					t.Fatalf("within %+v\n%q: %v\n%q: %v", lim, p, err2, flat, err)
				}
			}
		}
	}
	if n < testrand.Many(2000) {
		t.Errorf("only %d pickles", n)
	}
}

// What a few bytes of a pickle expand to is counted before it is made: beyond a limit it
// costs only its bytes, and the error has the place.
func TestBombs(t *testing.T) {
	again := func(s string, n int) string { return strings.Repeat(s, n) }
	laughs := "](" + again("N", 10) + "e"
	for range 20 {
		laughs = "](" + laughs + again("2", 9) + "e"
	}
	for _, test := range []struct{ name, value, want string }{
		{"a billion laughs", laughs, "keys and values; Limits.Items raises the limit"},
		{"wide", "](](" + again("N", 1500) + "e\x94" + again("h\x00", 1500) + "e", "keys and values; Limits.Items raises the limit"},
		{"pairs", ")" + again("2\x86", 40), "keys and values; Limits.Items raises the limit"},
		{"keys", "}()" + again("2\x86", 40) + "Nu", "keys and values; Limits.Items raises the limit"},
		{"frozensets", "\x8f((" + ")" + again("2\x86", 40) + "\x91\x90", "keys and values; Limits.Items raises the limit"},
		{"texts", "](](" + "C\xff" + again("x", 255) + again("2", 3000) + "e\x94" + again("h\x00", 9) + "e", "the texts have more than"},
		{"deep", "](]" + again("\x85", 125) + "\x94h\x00\x85e", "Limits.Depth raises the limit"},
	} {
		p := []byte("\x80\x04}\x8c\x01a" + test.value + "s.")
		_, err := pickle.Codec{}.Decode(p, codec.Limits{})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "in /a") {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
		if made := bytesAllocated(func() { _, _ = pickle.Codec{}.Decode(p, codec.Limits{}) }); made > 1<<20 {
			t.Errorf("%s: %d bytes of memory for a pickle of %d", test.name, made, len(p))
		}
	}
}

func bytesAllocated(f func()) int64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc-before.TotalAlloc) / runs
}
