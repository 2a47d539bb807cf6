package cli

import (
	"context"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/dict"
	jq "github.com/dictwire/dictwire/internal/filter"
)

// filterWorkerCommand is what a server starts for a reader that has a filter. It is of no
// use to people.
func filterWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: jq.Command, Hidden: true, Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // it has no settings
		RunE:              func(cmd *cobra.Command, _ []string) error { return jq.Work(cmd.InOrStdin(), cmd.OutOrStdout()) },
	}
}

// A filter is a flag's value: an expression in jq's language.
type filter struct {
	text string
	expr *jq.Expression // nil: all dictionaries pass
}

// Set compiles an expression.
func (f *filter) Set(s string) (err error) {
	f.text = s
	f.expr, err = jq.Compile(s)
	return err
}

func (f *filter) String() string { return f.text }

// Type names the value in help texts.
func (*filter) Type() string { return "jq" }

// run yields the results of the expression for a dictionary: see [jq.Expression.Run].
func (f *filter) run(ctx context.Context, d *dict.Dict) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		if f.expr == nil {
			yield(d, nil)
			return
		}
		for v, err := range f.expr.Run(ctx, d, unlimited) {
			if err != nil {
				err = fmt.Errorf("--filter: %w", err)
			}
			if !yield(v, err) {
				return
			}
		}
	}
}
