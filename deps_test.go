package dictwire_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The library links neither the engine, nor net/http, nor the command line.
func TestDependencies(t *testing.T) {
	for _, of := range []string{".", "./dict", "./codec/..."} {
		out, err := exec.Command("go", "list", "-deps", of).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 20 {
			t.Fatalf("%s: %d dependencies", of, len(deps))
		}
		for _, dep := range deps {
			for _, not := range []string{
				"github.com/cockroachdb", "github.com/dictwire/dictwire/store/log", "github.com/dictwire/dictwire/spool/disk",
				"github.com/nats-io", "github.com/dictwire/dictwire/store/nats", "github.com/dictwire/dictwire/internal/cli", "github.com/dictwire/dictwire/cmd", "github.com/spf13", "github.com/itchyny", "github.com/goccy", "github.com/santhosh-tekuri", "net/http",
			} {
				if dep == not || strings.HasPrefix(dep, not+"/") {
					t.Errorf("%s imports %s", of, dep)
				}
			}
		}
	}
}
