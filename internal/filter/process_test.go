package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Command {
		if err := Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// begin starts a worker, which must be gone at the end of the test.
func begin(t *testing.T, expression string) *process {
	t.Helper()
	f, err := New(2).Start(t.Context(), "me", expression)
	if err != nil {
		t.Fatal(err)
	}
	p := f.(*process)
	t.Cleanup(func() {
		p.Close()
		if err := syscall.Kill(p.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the worker is there after its end: %v", err)
		}
	})
	return p
}

// one sends a record and returns the results as text.
func one(t *testing.T, f dialect.Filter, format, record string) string {
	t.Helper()
	if err := f.Send(format, []uint32{uint32(len(record))}, []byte(record)); err != nil {
		t.Fatal(err)
	}
	made, err := f.Receive()
	if err != nil {
		return "! " + err.Error()
	}
	return told(made)
}

func told(made dialect.Filtered) string {
	if made.Failed != "" {
		return "? " + made.Failed
	}
	var all []string
	for _, r := range made.Results {
		all = append(all, [...]string{"selected", "dictionary ", "value "}[r.Kind]+string(r.JSON))
	}
	return strings.Join(all, ", ")
}

// A worker evaluates its expression, and has no access to anything else: no environment,
// other input, modules or files.
func TestWorker(t *testing.T) {
	t.Setenv("DICTWIRE_SECRET", "s3cret")
	for _, c := range []struct{ expression, record, want string }{
		{".", `{"a":1}`, "selected"},
		{"select(.a > 1)", `{"a":1}`, ""},
		{".,.", `{"a":1}`, "selected, selected"},
		{"{b: .a}", `{"a":1}`, `dictionary {"b":1}`},
		{".a", `{"a":1e400}`, `value "1E+400"`},
		{".a, null, [.a]", `{"a":36893488147419103232}`, `value 36893488147419103232, value null, value [36893488147419103232]`},
		{".a", `{"a":1,"a":2}`, "value 2"}, // as stored by a server that allows it
		{".a.b", `{"a":1}`, "? expected an object but got: number (1)"},
		{"env, $ENV", `{}`, "dictionary {}, dictionary {}"},
		{`env | tojson`, `{}`, `value "{}"`},
		{"[0 | localtime | mktime]", `{}`, "value [0]"},
		{`"x" * 2000000`, `{}`, "? its result is not a value of at most 1048576 bytes and 128 levels (too_large)"},
		{"repeat(.)", `{"a":1}`, "? more than 1000 results, or 1048576 bytes of them"},
		{"range(infinite)", `{"a":1}`, "? more than 1000 results, or 1048576 bytes of them"},
		{"[limit(1000; repeat(1))] | length", `{"a":1}`, "value 1000"},
		{"reduce range(200) as $i (.; [.])", `{}`, "? its result is not a value of at most 1048576 bytes and 128 levels (too_deep)"},
		{"reduce range(200) as $i (.; {a: .})", `{}`, "? its result is not a value of at most 1048576 bytes and 128 levels (too_deep)"},
		{"halt_error", `{}`, "? "},
	} {
		p := begin(t, c.expression)
		if got := one(t, p, "json", c.record); got != c.want && (c.want != "? " || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %s: %s\nwant %s", c.expression, c.record, got, c.want)
		}
		if got := one(t, p, "json", "{}"); strings.HasPrefix(got, "!") {
			t.Errorf("%s: after it: %s", c.expression, got)
		}
		p.Close()
	}
	p := begin(t, ".")
	if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid)); runtime.GOOS == "linux" && (err != nil || string(environ) != environment+"\x00") {
		t.Errorf("its environment: %q, %v", environ, err)
	}
	if got := one(t, p, "pickle", "x"); got != `? a filter can't read the format "pickle"` {
		t.Error(got)
	}
	for _, c := range []struct {
		expression, want string
		offset           int
	}{
		{".a |", "unexpected EOF", 4},
		{".a ) .b", `unexpected token ")"`, 4},
		{"nonsense", "function not defined: nonsense/0", -1},
		{"input", "input(s)/0 is not allowed", -1},
		{"[inputs]", "input(s)/0 is not allowed", -1},
		{"input_filename", "function not defined: input_filename/0", -1},
		{"$__loc__", "variable not defined: $__loc__", -1},
		{`import "a" as a; a::f`, `cannot load module: "a"`, -1},
		{`include "a"; f`, `cannot load module: "a"`, -1},
		{`import "/etc/passwd" as $p; $p`, `cannot load module: "/etc/passwd"`, -1},
		{`"m" | modulemeta`, "", -1},
		{strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "", 0},
		{strings.Repeat(".a|", 2000), "6000 bytes, want at most 4096", -1},
	} {
		f, err := New(1).Start(t.Context(), "", c.expression)
		if err == nil {
			if c.want != "" {
				t.Errorf("%.40s: no error", c.expression)
			} else if got := one(t, f, "json", "{}"); strings.HasPrefix(got, "value") && c.offset < 0 {
				t.Errorf("%.40s: %s", c.expression, got)
			}
			f.Close()
			continue
		}
		var bad *dialect.ExpressionError
		if !errors.As(err, &bad) || bad.Text != c.want || bad.Offset != c.offset {
			t.Errorf("%.40s: %v\nwant %s, at byte %d", c.expression, err, c.want, c.offset)
		}
	}
}

