package pytext

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dictwire/dictwire/internal/testrand"
)

const (
	pythonVariable = "DICTWIRE_TEST_PYTHON" // interpreters instead of the machine's, like PATH
)

func pythons(t *testing.T) []string {
	if list := filepath.SplitList(os.Getenv(pythonVariable)); len(list) > 0 {
		return list
	}
	const debian = "/usr/bin/python3"
	if _, err := os.Stat(debian); err == nil {
		return []string{debian}
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("this test needs python3: %v", err)
	}
	return []string{path}
}

// oracle is a Python program. It prints its version and Unicode's, then for
// each line, which is a letter and an argument in hexadecimal, a line with the
// answer.
const oracle = `
import codecs, struct, sys, unicodedata

def decode_error(e):
    try:
        return codecs.lookup_error('surrogatepass')(e)
    except UnicodeDecodeError:
        return codecs.lookup_error('surrogateescape')(e)
codecs.register_error('wtf8', decode_error)

answers = {
    b'p': lambda b: ''.join('01'[chr(c).isprintable()] for c in range(0x110000)),
    b's': lambda b: repr(b.decode('utf-32-le', 'surrogatepass')),
    b'w': lambda b: repr(b.decode('utf-8', 'wtf8')),
    b'b': repr,
    b'a': lambda b: repr(bytearray(b)),
    b'f': lambda b: repr(struct.unpack('>d', b)[0]),
}
out = ['%d %d %s' % (*sys.version_info[:2], unicodedata.unidata_version)]
for line in sys.stdin.buffer:
    out.append(answers[line[:1]](bytes.fromhex(line[1:].decode())))
sys.stdout.buffer.write('\n'.join(out).encode('utf-8'))
`

// A question is one for the oracle and, once its version is known, for us.
type question struct {
	letter byte
	arg    []byte
	answer func(Version) []byte
}

// TestPython asks a real CPython the same as this package.
func TestPython(t *testing.T) {
	for _, python := range pythons(t) {
		t.Run(python, func(t *testing.T) { testPython(t, python) })
	}
}

func testPython(t *testing.T, python string) {
	seed := testrand.Seed(t)
	rng := rand.New(rand.NewPCG(seed, seed))

	questions := []question{{'p', nil, func(v Version) []byte {
		bits := make([]byte, utf8.MaxRune+1)
		for r := range bits {
			bits[r] = '0'
			if IsPrintable(v, rune(r)) {
				bits[r] = '1'
			}
		}
		return bits
	}}}
	ask := func(letter byte, arg []byte, answer func(Version) []byte) {
		questions = append(questions, question{letter, arg, answer})
	}
	askText := func(text []rune) {
		var utf32 []byte
		for _, r := range text {
			utf32 = append(utf32, byte(r), byte(r>>8), byte(r>>16), 0)
		}
		ask('s', utf32, func(v Version) []byte { return AppendString(nil, wtf8(text), v) })
	}
	for r := rune(0); r <= utf8.MaxRune; {
		var text []rune
		for range 256 {
			text = append(text, r)
			r++
		}
		askText(text)
	}
	for range testrand.Many(30_000) {
		askText(randomText(rng))
	}
	for range testrand.Many(20_000) {
		b := []byte(mutate(rng, wtf8(randomText(rng))))
		ask('w', b, func(v Version) []byte { return AppendString(nil, b, v) })
	}
	for range testrand.Many(20_000) {
		b := randomBytes(rng)
		ask('b', b, func(Version) []byte { return AppendBytes(nil, b) })
		ask('a', b, func(Version) []byte { return AppendByteArray(nil, b) })
	}
	for range testrand.Many(60_000) {
		f := randomFloat(rng)
		bits := math.Float64bits(f)
		arg := make([]byte, 8)
		for i := range arg {
			arg[i] = byte(bits >> (56 - 8*i))
		}
		ask('f', arg, func(Version) []byte { return AppendFloat(nil, f) })
	}

	var input, stderr bytes.Buffer
	for _, q := range questions {
		fmt.Fprintf(&input, "%c%x\n", q.letter, q.arg)
	}
	cmd := exec.CommandContext(t.Context(), python, "-I", "-c", oracle)
	cmd.Stdin, cmd.Stderr = &input, &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", python, err, &stderr)
	}
	answers := bytes.Split(output, []byte("\n"))
	if len(answers) != 1+len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers)-1, len(questions))
	}

	var major int
	var v Version
	var unidata string
	if _, err := fmt.Sscan(string(answers[0]), &major, &v, &unidata); err != nil {
		t.Fatalf("first line %q: %v", answers[0], err)
	}
	if major != 3 || v < Py38 || v > Py314 || unidata != v.Unicode() {
		t.Fatalf("this is Python %d.%d with Unicode %s; %v has Unicode %s. Name a CPython from %v to %v in %s, or see gen/main.go for how to add one",
			major, uint8(v), unidata, v, v.Unicode(), Py38, Py314, pythonVariable)
	}
	for i, q := range questions {
		got, want := q.answer(v), answers[1+i]
		if bytes.Equal(got, want) {
			continue
		}
		if q.letter == 'p' {
			for r := range got {
				if got[r] != want[r] {
					t.Errorf("%v: IsPrintable(%#x) is %c, in Python %c", v, r, got[r], want[r])
				}
			}
			continue
		}
		t.Errorf("%v: question %c %s: answer %s, Python's %s", v, q.letter, hex.EncodeToString(q.arg), got, want)
	}
}

