package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A reloading is a running serve or relay with a configuration file.
type reloading struct {
	*serve
	t    *testing.T
	path string
	said testlog.Buffer
}

func newReloading(t *testing.T, of func() *cobra.Command, text string) *reloading {
	t.Helper()
	r := &reloading{t: t, path: filepath.Join(t.TempDir(), "f.yaml")}
	r.write(text)
	cmd := of()
	(&cobra.Command{Use: "dictwire"}).AddCommand(cmd)
	if err := cmd.Flags().Set("config", r.path); err != nil {
		t.Fatal(err)
	}
	if err := settle(cmd); err != nil {
		t.Fatal(err)
	}
	c, _ := configOf(cmd)
	r.serve = c.of
	r.current, r.stderr, r.srv = cmd, &r.said, r.server()
	return r
}

func (r *reloading) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// hangUp reloads, and returns which settings are reported as applied, and which as not.
func (r *reloading) hangUp() (now, later []string) {
	r.t.Helper()
	r.reload()
	said := r.said.Take()
	named := func(before string) (all []string) {
		if m := regexp.MustCompile("(?m)^dictwire: " + before + ": (.*)$").FindStringSubmatch(said); m != nil && m[1] != "no setting has changed" {
			all = strings.Split(m[1], ", ")
		}
		return all
	}
	if !strings.Contains(said, "dictwire: reloaded: ") {
		r.t.Fatalf("it says %s", said)
	}
	return named("reloaded"), named("not before the next start")
}

// SIGHUP applies each key of the file, or reports it as waiting for the next start, as
// documented.
func TestReloadNamesAll(t *testing.T) {
	dir := t.TempDir()
	schema := filepath.Join(dir, "schema.json")
	if err := os.WriteFile(schema, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(page(t, "operations.md"), "\n**SIGHUP** ")
	text, _, _ = strings.Cut(text, "take effect, and schemas")
	for _, name := range reloaded {
		if of := regexp.MustCompile("-rate$|-timeout$|^schema$"); !of.MatchString(name) && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/operations.md does not say that SIGHUP takes over %s", name)
		}
	}
	ofServe := serveCommand().Flags()
	walked := 0
	walk := func(f *pflag.Flag, line, name string) {
		walked++
		of := serveCommand
		base := needs(f.Name)
		if serveCommand().Flags().Lookup(f.Name) == nil {
			of = relayCommand
		}
		if of().Name() == "relay" || f.Name == "to" {
			base += "to: \"127.0.0.1:1\"\n"
		}
		if f.Name == "to" {
			base, line = "to: \"127.0.0.1:1\"\n", "to: \"127.0.0.1:2\""
		}
		r := newReloading(t, of, base)
		if now, later := r.hangUp(); len(now)+len(later) > 0 {
			t.Errorf("nothing has changed, and it says %q and %q", now, later)
		}
		if f.Name == "to" {
			base = ""
		}
		r.write(base + line + "\n")
		now, later := r.hangUp()
		if all := append(slices.Clone(now), later...); !slices.Equal(all, []string{name}) || slices.Contains(reloaded, f.Name) != (len(now) == 1) {
			t.Errorf("%s: reloaded %q, and not %q", line, now, later)
		}
		if again, _ := r.hangUp(); len(again) > 0 {
			t.Errorf("%s: reloaded again: %q", line, again)
		}
	}
	for _, f := range allSettings() {
		switch f.Name {
		case "store":
			walk(f, "store: "+filepath.Join(dir, "other"), f.Name)
			continue
		case "quiet": // not reported: see TestReloadTakes
			continue
		}
		name := f.Name
		if isOfDoor(name) {
			name = keyEndpoints
		}
		walk(f, f.Name+": "+another(f), name)
	}
	walk(ofServe.Lookup("keep-age"), "topics: {a: {keep-age: 1d}}", "keep-age")
	walk(ofServe.Lookup("schema"), fmt.Sprintf("topics: {a: {schema: %q}}", schema), "schema")
	if walked < 50 {
		t.Errorf("%d keys", walked)
	}
}

// The address that a relay has as an argument is not a change, nor is its default
// directory.
func TestReloadOfRelay(t *testing.T) {
	r := newReloading(t, relayCommand, "")
	if err := give(r.current, "to", "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if dir, err := r.store.path(); err != nil || filepath.Base(dir) != "dictwire-relay" {
		t.Errorf("it stores in %s, %v", dir, err)
	}
	if now, later := r.hangUp(); len(now)+len(later) > 0 {
		t.Errorf("nothing has changed, and it says %q and %q", now, later)
	}
}

// needs returns what else a file needs for a flag.
func needs(name string) string {
	switch {
	case name == "tls-key" || name == "plaintext-from":
		return "tls-cert: a\n"
	case name == "tls-client-ca":
		return "tls-cert: a\ntokens: a\n"
	case strings.HasPrefix(name, "nats-"):
		return "store: \"nats://127.0.0.1:1\"\n"
	default:
		return ""
	}
}

// another returns a valid value of a flag, as a file has it, that is not its default.
func another(f *pflag.Flag) string {
	if c, ok := f.Value.(*choice); ok {
		return strconv.Quote(c.of[(slices.Index(c.of, c.value)+1)%len(c.of)])
	}
	switch f.Value.(type) {
	case *timeLimit, *waitTime:
		return "7m"
	case *places:
		return "7"
	}
	if text := sample(f); text != `"`+f.DefValue+`"` {
		return text
	}
	return `"other"`
}

// The settings that SIGHUP applies are the ones in effect.
func TestReloadTakes(t *testing.T) {
	st, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1, MaxStoredBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Append(t.Context(), block())[0].Err; err != nil {
		t.Fatal(err)
	}
	r := newReloading(t, serveCommand, "")
	r.disk = st
	r.write("max-stored: 1000B\ngrace: 3s\nquiet: true\ntopics: {a: {keep-age: 1d, keep-bytes: 9KiB}}\n")
	r.reload()
	if keep := r.kept.Load().keep("a"); r.grace != timeLimit(3*time.Second) || !r.quiet || keep.Age != 24*time.Hour || keep.Bytes != 9<<10 {
		t.Errorf("grace %s, quiet %v, %+v", &r.grace, r.quiet, keep)
	}
	var full *store.LimitError
	if err := st.Append(t.Context(), block())[0].Err; !errors.As(err, &full) || full.Max != 1000 {
		t.Errorf("more than may be stored: %v", err)
	}
	r.write("max-stored: 1MiB\n")
	r.reload()
	if err := st.Append(t.Context(), block())[0].Err; err != nil {
		t.Errorf("where more may be stored: %v", err)
	}
}

// block returns a block of one principal with some kilobytes.
func block() *store.Block {
	record := []byte(`{"a":"`)
	for random := rand.NewChaCha8([32]byte{}); len(record) < 4000; {
		record = fmt.Appendf(record, "%x", random.Uint64())
	}
	b := &store.Block{Topic: "a", Codec: "json", Principal: "red"}
	b.Add(append(record, `"}`...))
	return b
}
