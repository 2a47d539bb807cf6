package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deaf is a peer that accepts connections and answers nothing.
const deaf = `#!/usr/bin/python3
import socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1 + sys.argv.index('--port')])))
open_ones = []
while True:
    open_ones.append(listener.accept())
`

// A peer that fails is named in the table with the reason, the others are measured, and the
// exit status is 1.
func TestPeersThatFail(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "redis-server"), []byte(deaf), 0o700); err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(dir, "peers.ndjson")
	cmd := exec.CommandContext(t.Context(), "../scripts/peers")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "DICTWIRE="+path, "OUT="+results,
		"PEERS=redis http", "BARE=", "CASES=64x1", "ROUNDS=2", "SECONDS_EACH=1", "PATIENCE=1")
	if os.Getenv("TMPDIR") == "" {
		cmd.Env = append(cmd.Env, "TMPDIR=/var/tmp") // on a disk
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // stops its servers
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit status 1", err)
	}
	for _, want := range []string{
		"\n64 × 1 | redis | 2 of 2 rounds failed | – | – | –\n",
		"\nfailed: redis, 64 × 1, round 1: not over 1 s after its time\n",
		"\nfailed: redis, 64 × 1, round 2: not over 1 s after its time\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the table does not say %q", want)
		}
	}
	measured := map[string]int{}
	file, err := os.Open(results)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r struct {
			By   string
			Rate float64 `json:"records_per_s"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		if r.Rate > 0 {
			measured[r.By]++
		}
	}
	if measured["dictwire"] != 2 || measured["http"] != 2 || measured["redis"] != 0 {
		t.Errorf("rounds with a result: %v", measured)
	}
	if t.Failed() {
		t.Logf("%s\n%s", out, stderr.Bytes())
	}
}

// A table tells of a peer that fails in some rounds, and compares it in the others; the
// chart, too, shows one that fails in all.
func TestPeersTable(t *testing.T) {
	dir := t.TempDir()
	results, chart := filepath.Join(dir, "peers.ndjson"), filepath.Join(dir, "peers.svg")
	table := func(lines ...string) (string, error) {
		if err := os.WriteFile(results, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "../scripts/peers-table", results, chart).CombinedOutput()
		return string(out), err
	}
	good := []string{
		`{"by":"dictwire","case":"1x1","round":1,"records_per_s":3000,"latency_us":{"p50":100,"p99":300}}`,
		`{"by":"redis","case":"1x1","round":1,"records_per_s":1000,"latency_us":{"p50":200,"p99":400}}`,
		`{"by":"dictwire","case":"1x1","round":2,"records_per_s":4000,"latency_us":{"p50":100,"p99":300}}`,
	}
	if out, err := table(good...); err != nil || strings.Contains(out, "failed") || !strings.Contains(out, "1 × 1 | redis | 1.0 k (1.0 k–1.0 k) | 0.20 ms | 0.40 ms | 3.00 × (3.00 ×–3.00 ×)\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	out, err := table(append(good,
		`{"by":"redis","case":"1x1","round":2,"error":"dictwire: redis: EOF\nhint: none"}`,
		`{"by":"postgres","case":"1x1","round":2,"error":"refused"}`,
		`{"by":"dictwire-bare","case":"64x1024","round":1,"error":"refused"}`,
		`{"by":"nats","case":"64x1024","round":1,"records_per_s":5000}`)...)
	if err == nil {
		t.Error("the exit status is 0")
	}
	for _, want := range []string{
		"1 × 1 | redis | 1.0 k (1.0 k–1.0 k), 1 of 2 rounds failed | 0.20 ms | 0.40 ms | 3.00 × (3.00 ×–3.00 ×)\n",
		"1 × 1 | postgres | 1 of 1 rounds failed | – | – | –\n",
		"64 × 1024 | dictwire-bare | 1 of 1 rounds failed | – | – | \n",
		"64 × 1024 | nats | 5.0 k (5.0 k–5.0 k) | – | – | –\n",
		"\nfailed: redis, 1 × 1, round 2: dictwire: redis: EOF hint: none\n",
		"\nfailed: postgres, 1 × 1, round 2: refused\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not say %q:\n%s", want, out)
		}
	}
	if svg, err := os.ReadFile(chart); err != nil || !strings.Contains(string(svg), ">PostgreSQL, INSERT</text>") || !strings.Contains(string(svg), ">failed</text>") {
		t.Errorf("the chart (%v):\n%s", err, svg)
	}
}
