package bench

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// cpython measures repr over dictionaries that it reads as JSON lines. For each number that
// it reads after them, it prints the nanoseconds of that many calls, in rotation over the
// dictionaries.
const cpython = `
import itertools, json, sys, time
dicts = []
for line in sys.stdin:
    if line == '\n': break
    dicts.append(json.loads(line))
for line in sys.stdin:
    some = list(itertools.islice(itertools.cycle(dicts), min(int(line), 8192)))
    rounds, rest = divmod(int(line), len(some))
    begin = time.perf_counter_ns()
    for _ in range(rounds):
        for d in some: repr(d)
    for d in some[:rest]: repr(d)
    print(time.perf_counter_ns() - begin, flush=True)
`

func BenchmarkRepr(b *testing.B) {
	for _, set := range sets {
		b.Run(set.name+"/by=dictwire", func(b *testing.B) {
			values := make([]dict.Value, len(set.records))
			for i, r := range set.records {
				d, err := json.Codec{}.Decode(r, codec.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				values[i] = d.Value()
			}
			var buf []byte
			i := 0
			for b.Loop() {
				buf = dict.AppendRepr(buf[:0], values[i%len(values)], dict.Python311)
				i++
			}
		})
		b.Run(set.name+"/by=cpython", func(b *testing.B) { benchCPython(b, set.records) })
	}
}

// benchCPython reports the time that python3 measures for its repr.
func benchCPython(b *testing.B, records [][]byte) {
	cmd := exec.Command("/usr/bin/python3", "-c", cpython)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(in)
	for _, r := range records {
		w.Write(r)
		w.WriteByte('\n')
	}
	w.WriteByte('\n')
	n := max(b.N, 1)
	fmt.Fprintln(w, n)
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	_ = in.Close()
	b.ResetTimer()
	answer, err := io.ReadAll(out)
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(answer)), 64)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ns/float64(n), "ns/op")
}
