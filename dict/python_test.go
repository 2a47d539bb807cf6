package dict_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// python prints repr(eval(line)) for each line. D makes a dictionary by setting keys in
// order and deleting some again.
const python = `
import collections, datetime, decimal, sys, uuid, zoneinfo
O = collections.OrderedDict
sys.set_int_max_str_digits(0) if hasattr(sys, 'set_int_max_str_digits') else None
F = float.fromhex
def D(pairs, deleted):
    d = {}
    for k, v in pairs: d[k] = v
    for k in deleted: d.pop(k, None)
    return d
print(sys.version_info.minor)
for line in sys.stdin:
    print(repr(eval(line)))
`

// A generator makes values, each with a Python expression for it.
type generator struct{ *rand.Rand }

func (g generator) value(depth int) (dict.Value, string) {
	n := 15
	if depth > 4 {
		n = 10 // no containers
	}
	switch g.IntN(n) {
	case 9:
		b, expr := g.bytes()
		return dict.ByteArray(b), "bytearray(" + expr + ")"
	case 10, 11:
		return g.list(depth)
	case 12, 13:
		return g.dict(depth)
	case 14:
		return g.set(g.IntN(2) == 0)
	default:
		return g.key()
	}
}

// bytes returns bytes, and the Python expression.
func (g generator) bytes() ([]byte, string) {
	b := make([]byte, g.IntN(8))
	expr := "b'"
	for i := range b {
		b[i] = byte(g.Uint32())
		if g.IntN(2) == 0 {
			b[i] = "'\"\\\n\r\tax"[g.IntN(8)]
		}
		expr += fmt.Sprintf("\\x%02x", b[i])
	}
	return b, expr + "'"
}

// set returns a set of at most one item, since the order of more is up to Python.
func (g generator) set(frozen bool) (dict.Value, string) {
	var items []dict.Value
	expr := "set(["
	if frozen {
		expr = "frozenset(["
	}
	if g.IntN(3) > 0 {
		item, itemExpr := g.key()
		items = append(items, item)
		expr += itemExpr
	}
	of := dict.SetOf
	if frozen {
		of = dict.FrozenSet
	}
	v, err := of(items...)
	if err != nil {
		panic(err)
	}
	return v, expr + "])"
}

// zone returns a zone, and the Python expression.
func (g generator) zone() (dict.Zone, string) {
	offset := time.Duration(g.IntN(2*86_399)-86_399) * time.Second
	if g.IntN(3) == 0 {
		offset += time.Duration(g.IntN(1e6)) * time.Microsecond
	}
	switch g.IntN(6) {
	case 0:
		return dict.UTC(), "datetime.timezone.utc"
	case 1:
		return dict.KeyZone("Europe/Paris"), "zoneinfo.ZoneInfo('Europe/Paris')"
	case 2:
		return dict.FixedZone(offset), fmt.Sprintf("datetime.timezone(datetime.timedelta(microseconds=%d))", offset.Microseconds())
	case 3:
		name, expr := g.string()
		text, _ := name.Text()
		return dict.NamedFixedZone(offset, text), fmt.Sprintf("datetime.timezone(datetime.timedelta(microseconds=%d), %s)", offset.Microseconds(), expr)
	default:
		return dict.Zone{}, "None"
	}
}

