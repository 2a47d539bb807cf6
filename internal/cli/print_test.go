package cli

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// A stalled is an output that blocks until it is released.
type stalled struct {
	release chan struct{}
	writes  [][]byte
	fail    error // of each write except the first
}

func (w *stalled) Write(p []byte) (int, error) {
	<-w.release
	if w.fail != nil && len(w.writes) > 0 {
		return 3, w.fail
	}
	w.writes = append(w.writes, bytes.Clone(p))
	return len(p), nil
}

func newTestPrinter(t *testing.T, s store.Store, w io.Writer, log io.Writer) *printer {
	t.Helper()
	flags := new(formatFlags)
	record := &written{format: flags.appenders()["json"], codecs: flags.stored()}
	p, err := newPrinter(t.Context(), s, w, record, nil, newLogger(log, "text"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func appendRecord(t *testing.T, s store.Store, topic, format, record string) {
	t.Helper()
	b := &store.Block{Topic: topic, Codec: format}
	b.Add([]byte(record))
	if r := s.Append(t.Context(), b)[0]; r.Err != nil {
		t.Error(r.Err)
	}
}

// While the output stalls, a store in memory accepts what it has room for, and then
// continues: everything is printed, once.
func TestPrinterMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, room = 200, 500_000
		s := memory.New(&memory.Options{KeepBytes: room})
		out := &stalled{release: make(chan struct{})}
		p := newTestPrinter(t, s, out, io.Discard)
		record := `{"text":"` + strings.Repeat("x", 10_000) + `"}`
		stored := 0 // when all are blocked
		var storing sync.WaitGroup
		storing.Go(func() {
			for range all {
				appendRecord(t, s, "a", "json", record)
				stored++
			}
		})
		synctest.Wait()
		if got := stored * len(record); got < room/2 || got > room {
			t.Errorf("%d bytes were stored ahead of the output, want about %d", got, room)
		}
		close(out.release)
		storing.Wait()
		if err := p.close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := bytes.Count(bytes.Join(out.writes, nil), []byte("\n")); got != all {
			t.Errorf("%d of %d were written", got, all)
		}
	})
}

// Records that a failed output did not write are counted, both those it was given and those
// stored after them.
func TestPrinterCountsLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		out := &stalled{release: make(chan struct{}), fail: errors.New("no more paper")}
		p := newTestPrinter(t, s, out, io.Discard)
		appendRecord(t, s, "a", "json", `{"first":1}`) // is written
		synctest.Wait()
		for range 4 { // wait for the next write, which fails
			appendRecord(t, s, "a", "json", `{"a":1}`)
		}
		close(out.release)
		<-p.failed
		appendRecord(t, s, "b", "json", `{"late":1}`)
		appendRecord(t, s, "_b", "json", `{"not printed":1}`)
		want := "standard output: no more paper; 5 dictionaries were received, but not printed"
		if err := p.close(t.Context()); err == nil || err.Error() != want {
			t.Errorf("close = %v, want %s", err, want)
		}
	})
}

// Records before the head at the start are not printed, and those stored until the end are.
// Records that the format can't represent are reported and left out.
func TestPrinterPrints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		appendRecord(t, s, "a", "json", `{"before":1}`)
		var out, log bytes.Buffer
		p := newTestPrinter(t, s, &out, &log)
		appendRecord(t, s, "a", "json", `{"a":1,"a":2}`) // as accepted with --duplicate-keys last
		set, err := cbor.Codec{}.Append(nil, dict.Of("tags", map[string]struct{}{"x": {}}))
		if err != nil {
			t.Fatal(err)
		}
		appendRecord(t, s, "b", "cbor", string(set))
		appendRecord(t, s, "b", "cbor", "\xa1\x61b\xf7") // undefined
		synctest.Wait()
		appendRecord(t, s, "b", "smoke", "signals")
		appendRecord(t, s, "_rejected", "json", `{"code":"schema"}`)
		appendRecord(t, s, "a", "json", `{"last":1}`)
		if err := p.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := "{\"a\":2}\n{\"tags\":{\"x\":{}}}\n{\"last\":1}\n"; out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
		for _, want := range []string{
			`msg="a dictionary can't be printed" at=\w+\.4\.0 topic=b error="/b: json can't hold .*" hint=".*--lossy`,
			`at=\w+\.5\.0 topic=b error="a record in the format \\"smoke\\"`,
		} {
			if !regexp.MustCompile(want).MatchString(log.String()) {
				t.Errorf("logged %s, want %s", log.String(), want)
			}
		}
	})
}

func TestKeep(t *testing.T) {
	var f keepFlags
	f.add(pflag.NewFlagSet("", pflag.ContinueOnError))
	for _, s := range []string{"30d", "orders.*=7d,orders.eu.*=12h", "orders.eu.x=90s", "_rejected=1h"} {
		if err := f.age.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.bytes.Set("1MiB"); err != nil {
		t.Fatal(err)
	}
	const hour = time.Hour
	for topic, want := range map[string]log.Keep{
		"a":             {Age: 30 * 24 * hour, Bytes: 1 << 20},
		"orders":        {Age: 30 * 24 * hour, Bytes: 1 << 20},
		"orders.us":     {Age: 7 * 24 * hour, Bytes: 1 << 20},
		"orders.eu.y":   {Age: 12 * hour, Bytes: 1 << 20},
		"orders.eu.x":   {Age: 90 * time.Second, Bytes: 1 << 20},
		store.Rejected:  {Age: hour, Bytes: 256 << 20},
		"_of.the.store": {},
	} {
		if got := f.keep(topic); got != want {
			t.Errorf("%s: %+v, want %+v", topic, got, want)
		}
	}
	for _, bad := range []string{"", "soon", "a..b=1h", "a=", "-1h", "a=1h,"} {
		if err := f.age.Set(bad); err == nil {
			t.Errorf("--keep-age %q is taken", bad)
		}
	}
	if err := f.bytes.Set("0"); err == nil {
		t.Error("--keep-bytes 0 is taken")
	}
}
