package brokertest_test

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/dictwire/dictwire/internal/brokertest"
)

// TestHosts makes one network after another, each of the same hosts, on one of which a
// program was killed just before.
func TestHosts(t *testing.T) {
	if !brokertest.Networked(t) {
		return
	}
	for i := range 3 {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			hosts := brokertest.Hosts(t, 5)
			if len(hosts) == 0 {
				return
			}
			cmd := exec.Command(hosts[0].Program("/bin/sleep"), "60")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}
