package cli

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/dict"
)

// completionTime is how long the shell waits for a server's names.
const completionTime = time.Second

// complete makes the shell complete flag values: fixed words, and names that the running
// server knows.
func complete(root *cobra.Command) {
	for _, cmd := range append([]*cobra.Command{root}, below(root)...) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if words, ok := f.Value.(*choice); ok {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, fixed(words.of))
				return
			}
			if list, ok := completed[f.Name]; ok && cmd.Flags().Lookup("addr") != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, list.ask)
			}
		})
		if cmd.ValidArgsFunction == nil && cmd.Flags().Lookup("addr") != nil {
			cmd.ValidArgsFunction = fixed([]string{defaultAddr(cmd)}) // otherwise files are offered
		}
	}
}

// defaultAddr returns the address that a command connects to by default.
func defaultAddr(cmd *cobra.Command) string { return cmd.Flags().Lookup("addr").DefValue }

// fixed completes words.
func fixed(words []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begin string) (found []string, _ cobra.ShellCompDirective) {
		for _, word := range words {
			if strings.HasPrefix(word, begin) {
				found = append(found, word)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// A namesOf is a list of a server, and the key of the names in it.
type namesOf struct{ list, key string }

// completed maps flags to the names that complete them.
var completed = map[string]namesOf{
	"topic":    {"topics", "topic"},
	"cursor":   {"cursors", "cursor"},
	"producer": {"producers", "producer"},
}

// ask completes names known to the server that the command would connect to. It offers
// none if the server refuses, or does not answer in time.
func (n namesOf) ask(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	asked := make(chan []string, 1)
	go func() { asked <- n.names(ctx, cmd, args, begin) }()
	select {
	case names := <-asked:
		return names, cobra.ShellCompDirectiveNoFileComp
	case <-ctx.Done(): // reading a file or looking up a host can't be interrupted
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// mostNames is the most names that are offered.
const mostNames = 1000

func (n namesOf) names(ctx context.Context, cmd *cobra.Command, args []string, begin string) []string {
	o, err := asking(cmd, args)
	if err != nil {
		return nil
	}
	found, query := map[string]bool{}, url.Values{}
	for len(found) < mostNames {
		page, err := o.ask(ctx, "/v1/"+n.list+"?"+query.Encode())
		if err != nil {
			return nil
		}
		entries, _ := page.Get(n.list)
		for entry := range entries.Items() {
			d, ok := entry.Dict()
			if name := textOf(d, n.key); ok && strings.HasPrefix(name, begin) && isPlain(name) && n.is(cmd, d) {
				found[name] = true
			}
		}
		next := textOf(page, "next")
		if next == "" || next == query.Get("after") {
			break
		}
		query.Set("after", next)
	}
	names := slices.Sorted(maps.Keys(found))
	return names[:min(len(names), mostNames)]
}

// is reports whether an entry of the list fits the command: a producer writes to one
// topic.
func (n namesOf) is(cmd *cobra.Command, entry *dict.Dict) bool {
	topic := cmd.Flags().Lookup("topic")
	return n.list != "producers" || topic == nil || !topic.Changed || textOf(entry, "topic") == topic.Value.String()
}

// isPlain reports whether a shell takes a name as one plain word. Names are chosen by
// others, and must not be run.
func isPlain(name string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@/"
	return strings.Trim(name, plain) == ""
}

// asking returns an operator for the server that a command would connect to.
func asking(cmd *cobra.Command, args []string) (*operator, error) {
	if err := fromEnvironment(cmd); err != nil {
		return nil, err
	}
	o := new(operator)
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.add(flags)
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if given := cmd.Flags().Lookup(f.Name); given != nil && given.Changed && f.Name != "wait" && failed == nil {
			failed = f.Value.Set(given.Value.String())
		}
	})
	if failed != nil {
		return nil, failed
	}
	_, err := o.arguments(cmd, args)
	return o, err
}
