package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/servertest"
)

// The programs in guide/go.md work: the first one runs against a server of this process,
// and the others compile.
func TestGoGuide(t *testing.T) {
	programs := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(read(t, "guide/go.md"), -1)
	if len(programs) < 2 {
		t.Fatalf("%d programs", len(programs))
	}
	addr := servertest.Start(t, new(dictwire.Server))
	for i, program := range programs {
		args := []string{"build", "-o", os.DevNull}
		if i == 0 {
			args = []string{"run"}
		}
		text := strings.ReplaceAll(program[1], address.Default, addr)
		out, err := goTool(t, text, args...)
		if err != nil || i == 0 && out != "1000 orders\n" {
			t.Errorf("program %d: %v\n%s", i+1, err, out)
		}
	}
}

// goTool runs the go command on a program as if it were a package of this module.
func goTool(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("guide/program/main.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{here: file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", append(args, "-overlay", overlay, "./guide/program")...).CombinedOutput()
	return string(out), err
}
