package cli

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/terminal"
)

// outputOf returns the output for a command's data.
func outputOf(cmd *cobra.Command) *terminal.Output {
	if out, ok := cmd.OutOrStdout().(*terminal.Output); ok {
		return out
	}
	return terminal.NewOutput(cmd.OutOrStdout())
}

// A jsonFlag selects a list for programs.
type jsonFlag struct{ json bool }

func (f *jsonFlag) addJSON(flags *pflag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, jsonUsage)
}

// jsonUsage documents --json.
const jsonUsage = "print JSON, an object on each line"

// write prints a dictionary as JSON.
func (*jsonFlag) write(out *terminal.Output, d *dict.Dict) error {
	line := json.Render(nil, d, nil)
	if out.Color() {
		line = terminal.AppendJSON(nil, line, false, true)
		_, err := out.Raw().Write(append(line, '\n'))
		return err
	}
	_, err := out.Write(append(line, '\n'))
	return err
}

// A listing is a command's list: a table for people, or JSON for programs. An empty list
// prints nothing.
type listing struct {
	flag  *jsonFlag
	out   *terminal.Output
	table *terminal.Table // nil for programs
	heads []string
	err   error // the first error of writing JSON
}

// listing returns an empty list. heads are the names of the table's columns.
func (f *jsonFlag) listing(cmd *cobra.Command, heads ...string) *listing {
	out := outputOf(cmd)
	return &listing{flag: f, out: out, table: terminal.NewTable(out), heads: heads}
}

// add adds an entry: d for programs, and the cells for people.
func (l *listing) add(d *dict.Dict, cells ...any) {
	if l.flag.json {
		if l.err == nil {
			l.err = l.flag.write(l.out, d)
		}
		return
	}
	l.table.Heads(l.heads...)
	l.table.Row(cells...)
}

// end prints the rest.
func (l *listing) end() error {
	if l.flag.json {
		return l.err
	}
	return l.table.Flush()
}

// timestamp returns a time for programs, or null for the zero time.
func timestamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}
