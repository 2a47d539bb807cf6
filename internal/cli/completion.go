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

// completionTime is how long the shell waits for a server that is asked for its names.
const completionTime = time.Second

// complete makes the shell complete what the flags of a command and of those below it
// take: words that are known, and names that the running server knows.
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
			cmd.ValidArgsFunction = fixed([]string{defaultAddr(cmd)}) // else files are offered
		}
	}
}

// defaultAddr returns where a command connects to by itself.
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

// A namesOf is a list of a server, and the key of its names.
type namesOf struct{ list, key string }

// completed are the flags that take a name of a server.
var completed = map[string]namesOf{
	"topic":    {"topics", "topic"},
	"cursor":   {"cursors", "cursor"},
	"producer": {"producers", "producer"},
}

// ask completes names that the server knows to which the command would connect. Where it
// does not answer in time, or refuses, there are none.
func (n namesOf) ask(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	asked := make(chan []string, 1)
	go func() { asked <- n.names(ctx, cmd, args, begin) }()
	select {
	case names := <-asked:
		return names, cobra.ShellCompDirectiveNoFileComp
	case <-ctx.Done(): // what reads a file, or looks up a host, can't be woken
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// mostNames is how many names are offered at most.
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

// is reports whether an entry of a list is meant: a producer writes to one topic.
func (n namesOf) is(cmd *cobra.Command, entry *dict.Dict) bool {
	topic := cmd.Flags().Lookup("topic")
	return n.list != "producers" || topic == nil || !topic.Changed || textOf(entry, "topic") == topic.Value.String()
}

// isPlain reports whether a shell takes a name as one word that means nothing else: what
// others have chosen is not to be run.
func isPlain(name string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@/"
	return strings.Trim(name, plain) == ""
}

// asking returns what asks the server that a command would connect to.
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
