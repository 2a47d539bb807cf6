package bench

import (
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
)

// converted converts JSON records to another format.
func converted(b *testing.B, records [][]byte, to codec.Codec) [][]byte {
	b.Helper()
	all := make([][]byte, len(records))
	for i, r := range records {
		d, err := json.Codec{}.Decode(r, codec.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if all[i], err = to.Append(nil, d); err != nil {
			b.Fatal(err)
		}
	}
	return all
}

func BenchmarkCBORScan(b *testing.B) {
	s := cbor.Codec{}.NewScanner(codec.Limits{})
	scanners := []struct {
		by   string
		scan func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool { _, end, err := s.Next(r); return err == nil && end == len(r) }},
		{"fxamacker", func(r []byte) bool { return fxcbor.Wellformed(r) == nil }},
	}
	for _, set := range sets {
		records := converted(b, set.records, cbor.Codec{})
		for _, s := range scanners {
			b.Run(set.name+"/by="+s.by, func(b *testing.B) { each(b, records, s.scan) })
		}
	}
}

func BenchmarkCBORDecode(b *testing.B) {
	decoders := []struct {
		by     string
		decode func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool {
			d, err := cbor.Codec{}.Decode(r, codec.Limits{})
			return err == nil && d.Len() > 0
		}},
		{"fxamacker-map", func(r []byte) bool { var m map[string]any; return fxcbor.Unmarshal(r, &m) == nil }},
		{"fxamacker-any", func(r []byte) bool { var m any; return fxcbor.Unmarshal(r, &m) == nil }},
	}
	for _, set := range sets {
		records := converted(b, set.records, cbor.Codec{})
		for _, d := range decoders {
			b.Run(set.name+"/by="+d.by, func(b *testing.B) { each(b, records, d.decode) })
		}
	}
}
