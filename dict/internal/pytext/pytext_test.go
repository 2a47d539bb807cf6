package pytext

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dictwire/dictwire/internal/testrand"
)

var versions = []Version{Py38, Py39, Py310, Py311, Py312, Py313, Py314}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		v             Version
		name, unicode string
	}{
		{Py38, "3.8", "12.1.0"},
		{Py39, "3.9", "13.0.0"},
		{Py310, "3.10", "13.0.0"},
		{Py311, "3.11", "14.0.0"},
		{Py312, "3.12", "15.0.0"},
		{Py313, "3.13", "15.1.0"},
		{Py314, "3.14", "16.0.0"},
		{0, "3.0", "12.1.0"},
		{255, "3.255", "16.0.0"},
	} {
		if got := c.v.String(); got != c.name {
			t.Errorf("Version(%d).String() = %q, want %q", c.v, got, c.name)
		}
		if got := c.v.Unicode(); got != c.unicode {
			t.Errorf("%v.Unicode() = %q, want %q", c.v, got, c.unicode)
		}
	}
}

func TestIsPrintable(t *testing.T) {
	const never = 255
	for _, c := range []struct {
		r     rune
		since Version
	}{
		{' ', Py38},
		{'~', Py38},
		{'\'', Py38},
		{'\\', Py38},
		{'ÿ', Py38},
		{'\u0378', never},      // unassigned
		{'\u00a0', never},      // no-break space
		{'\u00ad', never},      // soft hyphen
		{'\u2028', never},      // line separator
		{'\u3000', never},      // ideographic space
		{'\ufe0f', Py38},       // variation selector
		{'\ufeff', never},      // byte order mark
		{'\ue000', never},      // private use
		{0xD800, never},        // surrogate
		{0xDFFF, never},        //
		{'\U0002FA1D', Py38},   // the last character before plane 3
		{'\U000E0100', Py38},   // variation selectors
		{'\U000E01EF', Py38},   //
		{'\U000E01F0', never},  //
		{'\U0001FAD6', Py39},   // new in 13.0: teapot
		{'\U0001FAE0', Py311},  // new in 14.0: melting face
		{'\U0001FAE8', Py312},  // new in 15.0: shaking face
		{'\U0002EBF0', Py313},  // new in 15.1: CJK extension I
		{'\U0001FAE9', Py314},  // new in 16.0: face with bags under eyes
		{0, never},             //
		{0x7F, never},          //
		{-1, never},            // no code points
		{0x110000, never},      //
		{math.MaxInt32, never}, //
		{math.MinInt32, never}, //
	} {
		for _, v := range versions {
			if got, want := IsPrintable(v, c.r), v >= c.since; got != want {
				t.Errorf("IsPrintable(%v, %#x) = %t, want %t", v, c.r, got, want)
			}
		}
	}
}

// TestIsPrintableGo compares with the tables of the Go release that runs it:
// the version of Unicode may be one of ours, or newer than some of ours.
func TestIsPrintableGo(t *testing.T) {
	compared := false
	for _, v := range versions {
		same := v.Unicode() == unicode.Version
		if !same && !older(v.Unicode(), unicode.Version) {
			continue
		}
		compared = true
		for r := rune(0); r <= unicode.MaxRune; r++ {
			want := r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
			if got := IsPrintable(v, r); got != want && (same || got) {
				t.Fatalf("IsPrintable(%v, %#x) = %t, but %t in Go's Unicode %s", v, r, got, want, unicode.Version)
			}
		}
	}
	if !compared {
		t.Errorf("Go has Unicode %s, older than all of ours", unicode.Version)
	}
}

// older reports whether version a is less than b, as in 9.0.0 and 12.1.0.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return false
}

