package pytext

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

var benchStrings = []struct{ name, s string }{
	{"empty", ""},
	{"ascii3", "age"},
	{"ascii5", "Alice"},
	{"ascii12", "device_class"},
	{"ascii36", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
	{"ascii500", strings.Repeat("The quick brown fox jumps over the lazy dog, ", 12)[:500]},
	{"apostrophe", "it's the reader's own copy, isn't it"},
	{"quotes", `"it's" is short for "it is"`},
	{"newlines", strings.Repeat("GET /index.html 200\r\n", 5)},
	{"latin", strings.Repeat("Übermäßig große Straßenköter. ", 4)},
	{"name", "Zoë"},
	{"name3", "日本語"},
	{"greek", strings.Repeat("Ξεσκεπάζω την ψυχοφθόρα. ", 4)},
	{"hindi", strings.Repeat("ऋषियों को सताने वाले दुष्ट ", 4)},
	{"japanese", strings.Repeat("いろはにほへと　ちりぬるを", 4)},
	{"cyrillic", strings.Repeat("Съешь ещё этих мягких булок. ", 4)},
	{"cjk", strings.Repeat("天地玄黃宇宙洪荒", 8)},
	{"emoji", strings.Repeat("\U0001F600\U0001F680", 10)},
	{"new in 15", strings.Repeat("\U0001FAE8\U0001FAF7", 10)},
	{"unassigned", strings.Repeat("\u0378\U000E0080", 10)},
}

func BenchmarkAppendString(b *testing.B) {
	for _, c := range benchStrings {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.s)))
			b.ReportAllocs()
			src := []byte(c.s)
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				dst = AppendString(dst[:0], src, Py313)
			}
		})
	}
}

func BenchmarkAppendBytes(b *testing.B) {
	random := make([]byte, 256)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"ascii", []byte(benchStrings[5].s)},
		{"random", random},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.b)))
			b.ReportAllocs()
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				dst = AppendBytes(dst[:0], c.b)
			}
		})
	}
}

func BenchmarkAppendFloat(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		next func() float64
	}{
		{"integer", func() float64 { return float64(rng.IntN(100_000)) }},
		{"price", func() float64 { return float64(rng.IntN(100_000)) / 100 }},
		{"time", func() float64 { return float64(1_700_000_000_000_000+rng.Int64N(1e14)) / 1e6 }},
		{"unit", rng.Float64},
		{"bits", func() float64 { return math.Float64frombits(rng.Uint64()) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var f [1024]float64
			for i := range f {
				f[i] = c.next()
			}
			b.ReportAllocs()
			dst := make([]byte, 0, 64)
			i := 0
			for b.Loop() {
				dst = AppendFloat(dst[:0], f[i&1023])
				i++
			}
		})
	}
}
