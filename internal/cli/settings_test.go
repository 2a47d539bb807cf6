package cli

import (
	"testing"

	"github.com/spf13/pflag"
)

// Flags that share a variable have the same meaning and the same text.
func TestVariables(t *testing.T) {
	same := map[string]bool{
		"DICTWIRE_STORE":       true, // for serve it may be memory
		"DICTWIRE_PRINCIPAL":   true, // for a cursor or a producer
		"DICTWIRE_ACCEPT_LOST": true, // for send or relay
	}
	seen := make(map[string]*pflag.Flag)
	for _, cmd := range below(Root()) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := variable(cmd, f)
			other, ok := seen[name]
			seen[name] = f
			if !ok || f.Name == "help" || f.Name == "no-descriptions" {
				return
			}
			if f.Name != other.Name || f.Value.Type() != other.Value.Type() || !same[name] && f.Usage != other.Usage {
				t.Errorf("%s is --%s %s of %s, %q, and --%s %s of another command, %q",
					name, f.Name, f.Value.Type(), cmd.CommandPath(), f.Usage, other.Name, other.Value.Type(), other.Usage)
			}
		})
	}
	for name := range same {
		if seen[name] == nil {
			t.Errorf("no flag has %s", name)
		}
	}
	for _, name := range []string{"DICTWIRE_TAIL_FROM", "DICTWIRE_CURSOR_RESET_TO", "DICTWIRE_RELAY_STORE", "DICTWIRE_STORE_FORGET_PRODUCER_TOPIC", "DICTWIRE_TAIL_COLUMNS"} {
		if seen[name] == nil {
			t.Errorf("no flag has %s", name)
		}
	}
}