// wtf8 returns text as UTF-8, and surrogates, even in pairs, as three bytes.
func wtf8(text []rune) string {
	var b strings.Builder
	for _, r := range text {
		if 0xD800 <= r && r <= 0xDFFF {
			b.Write([]byte{0xE0 | byte(r>>12), 0x80 | byte(r>>6)&0x3F, 0x80 | byte(r)&0x3F})
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// randomText returns characters of one to three sorts, in short runs.
func randomText(rng *rand.Rand) []rune {
	sorts := make([]int, 1+rng.IntN(3))
	for i := range sorts {
		sorts[i] = rng.IntN(12)
	}
	n := rng.IntN(40)
	if rng.IntN(20) == 0 {
		n = rng.IntN(400)
	}
	text := make([]rune, 0, n)
	for len(text) < n {
		sort := sorts[rng.IntN(len(sorts))]
		for range 1 + rng.IntN(12) {
			text = append(text, randomRune(rng, sort))
		}
	}
	return text[:n]
}

func randomRune(rng *rand.Rand, sort int) rune {
	between := func(lo, hi rune) rune { return lo + rng.Int32N(hi-lo+1) }
	switch sort {
	case 0, 1, 2:
		return between(' ', '~')
	case 3:
		return []rune("'\"\\ a")[rng.IntN(5)]
	case 4:
		return between(0, 0x20)
	case 5:
		return between(0x7F, 0xFF)
	case 6:
		return between(0x100, 0x7FF)
	case 7:
		return between(0x800, 0xFFFF)
	case 8:
		return between(0xD800, 0xDFFF)
	case 9: // where the versions of Unicode differ
		l := laterRanges[rng.IntN(len(laterRanges))]
		return min(rune(l.lo)+rng.Int32N(int32(l.n)+2), utf8.MaxRune)
	case 10:
		return between(0x1F000, 0x1FAFF)
	default:
		return between(0, utf8.MaxRune)
	}
}

// mutate breaks some bytes of s.
func mutate(rng *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			return string([]byte{byte(rng.Uint32())})
		}
		i := rng.IntN(len(b))
		switch rng.IntN(4) {
		case 0:
			b[i] = byte(rng.Uint32())
		case 1:
			b[i] ^= 1 << rng.IntN(8)
		case 2:
			b = append(b[:i], b[i+1:]...)
		default:
			b = b[:i]
		}
	}
	return string(b)
}

func randomBytes(rng *rand.Rand) []byte {
	if rng.IntN(2) == 0 {
		return []byte(mutate(rng, wtf8(randomText(rng))))
	}
	b := make([]byte, rng.IntN(60))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomFloat(rng *rand.Rand) float64 {
	var f float64
	switch rng.IntN(12) {
	case 0, 1:
		f = math.Float64frombits(rng.Uint64())
	case 2: // small decimals
		f = float64(rng.IntN(1_000_000)) / math.Pow10(rng.IntN(10))
	case 3: // up to 17 digits
		f, _ = strconv.ParseFloat(fmt.Sprintf("%de%d", rng.Int64N(1e17), rng.IntN(40)-30), 64)
	case 4: // powers of ten
		f, _ = strconv.ParseFloat(fmt.Sprintf("1e%d", rng.IntN(633)-324), 64)
	case 5: // powers of two, halfway between shorter numbers at times
		f = math.Ldexp(1, rng.IntN(2098)-1074)
	case 6:
		f = 1<<53 + float64(rng.IntN(2001)-1000)
	case 7: // subnormal
		f = math.Float64frombits(rng.Uint64N(1 << (1 + rng.IntN(52))))
	case 8:
		f = math.Pow(10, 15+2*rng.Float64())
	case 9:
		f = math.Pow(10, -5+2*rng.Float64())
	case 10: // a time in seconds
		f = float64(rng.Int64N(5e15)) / 1e6
	default:
		f = []float64{0, 1e-4, 4.5e9, 1e16, math.MaxFloat64, math.Inf(1), math.NaN()}[rng.IntN(7)]
	}
	for range rng.IntN(4) - 1 { // neighbours
		f = math.Nextafter(f, math.Inf(rng.IntN(2)*2-1))
	}
	if rng.IntN(2) == 0 {
		f = math.Copysign(f, -1)
	}
	return f
}
