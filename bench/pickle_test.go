package bench

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"testing"

	ogorek "github.com/kisielk/og-rek"
	gopickle "github.com/nlpodyssey/gopickle/pickle"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/pickle"
)

// pickler writes the pickle, protocol 4, of each dictionary that it reads as a JSON line.
// Each follows its length in 4 bytes.
const pickler = `
import json, pickle, struct, sys
for line in sys.stdin:
    b = pickle.dumps(json.loads(line), 4)
    sys.stdout.buffer.write(struct.pack('>I', len(b)) + b)
`

// unpickler measures pickle.loads, which is written in C, over the pickles that it reads
// after 4-byte lengths, up to a length of zero.
const unpickler = `
import itertools, pickle, struct, sys, time
read, loads = sys.stdin.buffer.read, pickle.loads
pickles = []
while n := struct.unpack('>I', read(4))[0]: pickles.append(read(n))
for line in sys.stdin.buffer:
    some = list(itertools.islice(itertools.cycle(pickles), min(int(line), 8192)))
    rounds, rest = divmod(int(line), len(some))
    begin = time.perf_counter_ns()
    for _ in range(rounds):
        for b in some: loads(b)
    for b in some[:rest]: loads(b)
    print(time.perf_counter_ns() - begin, flush=True)
`

// pickles returns the records as pickled by real Python.
func pickles(b *testing.B, records [][]byte) [][]byte {
	b.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", pickler)
	cmd.Stdin = bytes.NewReader(append(bytes.Join(records, []byte{'\n'}), '\n'))
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	all := make([][]byte, len(records))
	for i := range all {
		n := binary.BigEndian.Uint32(out)
		all[i], out = out[4:4+n], out[4+n:]
	}
	return all
}

func BenchmarkPickleDecode(b *testing.B) {
	decoders := []struct {
		by     string
		decode func([]byte) bool
	}{
		{"dictwire", func(r []byte) bool {
			d, err := pickle.Codec{}.Decode(r, codec.Limits{})
			return err == nil && d.Len() > 0
		}},
		{"gopickle", func(r []byte) bool {
			u := gopickle.NewUnpickler(bytes.NewReader(r))
			_, err := u.Load()
			return err == nil
		}},
		{"ogorek", func(r []byte) bool { _, err := ogorek.NewDecoder(bytes.NewReader(r)).Decode(); return err == nil }},
	}
	for _, set := range sets {
		records := pickles(b, set.records)
		for _, d := range decoders {
			b.Run(set.name+"/by="+d.by, func(b *testing.B) { each(b, records, d.decode) })
		}
		b.Run(set.name+"/by=cpython", func(b *testing.B) { benchLoads(b, records) })
	}
}

func BenchmarkPickleScan(b *testing.B) {
	for _, set := range sets {
		s := pickle.Codec{}.NewScanner(codec.Limits{})
		b.Run(set.name+"/by=dictwire", func(b *testing.B) {
			each(b, pickles(b, set.records), func(r []byte) bool { _, end, err := s.Next(r); return err == nil && end == len(r) })
		})
	}
}

// benchLoads reports the time that python3 measures for its pickle.loads.
func benchLoads(b *testing.B, records [][]byte) {
	var input []byte
	total := 0
	for _, r := range records {
		total += len(r)
		input = append(binary.BigEndian.AppendUint32(input, uint32(len(r))), r...)
	}
	ns := benchCPython(b, unpickler, append(input, 0, 0, 0, 0))
	b.ReportMetric(float64(total)/float64(len(records))*1e3/ns, "MB/s")
}
