package bench

import (
	"bytes"
	"errors"
	"fmt"
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
		b.Run(set.name+"/by=cpython", func(b *testing.B) {
			benchCPython(b, cpython, append(bytes.Join(set.records, []byte("\n")), "\n\n"...))
		})
	}
}

// benchCPython runs a script that measures itself: it reads the input and a number of
// rounds, and prints the nanoseconds that they took. It reports the time of a round, which
// it returns.
func benchCPython(b *testing.B, script string, input []byte) (ns float64) {
	n := max(b.N, 1)
	cmd := exec.Command("/usr/bin/python3", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, err = in.Write(input)
	b.ResetTimer() // what comes before would make b.N too small
	_, err2 := fmt.Fprintln(in, n)
	if err := errors.Join(err, err2, in.Close(), cmd.Wait()); err != nil {
		b.Fatal(err)
	}
	total, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
	if err != nil {
		b.Fatal(err)
	}
	ns = total / float64(n)
	b.ReportMetric(ns, "ns/op")
	return ns
}
