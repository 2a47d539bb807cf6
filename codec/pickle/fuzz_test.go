package pickle_test

import (
	"runtime"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/pickle"
)

// samples are pickles of plain data written by CPython, in all protocols.
var samples = []string{
	"(dp0\nVa\np1\nI1\nsVb\np2\n(lp3\nF1.5\naI01\naNasVc\np4\nL123456789012345678901L\ns.",
	"}q\x00(X\x01\x00\x00\x00aq\x01K\x01X\x01\x00\x00\x00bq\x02]q\x03(G?\xf8\x00\x00\x00\x00\x00\x00I01\nNeu.",
	"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01c__builtin__\nset\nq\x02]q\x03(K\x01K\x02e\x85q\x04Rq\x05s.",
	"\x80\x02}X\x01\x00\x00\x00acdatetime\ndatetime\nq\x00c_codecs\nencode\nX\x0b\x00\x00\x00\x07\xc3\xa4\x01\x02\x03\x04\x05\x00\x00\x06X\x06\x00\x00\x00latin1\x86R\x85Rs.",
	"\x80\x03}X\x04\x00\x00\x00uuidcuuid\nUUID\n)\x81}X\x03\x00\x00\x00intK\x05sbs.",
	"\x80\x04\x95\x29\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94s.",
	"\x80\x04}\x8c\x01z\x8c\x08datetime\x8c\x04time\x93C\x06\x81\x02\x03\x00\x00\x04cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R\x8c\x03UTCK\x01\x86R\x86Rs.",
	"\x80\x05}(\x8c\x01a\x96\x02\x00\x00\x00\x00\x00\x00\x00xy\x8c\x01b(K\x01K\x02\x91\x8c\x01c\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01u.",
}

func seeds(f *testing.F) {
	f.Helper()
	for _, s := range samples {
		f.Add([]byte(s))
	}
	for _, h := range hostile {
		if len(h.pickle) < 2000 {
			f.Add([]byte(h.pickle))
		}
	}
	g := codectest.NewGenerator(1, config().Kinds, config().Keys)
	g.Holds = config().Holds
	for range 20 {
		b, err := pickle.Codec{}.Append(nil, g.Dict())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// The samples are valid.
func TestSamples(t *testing.T) {
	for _, s := range samples {
		if d, err := (pickle.Codec{}).Decode([]byte(s), codec.Limits{}); err != nil {
			t.Errorf("%q: %v, %v", s, d, err)
		}
	}
}

// FuzzDecode checks that Decode does not panic, that its result survives encoding and
// decoding, and that its memory is bounded by the size of the input and the limits.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := codec.Limits{Items: 10_000, RecordBytes: 100_000}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = pickle.Codec{}.Decode(b, lim)
		runtime.ReadMemStats(&after)
		// 4 times the texts, 64 bytes per value, and what grows on the way.
		if size := after.TotalAlloc - before.TotalAlloc; size > uint64(1000*len(b)+10*lim.RecordBytes+100*lim.Items+1<<20) {
			t.Fatalf("%q: %d bytes of memory for %d", b, size, len(b))
		}
		codectest.RoundTrip(t, pickle.Codec{}, b, lim)
	})
}

func FuzzScanner(f *testing.F) {
	seeds(f)
	codectest.FuzzScanner(f, pickle.Codec{}, codec.Limits{RecordBytes: 4096}, 64)
}