// time returns one of the types of time.
func (g generator) time() (dict.Value, string) {
	date := dict.Date{Year: 1 + g.IntN(9999), Month: 1 + g.IntN(12), Day: 1 + g.IntN(28)}
	clock := dict.TimeOfDay{Hour: g.IntN(24), Minute: g.IntN(60), Fold: g.IntN(4) == 0}
	if g.IntN(2) == 0 {
		clock.Second = g.IntN(60)
	}
	if g.IntN(2) == 0 {
		clock.Microsecond = g.IntN(1e6)
	}
	zone, zoneExpr := g.zone()
	clock.Zone = zone
	fold := 0
	if clock.Fold {
		fold = 1
	}
	day := fmt.Sprintf("%d,%d,%d", date.Year, date.Month, date.Day)
	hours := fmt.Sprintf("%d,%d,%d,%d,tzinfo=%s,fold=%d", clock.Hour, clock.Minute, clock.Second, clock.Microsecond, zoneExpr, fold)
	var (
		v    dict.Value
		err  error
		expr string
	)
	switch g.IntN(4) {
	case 0:
		v, err = date.Value()
		expr = "datetime.date(" + day + ")"
	case 1:
		v, err = clock.Value()
		expr = "datetime.time(" + hours + ")"
	case 2:
		t := dict.TimeDelta{Days: g.IntN(2e9-2) - 999_999_998, Seconds: g.IntN(200_000) - 86_000, Microseconds: g.IntN(3e6) - 1e6}
		if g.IntN(2) == 0 {
			t = dict.TimeDelta{Days: g.IntN(3) - 1, Seconds: g.IntN(2)}
		}
		v, err = t.Value()
		expr = fmt.Sprintf("datetime.timedelta(%d,%d,%d)", t.Days, t.Seconds, t.Microseconds)
	default:
		v, err = dict.DateTime{Date: date, TimeOfDay: clock}.Value()
		expr = "datetime.datetime(" + day + "," + hours + ")"
	}
	if err != nil {
		panic(err)
	}
	return v, expr
}

func (g generator) decimal() (dict.Value, string) {
	text := []string{"", "-", "+"}[g.IntN(3)]
	switch g.IntN(8) {
	case 0:
		text += []string{"NaN", "Infinity", "inf", "nan123"}[g.IntN(4)]
	case 1:
		text += strconv.Itoa(g.IntN(3)) // equal to ints
	case 2:
		text += []string{"0.5", "0.50", "1.0", "10E-1", "1E+2", "1e400", "0E-9", "0.1"}[g.IntN(8)]
	default:
		text += strconv.Itoa(g.IntN(1e6))
		if g.IntN(2) == 0 {
			text += "." + strconv.Itoa(g.IntN(1e4))
		}
		if g.IntN(2) == 0 {
			text += "E" + strconv.Itoa(g.IntN(60)-30)
		}
	}
	v, err := dict.Decimal(text)
	if err != nil {
		panic(err)
	}
	return v, "decimal.Decimal('" + text + "')"
}

// key returns a hashable value.
func (g generator) key() (dict.Value, string) {
	switch g.IntN(17) {
	case 10:
		b, expr := g.bytes()
		return dict.Bytes(b), expr
	case 11:
		return g.time()
	case 12:
		return g.decimal()
	case 13:
		re, reExpr := g.float(float64(g.IntN(3)))
		im, imExpr := g.float(math.Copysign(float64(g.IntN(3)), float64(g.IntN(2))-0.5))
		x, _ := re.Float()
		y, _ := im.Float()
		return dict.Complex(complex(x, y)), "complex(" + reExpr + "," + imExpr + ")"
	case 14:
		u := [16]byte{}
		for i := range u {
			u[i] = byte(g.Uint32())
		}
		return dict.UUID(u), fmt.Sprintf("uuid.UUID(hex='%x')", u[:])
	case 15:
		items, expr := make([]dict.Value, g.IntN(3)), "("
		for i := range items {
			var itemExpr string
			items[i], itemExpr = g.key()
			expr += itemExpr + ","
		}
		if len(items) == 0 {
			return dict.Tuple(), "()"
		}
		return dict.Tuple(items...), expr + ")"
	case 16:
		return g.set(true)
	case 0:
		return dict.Null(), "None"
	case 1:
		if g.IntN(2) == 0 {
			return dict.Bool(true), "True"
		}
		return dict.Bool(false), "False"
	case 2:
		i := int64(g.IntN(4)) - 1 // equal to bools and floats
		return dict.Int(i), strconv.FormatInt(i, 10)
	case 3:
		i := int64(g.Uint64()) >> g.IntN(64)
		return dict.Int(i), strconv.FormatInt(i, 10)
	case 4:
		i := new(big.Int).Lsh(big.NewInt(int64(g.Uint64())), uint(g.IntN(300)))
		return dict.BigInt(i), i.String()
	case 5:
		return g.float(float64(g.IntN(4)) - 1)
	case 6:
		return g.float(math.Float64frombits(g.Uint64()))
	case 7:
		return g.float(math.Round(g.NormFloat64()*1e6) / 1e3)
	default:
		return g.string()
	}
}

