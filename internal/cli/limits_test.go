package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/internal/server"
)

// The table of limits in docs/operations.md lists every flag that is a limit, with its
// default.
func TestLimitsDocumented(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "operations.md"), "\n## Sizes and limits\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| .* \| (.*) \| (.*) \|$`).FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(row[2], -1) {
			documented[name[1]] = row[1]
		}
	}
	limits := 0
	serveCommand().Flags().VisitAll(func(f *pflag.Flag) {
		switch f.Value.(type) {
		case *limit, *places, *timeLimit, *byteSize, *byteLimit:
		default:
			return
		}
		if f.Name == "reserve" || f.Name == "max-stored" || f.Name == "handlers" || strings.HasPrefix(f.Name, "nats-") { // limits of the disk, of processes, of a stream
			delete(documented, f.Name)
			return
		}
		limits++
		text, ok := documented[f.Name]
		if want := inWords(f); !ok || !regexp.MustCompile(`(^|[^\d,])`+want+`\b`).MatchString(text) {
			t.Errorf("--%s is documented as %q, want %q", f.Name, text, want)
		}
		delete(documented, f.Name)
	})
	if limits < 15 {
		t.Errorf("%d limits", limits)
	}
	for name := range documented {
		t.Errorf("--%s is no limit of serve", name)
	}
}

// inWords formats a flag's default as the documentation does.
func inWords(f *pflag.Flag) string {
	switch v := f.Value.(type) {
	case *timeLimit:
		d := time.Duration(*v)
		for _, unit := range []struct {
			of   time.Duration
			name string
		}{{time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
			if d%unit.of == 0 {
				return fmt.Sprintf("%d %s", d/unit.of, unit.name)
			}
		}
	case *byteSize, *byteLimit:
		return regexp.MustCompile(`^\d+`).ReplaceAllString(v.String(), "$0 ")
	}
	text := f.DefValue
	if in := regexp.MustCompile(`\(default (\d+)`).FindStringSubmatch(f.Usage); in != nil {
		text = in[1]
	}
	n, _ := strconv.Atoi(text)
	text = fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// --dialects accepts the dialects of servers.
func TestDialectNames(t *testing.T) {
	var names []string
	for _, k := range server.Kinds() {
		names = append(names, k.Name)
	}
	for _, d := range dialects {
		names = append(names, d.Kind().Name)
	}
	if got := dialectNames(); !slices.Equal(got, names) {
		t.Errorf("%q, servers speak %q", got, names)
	}
}
