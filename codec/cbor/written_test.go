package cbor_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

func must(v dict.Value, err error) dict.Value {
	if err != nil {
		panic(err)
	}
	return v
}

// Encodings never change, since stores contain them.
func TestWritten(t *testing.T) {
	clock := func(z dict.Zone, fold bool) dict.TimeOfDay {
		return dict.TimeOfDay{Hour: 3, Minute: 4, Second: 5, Microsecond: 6000, Zone: z, Fold: fold}
	}
	at := func(z dict.Zone, fold bool) dict.Value {
		return must(dict.DateTime{Date: dict.Date{Year: 24, Month: 1, Day: 2}, TimeOfDay: clock(z, fold)}.Value())
	}
	for _, test := range []struct {
		v    dict.Value
		want string
	}{
		{dict.Complex(1 - 2i), "d9a7f882f93c00f9c000"},
		{must(dict.Decimal("-273.15")), "c48221396ab2"},
		{must(dict.Decimal("-0.00")), "d81b8267446563696d616c652d302e3030"},
		{must(dict.Decimal("NaN")), "d81b8267446563696d616c634e614e"},
		{dict.String("\xed\xa0\x80"), "d9011143eda080"},
		{dict.ByteArray([]byte("ab")), "d81b8269627974656172726179426162"},
		{dict.UUID([16]byte{15: 5}), "d8255000000000000000000000000000000005"},
		{at(dict.UTC(), false), "c0781b303032342d30312d30325430333a30343a30352e3030363030305a"},
		{at(dict.FixedZone(-90*time.Minute), false), "c07820303032342d30312d30325430333a30343a30352e3030363030302d30313a3330"},
		{at(dict.Zone{}, false), "d81b82686461746574696d65781a303032342d30312d30325430333a30343a30352e303036303030"},
		{at(dict.Zone{}, true), "d81b83686461746574696d65781a303032342d30312d30325430333a30343a30352e30303630303001"},
		{at(dict.UTC(), true), "d81b84686461746574696d65781a303032342d30312d30325430333a30343a30352e3030363030300100"},
		{at(dict.FixedZone(time.Microsecond), false), "d81b84686461746574696d65781a303032342d30312d30325430333a30343a30352e3030363030300001"},
		{at(dict.NamedFixedZone(time.Hour, "CET"), false), "d81b85686461746574696d65781a303032342d30312d30325430333a30343a30352e303036303030001ad693a40063434554"},
		{at(dict.KeyZone("Europe/Paris"), true), "d81b84686461746574696d65781a303032342d30312d30325430333a30343a30352e303036303030016c4575726f70652f5061726973"},
		{must(clock(dict.Zone{}, false).Value()), "d81b826474696d656f30333a30343a30352e303036303030"},
		{must(clock(dict.KeyZone("UTC"), false).Value()), "d81b846474696d656f30333a30343a30352e3030363030300063555443"},
		{must(dict.Date{Year: 24, Month: 1, Day: 2}.Value()), "d903ec6a303032342d30312d3032"},
		{must(dict.TimeDelta{Days: 1, Seconds: 1}.Value()), "d903eaa1011a00015181"},
		{must(dict.TimeDelta{Microseconds: 500_000}.Value()), "d903eaa20100251a0007a120"},
		{must(dict.TimeDelta{Microseconds: -1}.Value()), "d81b846974696d6564656c7461201a0001517f1a000f423f"},
		{dict.Tuple(dict.Int(1)), "d81b82657475706c658101"},
		{must(dict.SetOf(dict.Tuple(dict.Int(1)))), "d90102818101"},
		{must(dict.FrozenSet(dict.Int(1))), "d81b826966726f7a656e7365748101"},
		{dict.Of("a", 1).Ordered().Value(), "d81b826b4f72646572656444696374a1616101"},
		{dict.Tagged(dict.CBORTag, dict.Int(4000), dict.Null()), "d90fa0f6"},
		{dict.Tagged(dict.CBORSimple, dict.Int(99), dict.Null()), "f863"},
		{dict.Tagged(dict.MessagePackExt, dict.Int(-5), dict.Bytes([]byte("a"))), "d81b836f6d73677061636b2e45787454797065244161"},
	} {
		d := dict.Of("", test.v)
		b, err := cbor.Codec{}.Append(nil, d)
		if err != nil {
			t.Errorf("%v: %v", test.v, err)
			continue
		}
		if got := fmt.Sprintf("%x", b[2:]); got != test.want {
			t.Errorf("%v is written as %s, want %s", test.v, got, test.want)
		}
		if back, err := (cbor.Codec{}).Decode(b, codec.Limits{}); err != nil || !back.Equal(d) {
			t.Errorf("%v came back as %v, %v", d, back, err)
		}
	}
}