func (g generator) float(f float64) (dict.Value, string) {
	switch {
	case math.IsNaN(f):
		return dict.Float(f), "F('nan')"
	case math.IsInf(f, 0):
		return dict.Float(f), fmt.Sprintf("F('%sinf')", map[bool]string{true: "-"}[f < 0])
	default:
		return dict.Float(f), "F('" + strconv.FormatFloat(f, 'x', -1, 64) + "')"
	}
}

func (g generator) string() (dict.Value, string) {
	var text []byte
	expr := []byte{'\''}
	for range g.IntN(12) {
		var r rune
		switch g.IntN(6) {
		case 0, 1:
			r = 'a' + rune(g.IntN(26))
		case 2:
			r = []rune("'\"\\\n\t\x00\x7f \u00a0\u00ad")[g.IntN(10)]
		case 3:
			r = rune(g.IntN(0x800))
		case 4:
			r = rune(g.IntN(0x10000)) // including surrogates
		default:
			r = rune(g.IntN(0x110000))
		}
		if r >= 0xD800 && r <= 0xDFFF {
			text = dict.AppendSurrogate(text, r)
		} else {
			text = append(text, string(r)...)
		}
		expr = fmt.Appendf(expr, "\\U%08x", r)
	}
	return dict.String(string(text)), string(append(expr, '\''))
}

func (g generator) list(depth int) (dict.Value, string) {
	items := make([]dict.Value, g.IntN(5))
	exprs := make([]string, len(items))
	for i := range items {
		items[i], exprs[i] = g.value(depth + 1)
	}
	return dict.List(items...), "[" + strings.Join(exprs, ",") + "]"
}

// dict returns a dictionary after a series of sets and deletes, often of the same keys.
func (g generator) dict(depth int) (dict.Value, string) {
	d := new(dict.Dict)
	var pairs, deleted []string
	for range g.IntN(6) + g.IntN(2)*g.IntN(20) {
		k, kExpr := g.key()
		v, vExpr := g.value(depth + 1)
		if err := d.SetKey(k, v); err != nil {
			panic(err)
		}
		pairs = append(pairs, "("+kExpr+","+vExpr+")")
		if g.IntN(8) == 0 {
			_ = d.Value() // values handed out must be copied before a change
		}
	}
	for range g.IntN(3) {
		k, expr := g.key()
		d.DeleteKey(k)
		deleted = append(deleted, expr)
	}
	expr := "D([" + strings.Join(pairs, ",") + "],[" + strings.Join(deleted, ",") + "])"
	if g.IntN(5) == 0 {
		return d.Ordered().Value(), "O(" + expr + ")"
	}
	return d.Value(), expr
}

// After sets and deletes, a dictionary has the contents and the repr that CPython has.
func TestAgainstPython(t *testing.T) {
	values := testrand.Many(20_000)
	seed := testrand.Seed(t)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	var in bytes.Buffer
	want := make([]dict.Value, values)
	for i := range want {
		var expr string
		want[i], expr = g.value(0)
		in.WriteString(expr + "\n")
	}
	input := in.String()
	cmd := exec.Command("/usr/bin/python3", "-c", python)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	lines.Scan()
	minor, err := strconv.Atoi(lines.Text())
	if err != nil {
		t.Fatal(err)
	}
	exprs := strings.Split(input, "\n")
	failures := 0
	for i, v := range want {
		if !lines.Scan() {
			t.Fatalf("python answered %d of %d", i, values)
		}
		// Values made by hand and their flat copies print the same.
		flat, _ := dict.Of("v", v).Clone().Get("v")
		for _, got := range []dict.Value{v, flat} {
			if repr := string(dict.AppendRepr(nil, got, dict.Python(minor))); repr != lines.Text() {
				t.Errorf("%s\n got %s\nwant %s", exprs[i], repr, lines.Text())
				if failures++; failures > 5 {
					return
				}
			}
		}
	}
}