func TestAppendString(t *testing.T) {
	for _, c := range []struct{ s, want string }{
		{"", `''`},
		{"name", `'name'`},
		{"it's", `"it's"`},
		{`"`, `'"'`},
		{`'"'`, `'\'"\''`},
		{`"'`, `'"\''`},
		{`''''''''''''"`, `'\'\'\'\'\'\'\'\'\'\'\'\'"'`},
		{"a long text with an apostrophe'", `"a long text with an apostrophe'"`},
		{`back\slash`, `'back\\slash'`},
		{`'\`, `"'\\"`},
		{"\t\n\r", `'\t\n\r'`},
		{"\x00\x01\x1f\x7f\a\b\v\f", `'\x00\x01\x1f\x7f\x07\x08\x0b\x0c'`},
		{"\u0080\u009f\u00a0\u00ad\u00ff", `'\x80\x9f\xa0\xadÿ'`},
		{"\u0378\u2028\ufeff\ufffe\uffff", `'\u0378\u2028\ufeff\ufffe\uffff'`},
		{"\U0001F600\U000E0001\U0010FFFF", "'\U0001F600\\U000e0001\\U0010ffff'"},
		{"日本語のテキスト, longer", `'日本語のテキスト, longer'`},
		{"Zoë", `'Zoë'`},

		// WTF-8.
		{"\xed\xa0\x80", `'\ud800'`},
		{"\xed\xbf\xbf", `'\udfff'`},
		{"a\xed\xa0\xbd\xed\xb8\x80z", `'a\ud83d\ude00z'`}, // a pair is two surrogates
		{"\U0001F600\xed\xa0\xbd'", "\"\U0001F600\\ud83d'\""},

		// Neither.
		{"\x80", `'\udc80'`},
		{"\xff\xfe", `'\udcff\udcfe'`},
		{"\xc3", `'\udcc3'`},
		{"\xc3a", `'\udcc3a'`},
		{"\xc1\x81", `'\udcc1\udc81'`},                     // overlong
		{"\xe0\x81\x81", `'\udce0\udc81\udc81'`},           //
		{"\xe0\x9f\xbf", `'\udce0\udc9f\udcbf'`},           //
		{"\xf0\x80\x81\x81", `'\udcf0\udc80\udc81\udc81'`}, //
		{"\xf0\x8f\xbf\xbf", `'\udcf0\udc8f\udcbf\udcbf'`}, //
		{"\xf4\x90\x80\x80", `'\udcf4\udc90\udc80\udc80'`}, // above U+10FFFF
		{"\xf8\x88\x80\x80\x80", `'\udcf8\udc88\udc80\udc80\udc80'`},
		{"\xe2\x80", `'\udce2\udc80'`},           // cut off
		{"\xf0\x9f\x98", `'\udcf0\udc9f\udc98'`}, //
		{"\xed\xa0", `'\udced\udca0'`},           //
		{"日本\xe8\xaa", `'日本\udce8\udcaa'`},       //
		{"\xc1\x81\xc1\x81 padding", `'\udcc1\udc81\udcc1\udc81 padding'`},
		{"\xe0\x81\x81\xe0\x9f\xbf padding", `'\udce0\udc81\udc81\udce0\udc9f\udcbf padding'`},
		{"\xf0\x80\x81\x81\xf4\x90\x80\x80 padding", `'\udcf0\udc80\udc81\udc81\udcf4\udc90\udc80\udc80 padding'`},
	} {
		if got := string(AppendString(nil, c.s, Py313)); got != c.want {
			t.Errorf("AppendString(%q) = %s, want %s", c.s, got, c.want)
		}
		if got := string(AppendString([]byte("x"), []byte(c.s), Py313)); got != "x"+c.want {
			t.Errorf("AppendString(x, []byte(%q)) = %s, want x%s", c.s, got, c.want)
		}
		if got := naiveString(c.s, Py313); got != c.want {
			t.Errorf("naiveString(%q) = %s, want %s", c.s, got, c.want)
		}
	}
}

// naiveString is AppendString in the most obvious way.
func naiveString(s string, v Version) string {
	quote := `'`
	if strings.Contains(s, `'`) && !strings.Contains(s, `"`) {
		quote = `"`
	}
	var b strings.Builder
	b.WriteString(quote)
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			r = 0xDC00 + rune(s[0])
			if len(s) >= 3 && s[0] == 0xED && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80 {
				r, size = 0xD000|rune(s[1]&0x3F)<<6|rune(s[2]&0x3F), 3
			}
		}
		s = s[size:]
		switch {
		case string(r) == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case IsPrintable(v, r):
			b.WriteRune(r)
		case r <= 0xFF:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteString(quote)
	return b.String()
}

// TestAppendStringVersions checks what TestPython, which has one interpreter,
// cannot: each version, and destinations with little room.
func TestAppendStringVersions(t *testing.T) {
	rng := newRand(t)
	for range testrand.Many(20_000) {
		s, v := wtf8(randomText(rng)), versions[rng.IntN(len(versions))]
		if rng.IntN(4) == 0 {
			s = mutate(rng, s)
		}
		want := naiveString(s, v)
		if got := string(AppendString(nil, s, v)); got != want {
			t.Fatalf("%v: AppendString(%q) = %s, want %s", v, s, got, want)
		}
		const before = "before"
		dst := append(make([]byte, 0, len(before)+rng.IntN(2*len(s)+8)), before...)
		if got := string(AppendString(dst, []byte(s), v)); got != before+want {
			t.Fatalf("%v: AppendString(%s, %q) = %s, want %s%s", v, before, s, got, before, want)
		}
	}
}

func TestAppendBytes(t *testing.T) {
	for _, c := range []struct{ b, bytes, bytearray string }{
		{"", `b''`, `bytearray(b'')`},
		{"abc", `b'abc'`, `bytearray(b'abc')`},
		{"it's", `b"it's"`, `bytearray(b"it\'s")`},
		{`"`, `b'"'`, `bytearray(b'"')`},
		{`'"`, `b'\'"'`, `bytearray(b'\'"')`},
		{`\`, `b'\\'`, `bytearray(b'\\')`},
		{"\t\n\r\v\x00\x7f", `b'\t\n\r\x0b\x00\x7f'`, `bytearray(b'\t\n\r\x0b\x00\x7f')`},
		{"\x80é\xff", `b'\x80\xc3\xa9\xff'`, `bytearray(b'\x80\xc3\xa9\xff')`},
		{"longer than a word", `b'longer than a word'`, `bytearray(b'longer than a word')`},
	} {
		if got := string(AppendBytes([]byte("x"), []byte(c.b))); got != "x"+c.bytes {
			t.Errorf("AppendBytes(x, %q) = %s, want x%s", c.b, got, c.bytes)
		}
		if got := string(AppendByteArray([]byte("x"), []byte(c.b))); got != "x"+c.bytearray {
			t.Errorf("AppendByteArray(x, %q) = %s, want x%s", c.b, got, c.bytearray)
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for _, c := range []struct {
		f    float64
		want string
	}{
		{0, "0.0"},
		{math.Copysign(0, -1), "-0.0"},
		{1, "1.0"},
		{-1, "-1.0"},
		{0.1, "0.1"},
		{0.5, "0.5"},
		{-19.99, "-19.99"},
		{1.0 / 3, "0.3333333333333333"},
		{0.30000000000000004, "0.30000000000000004"},
		{1e-4, "0.0001"},
		{math.Nextafter(1e-4, 0), "9.999999999999999e-05"},
		{0.00012, "0.00012"},
		{0.000123, "0.000123"},
		{0.0001234, "0.0001234"},
		{1e-5, "1e-05"},
		{1.5e-7, "1.5e-07"},
		{1e15, "1000000000000000.0"},
		{math.Nextafter(1e16, 0), "9999999999999998.0"},
		{1e16, "1e+16"},
		{-1.25e16, "-1.25e+16"},
		{1 << 53, "9007199254740992.0"},
		{1 << 63, "9.223372036854776e+18"},
		{4.5e9, "4500000000.0"},
		{4499999999.999999, "4499999999.999999"},
		{4500000000.000001, "4500000000.000001"},
		{1700000000.123456, "1700000000.123456"},
		{1e22, "1e+22"},
		{1e23, "1e+23"},
		{1e100, "1e+100"},
		{5e-324, "5e-324"},
		{math.MaxFloat64, "1.7976931348623157e+308"},
		{math.Inf(1), "inf"},
		{math.Inf(-1), "-inf"},
		{math.NaN(), "nan"},
		{math.Copysign(math.NaN(), -1), "nan"},
	} {
		if got := string(AppendFloat([]byte("x"), c.f)); got != "x"+c.want {
			t.Errorf("AppendFloat(x, %g) = %s, want x%s", c.f, got, c.want)
		}
	}
}

// TestAppendFloatShort compares the short ways of AppendFloat with strconv.
func TestAppendFloatShort(t *testing.T) {
	rng := newRand(t)
	var got, want []byte
	for range testrand.Many(1_000_000) {
		f := float64(rng.Int64N(1<<rng.IntN(53)+1)) / math.Pow10(rng.IntN(9))
		for range rng.IntN(3) {
			f = math.Nextafter(f, math.Inf(rng.IntN(2)*2-1))
		}
		if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
			continue
		}
		got = AppendFloat(got[:0], f)
		want = strconv.AppendFloat(want[:0], f, 'f', -1, 64)
		if !bytes.ContainsRune(want, '.') {
			want = append(want, ".0"...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("AppendFloat(%b) = %s, want %s", f, got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	dst := make([]byte, 0, 4096)
	src := [][]byte{[]byte("plain"), []byte("it's"), []byte("\x00\xff日本語\u2028\xed\xa0\x80'\""), bytes.Repeat([]byte("é\n"), 300)}
	n := testing.AllocsPerRun(100, func() {
		for _, s := range src {
			dst = AppendString(dst[:0], s, Py313)
			dst = AppendString(dst[:0], string(s[:4]), Py313)
			dst = AppendBytes(dst[:0], s)
			dst = AppendByteArray(dst[:0], s)
		}
		for _, f := range []float64{0, 1.5, 1e300, 1.0 / 3} {
			dst = AppendFloat(dst[:0], f)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations with room in dst, want 0", n)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{
		"", "name", "it's", `'"\`, "\t\r\n\x00\x7f", "\u00a0é日本語\U0001F600\U000E0001",
		"\xed\xa0\x80\xed\xbf\xbf", "\xc1\x81\xe0\x81\x81\xf4\x90\x80\x80\xff", "cut \xf0\x9f\x98",
		"съешь ещё этих мягких 'булок'", "\U0001FAE8\U0002EBF0\U0001FAE9",
	} {
		f.Add([]byte(s), byte(Py313))
	}
	f.Fuzz(func(t *testing.T, s []byte, version byte) {
		v := Version(version)
		got := AppendString(nil, s, v)
		if want := naiveString(string(s), v); string(got) != want {
			t.Errorf("%v: AppendString(%q) = %s, want %s", v, s, got, want)
		}
		if !utf8.Valid(got) {
			t.Errorf("AppendString(%q) = %q: not UTF-8", s, got)
		}
		for _, r := range string(got) {
			if !IsPrintable(v, r) {
				t.Errorf("AppendString(%q) = %q: has %#x", s, got, r)
			}
		}
	})
}

func newRand(t *testing.T) *rand.Rand {
	seed := testrand.Seed(t)
	return rand.New(rand.NewPCG(seed, seed))
}
