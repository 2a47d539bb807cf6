package servertest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/log"
)

const variable = "DICTWIRE_TEST_SERVE"

// Main is the TestMain of a package that spawns servers: with [Spawn], its program is
// one, which speaks the dialects.
func Main(m *testing.M, dialects ...dictwire.Dialect) {
	if dir := os.Getenv(variable); dir != "" {
		panic(serve(dir, dialects))
	}
	goleak.VerifyTestMain(m)
}

// serve serves a store until it is killed, and says on standard output where.
func serve(dir string, dialects []dictwire.Dialect) error {
	s, err := log.Open(context.Background(), dir, &log.Options{Reserve: -1})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	srv := &dictwire.Server{Store: s, Dialects: dialects}
	return srv.Serve(dictwire.Endpoint{Listener: l})
}

// Spawn serves the store in a directory by a process of its own, until it is killed.
func Spawn(t testing.TB, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}
