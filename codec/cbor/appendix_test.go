package cbor_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

// appendixA is all of appendix A of RFC 8949: each item, its repr, and whether it is in
// preferred serialization with definite length.
var appendixA = []struct {
	hex, repr string
	preferred bool
}{
	{"00", "0", true},
	{"01", "1", true},
	{"0a", "10", true},
	{"17", "23", true},
	{"1818", "24", true},
	{"1819", "25", true},
	{"1864", "100", true},
	{"1903e8", "1000", true},
	{"1a000f4240", "1000000", true},
	{"1b000000e8d4a51000", "1000000000000", true},
	{"1bffffffffffffffff", "18446744073709551615", true},
	{"c249010000000000000000", "18446744073709551616", true},
	{"3bffffffffffffffff", "-18446744073709551616", true},
	{"c349010000000000000000", "-18446744073709551617", true},
	{"20", "-1", true},
	{"29", "-10", true},
	{"3863", "-100", true},
	{"3903e7", "-1000", true},
	{"f90000", "0.0", true},
	{"f98000", "-0.0", true},
	{"f93c00", "1.0", true},
	{"fb3ff199999999999a", "1.1", true},
	{"f93e00", "1.5", true},
	{"f97bff", "65504.0", true},
	{"fa47c35000", "100000.0", true},
	{"fa7f7fffff", "3.4028234663852886e+38", true},
	{"fb7e37e43c8800759c", "1e+300", true},
	{"f90001", "5.960464477539063e-08", true},
	{"f90400", "6.103515625e-05", true},
	{"f9c400", "-4.0", true},
	{"fbc010666666666666", "-4.1", true},
	{"f97c00", "inf", true},
	{"f97e00", "nan", true},
	{"f9fc00", "-inf", true},
	{"fa7f800000", "inf", false},
	{"fa7fc00000", "nan", false},
	{"faff800000", "-inf", false},
	{"fb7ff0000000000000", "inf", false},
	{"fb7ff8000000000000", "nan", false},
	{"fbfff0000000000000", "-inf", false},
	{"f4", "False", true},
	{"f5", "True", true},
	{"f6", "None", true},
	{"f7", "undefined", true},
	{"f0", "CBORSimpleValue(value=16)", true},
	{"f8ff", "CBORSimpleValue(value=255)", true},
	{"c074323031332d30332d32315432303a30343a30305a", "datetime.datetime(2013, 3, 21, 20, 4, tzinfo=datetime.timezone.utc)", true},
	{"c11a514b67b0", "datetime.datetime(2013, 3, 21, 20, 4, tzinfo=datetime.timezone.utc)", false},
	{"c1fb41d452d9ec200000", "datetime.datetime(2013, 3, 21, 20, 4, 0, 500000, tzinfo=datetime.timezone.utc)", false},
	{"d74401020304", `CBORTag(23, b'\x01\x02\x03\x04')`, true},
	{"d818456449455446", "CBORTag(24, b'dIETF')", true},
	{"d82076687474703a2f2f7777772e6578616d706c652e636f6d", "CBORTag(32, 'http://www.example.com')", true},
	{"40", "b''", true},
	{"4401020304", `b'\x01\x02\x03\x04'`, true},
	{"60", "''", true},
	{"6161", "'a'", true},
	{"6449455446", "'IETF'", true},
	{"62225c", `'"\\'`, true},
	{"62c3bc", "'ü'", true},
	{"63e6b0b4", "'水'", true},
	{"64f0908591", "'𐅑'", true},
	{"80", "[]", true},
	{"83010203", "[1, 2, 3]", true},
	{"8301820203820405", "[1, [2, 3], [4, 5]]", true},
	{
		"98190102030405060708090a0b0c0d0e0f101112131415161718181819",
		"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]", true,
	},
	{"a0", "{}", true},
	{"a201020304", "{1: 2, 3: 4}", true},
	{"a26161016162820203", "{'a': 1, 'b': [2, 3]}", true},
	{"826161a161626163", "['a', {'b': 'c'}]", true},
	{"a56161614161626142616361436164614461656145", "{'a': 'A', 'b': 'B', 'c': 'C', 'd': 'D', 'e': 'E'}", true},
	{"5f42010243030405ff", `b'\x01\x02\x03\x04\x05'`, false},
	{"7f657374726561646d696e67ff", "'streaming'", false},
	{"9fff", "[]", false},
	{"9f018202039f0405ffff", "[1, [2, 3], [4, 5]]", false},
	{"9f01820203820405ff", "[1, [2, 3], [4, 5]]", false},
	{"83018202039f0405ff", "[1, [2, 3], [4, 5]]", false},
	{"83019f0203ff820405", "[1, [2, 3], [4, 5]]", false},
	{
		"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
		"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]", false,
	},
	{"bf61610161629f0203ffff", "{'a': 1, 'b': [2, 3]}", false},
	{"826161bf61626163ff", "['a', {'b': 'c'}]", false},
	{"bf6346756ef563416d7421ff", "{'Fun': True, 'Amt': -2}", false},
}

func TestAppendixA(t *testing.T) {
	for _, v := range appendixA {
		item, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatal(err)
		}
		b := append([]byte{0xA1, 0x00}, item...) // {0: item}
		d, err := cbor.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			t.Errorf("%s: %v", v.hex, err)
			continue
		}
		value, _ := d.GetKey(dict.Int(0))
		if got := value.String(); got != v.repr {
			t.Errorf("%s: %s, want %s", v.hex, got, v.repr)
		}
		out, err := cbor.Codec{}.Append(nil, d)
		if err != nil || bytes.Equal(out, b) != v.preferred {
			t.Errorf("%s is written as %x, %v", v.hex, out, err)
		}
		if _, end, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(b); end != len(b) || err != nil {
			t.Errorf("%s: the scanner says %d, %v", v.hex, end, err)
		}
	}
}