// peakOf returns the peak resident memory of a process.
func peakOf(pid int, ended <-chan struct{}) (peak int) {
	for {
		select {
		case <-ended:
			return peak
		case <-time.After(5 * time.Millisecond):
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			var kib int
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
				peak = max(peak, kib<<10)
			}
		}
	}
}

// The largest record that a server accepts by default can be filtered, whatever is in it.
func TestLargeRecord(t *testing.T) {
	p := begin(t, "select(.a | length > 0)")
	for _, part := range []string{"1,", "{},", `{"a":1},`, `"",`, "[1.5],", `"` + strings.Repeat("x", 1000) + `",`} {
		n := (1<<20 - 20) / len(part)
		record := `{"a":[` + strings.TrimSuffix(strings.Repeat(part, n), ",") + "]}"
		if got := one(t, noSend{p}, "json", record); got != "selected" {
			t.Fatalf("%d times %.20s: %.200s: %s", n, part, got, p.said.String())
		}
	}
}

// Any number of records can be sent without waiting for results of any size: neither end
// waits for the other forever.
func TestPipeline(t *testing.T) {
	p := begin(t, `if .n % 1000 == 0 then {n, big: ("x" * 300000)} elif .n % 2 == 0 then . else empty end`)
	const n = 20_000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			record := fmt.Sprintf(`{"n":%d}`, i)
			if err := p.Send("json", []uint32{uint32(len(record))}, []byte(record)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		made, err := p.Receive()
		if err != nil {
			t.Fatal(i, err)
		}
		want := ""
		switch {
		case i%1000 == 0:
			want = fmt.Sprintf(`dictionary {"big":"%s","n":%d}`, strings.Repeat("x", 300_000), i)
		case i%2 == 0:
			want = "selected"
		}
		if got := told(made); got != want {
			t.Fatalf("%d: %.100s\nwant %.100s", i, got, want)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// A worker ends with its request, with its server, and when it is killed. Its place is then
// free, and other filters work.
func TestEnds(t *testing.T) {
	f := New(3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := func(ctx context.Context, owner string) *process {
		t.Helper()
		p, err := f.Start(ctx, owner, ".")
		if err != nil {
			t.Fatal(err)
		}
		return p.(*process)
	}
	refused := func(owner, want string) {
		t.Helper()
		_, err := f.Start(t.Context(), owner, ".")
		var is *fault.Error
		if !errors.As(err, &is) || is.Code != fault.Unavailable || is.Retry == 0 || is.Text != want {
			t.Fatalf("%v\nwant %s", err, want)
		}
	}
	a, b := start(ctx, "a"), start(t.Context(), "a")
	refused("a", "all 2 of your filters are in use")
	c := start(t.Context(), "b")
	refused("c", "all 3 filters are in use")

	cancel() // the request has ended
	if _, err := a.Receive(); err == nil {
		t.Error("a worker lives on without its request")
	}
	a.Close()
	a = start(t.Context(), "c")

	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := one(t, noSend{b}, "json", "{}"); got != "! the filter's process has ended" {
		t.Error(got)
	}
	start(t.Context(), "a").Close() // the killed worker's place is free

	if err := c.in.Close(); err != nil { // its server is gone
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.out); err != nil {
		t.Error(err)
	}
	for _, p := range []*process{a, b, c} {
		p.Close()
		p.Close()
	}
	if f.all != 0 || len(f.owned) != 0 {
		t.Errorf("%d places are taken, of %v", f.all, f.owned)
	}
}

// noSend is a filter whose process may be gone already.
type noSend struct{ *process }

func (n noSend) Send(format string, lengths []uint32, data []byte) error {
	_ = n.process.Send(format, lengths, data)
	return nil
}

// A worker whose server has gone while it computes uses no more than its processor time.
func TestSpendsNoMore(t *testing.T) {
	p := begin(t, "def f: f; f")
	p.late.Stop()
	_ = p.Send("json", []uint32{2}, []byte("{}"))
	began := time.Now()
	_, _ = p.out.ReadByte() // the server's clock does not run
	err := p.fault(io.EOF)
	if !strings.Contains(p.said.String(), "SIGXCPU") || time.Since(began) > 60*time.Second {
		t.Errorf("%v after %v: %q", err, time.Since(began), p.said.String())
	}
}
