package bench

import (
	"testing"

	"github.com/tinylib/msgp/msgp"
	vmsgpack "github.com/vmihailenco/msgpack/v5"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/msgpack"
)

func BenchmarkMessagePackScan(b *testing.B) {
	s := msgpack.Codec{}.NewScanner(codec.Limits{})
	scanners := []struct {
		by   string
		scan func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool { _, end, err := s.Next(r); return err == nil && end == len(r) }},
		{"msgp", func(r []byte) bool { left, err := msgp.Skip(r); return err == nil && len(left) == 0 }},
	}
	for _, set := range sets {
		records := converted(b, set.records, msgpack.Codec{})
		for _, s := range scanners {
			b.Run(set.name+"/by="+s.by, func(b *testing.B) { each(b, records, s.scan) })
		}
	}
}

func BenchmarkMessagePackDecode(b *testing.B) {
	decoders := []struct {
		by     string
		decode func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool {
			d, err := msgpack.Codec{}.Decode(r, codec.Limits{})
			return err == nil && d.Len() > 0
		}},
		{"msgp-map", func(r []byte) bool { _, _, err := msgp.ReadMapStrIntfBytes(r, nil); return err == nil }},
		{"msgp-any", func(r []byte) bool { _, _, err := msgp.ReadIntfBytes(r); return err == nil }},
		{"vmihailenco", func(r []byte) bool { var m map[string]any; return vmsgpack.Unmarshal(r, &m) == nil }},
	}
	for _, set := range sets {
		records := converted(b, set.records, msgpack.Codec{})
		for _, d := range decoders {
			b.Run(set.name+"/by="+d.by, func(b *testing.B) { each(b, records, d.decode) })
		}
	}
}
