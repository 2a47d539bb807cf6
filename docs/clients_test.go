package docs_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// TestClientTable runs each line of README's table of clients, and compares what arrives.
func TestClientTable(t *testing.T) {
	bin, err := filepath.Abs("../.tools/python/bin")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(read(t, "../README.md"), "| client | what to type | what arrives |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := strings.Split(table, "\n")[1:]
	if len(rows) < 10 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		cells := regexp.MustCompile(` \| `).Split(strings.Trim(row, "| "), -1)
		if len(cells) != 3 {
			t.Fatalf("not a row: %s", row)
		}
		t.Run(cells[0], func(t *testing.T) {
			t.Parallel()
			st := memory.New(nil)
			srv := &dictwire.Server{Store: st, Dialects: []dictwire.Dialect{web.Dialect, forward.Dialect}}
			_, port, _ := net.SplitHostPort(servertest.Start(t, srv))
			typed := strings.ReplaceAll(strings.ReplaceAll(strings.Trim(cells[1], "`"), `\|`, "|"), "65432", port)
			cmd := exec.CommandContext(t.Context(), "bash", "-c", typed)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", typed, err, out)
			}
			want := quoted.FindAllStringSubmatch(cells[2], -1)
			servertest.Await(t, st, len(want)) // a client may be gone before its connection is accepted
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			var arrived []string // each record as Python writes it, after its topic
			for r := range servertest.Records(t, st) {
				arrived = append(arrived, r.Topic+": "+r.Dict(t).String())
			}
			if len(arrived) != len(want) {
				t.Fatalf("arrived: %q", arrived)
			}
			for i, w := range want {
				begin, part := strings.CutSuffix(w[1], "…")
				if !strings.HasPrefix(arrived[i], begin) || !part && arrived[i] != w[1] {
					t.Errorf("arrived: %s\nwant     %s", arrived[i], w[1])
				}
			}
		})
	}
}
