package substitute_test

import (
	"math"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

func must(v dict.Value, err error) dict.Value {
	if err != nil {
		panic(err)
	}
	return v
}

func datetime(zone dict.Zone, fold bool) dict.Value {
	return must(dict.DateTime{
		Date:      dict.Date{Year: 987, Month: 1, Day: 2},
		TimeOfDay: dict.TimeOfDay{Hour: 3, Microsecond: 40, Zone: zone, Fold: fold},
	}.Value())
}

func TestSubstitute(t *testing.T) {
	ordered := dict.Of("a", 1).Ordered().Value()
	for _, test := range []struct {
		v    dict.Value
		want string
	}{
		{dict.Tuple(dict.Int(1), dict.Tuple()), "[1, ()]"},
		{must(dict.SetOf(dict.Int(2), dict.Int(1))), "[2, 1]"},
		{must(dict.FrozenSet()), "[]"},
		{ordered, "{'a': 1}"},
		{dict.ByteArray([]byte{255}), `b'\xff'`},
		{dict.Bytes([]byte{255, 0}), `'/wA='`},
		{dict.BigInt(new(big.Int).Lsh(big.NewInt(1), 70)), `'1180591620717411303424'`},
		{dict.String("a\xed\xa0\x80é"), "'a\ufffdé'"},
		{dict.Complex(complex(1, math.Inf(1))), "'(1+infj)'"},
		{must(dict.Decimal("-1.50")), "'-1.50'"},
		{dict.UUID([16]byte{1}), "'01000000-0000-0000-0000-000000000000'"},
		{must(dict.Date{Year: 5, Month: 6, Day: 7}.Value()), "'0005-06-07'"},
		{must(dict.TimeOfDay{Hour: 1}.Value()), "'01:00:00'"},
		{datetime(dict.Zone{}, true), "'0987-01-02T03:00:00.000040'"},
		{datetime(dict.UTC(), false), "'0987-01-02T03:00:00.000040+00:00'"},
		{datetime(dict.FixedZone(-90*time.Minute), false), "'0987-01-02T03:00:00.000040-01:30'"},
		{datetime(dict.NamedFixedZone(90*time.Second+time.Microsecond, "x"), false), "'0987-01-02T03:00:00.000040+00:01:30.000001'"},
		{datetime(dict.KeyZone("Europe/Paris"), false), "'0987-01-02T03:00:00.000040[Europe/Paris]'"},
		{must(dict.TimeDelta{Days: -1, Seconds: 3661, Microseconds: 5}.Value()), "'-1 day, 1:01:01.000005'"},
		{must(dict.TimeDelta{Days: 2}.Value()), "'2 days, 0:00:00'"},
		{dict.Tagged(dict.CBORTag, dict.Int(4000), dict.Null()), "'CBORTag(4000, None)'"},
		{dict.Tagged(dict.MessagePackExt, dict.Int(1), dict.Bytes(nil)), `"ExtType(code=1, data=b'')"`},
	} {
		if got := substitute.Of(test.v).String(); got != test.want {
			t.Errorf("%v: %s, want %s", test.v, got, test.want)
		}
	}
	// Whatever a value is, its substitutes end with a string.
	for _, v := range []dict.Value{dict.Null(), dict.ByteArray(nil), dict.Float(1)} {
		for range 3 {
			v = substitute.Of(v)
		}
		if v.Kind() != dict.KindString {
			t.Errorf("the substitutes end with %v", v)
		}
	}
}

// Dates, times, decimals, UUIDs and timedeltas are as Python's isoformat and str
// have them, keys as its json.dumps.
func TestSubstituteAgainstPython(t *testing.T) {
	values := []dict.Value{
		datetime(dict.Zone{}, false), datetime(dict.UTC(), true), datetime(dict.FixedZone(-90*time.Minute), false),
		datetime(dict.FixedZone(-90*time.Second-time.Microsecond), false),
		must(dict.TimeOfDay{Hour: 1, Zone: dict.FixedZone(time.Hour)}.Value()),
		must(dict.Date{Year: 5, Month: 6, Day: 7}.Value()), must(dict.TimeDelta{Days: -1, Microseconds: 5}.Value()),
		must(dict.TimeDelta{Days: 1, Seconds: 86399}.Value()), must(dict.TimeDelta{}.Value()),
		must(dict.Decimal("1E+5")), dict.UUID([16]byte{15: 1}), dict.Complex(1 - 2i), dict.Bytes([]byte{1, 2, 3}),
	}
	keys := []dict.Value{dict.Null(), dict.Bool(true), dict.Int(-5), dict.Float(1e16), dict.Float(math.NaN()), dict.Float(math.Inf(-1))}
	var program strings.Builder
	program.WriteString("import base64, datetime, json\nfrom decimal import Decimal\nfrom uuid import UUID\nnan, inf = float('nan'), float('inf')\n" +
		"def s(v):\n if isinstance(v, (datetime.date, datetime.time)): return v.isoformat()\n" +
		" return base64.b64encode(v).decode() if isinstance(v, bytes) else str(v)\n")
	var want []string
	for _, v := range values {
		program.WriteString("print(s(" + v.String() + "))\n")
		text, _ := substitute.Of(v).Text()
		want = append(want, text)
	}
	for _, k := range keys {
		program.WriteString("print(list(json.loads(json.dumps({" + k.String() + ": 0})))[0])\n")
		text, _ := substitute.OfKey(k).Text()
		want = append(want, text)
	}
	out, err := exec.Command("/usr/bin/python3", "-c", program.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line != want[i] {
			t.Errorf("python %s\nwe     %s", line, want[i])
		}
	}
}
