package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/internal/cli"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A leakCheck runs the tests and then looks for leaked goroutines.
type leakCheck struct{ *testing.M }

func (m leakCheck) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(leakCheck{m}, map[string]func(){
		"dictwire": func() {
			os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScript runs the real commands as the scripts in testdata/script say.
func TestScript(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"nc.openbsd", "script", "curl", "sqlite3", "tmux", "/usr/bin/python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("these tests need %s: %v", program, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each program would exit a second later
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":  await,
			"ends":   ends,
			"fill":   fill,
			"guard":  guard,
			"guide":  guide,
			"hold":   hold,
			"pane":   pane,
			"press":  press,
			"resize": resize,
			"save":   save,
			"shows":  shows,
			"status": status,
		},
	})
}

// await FILE REGEXP [VARIABLE] waits until a file that a background program writes matches,
// and sets the variable to the first group.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [VARIABLE]")
	}
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err = os.ReadFile(ts.MkAbs(args[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Check(err)
		}
		found := want.FindSubmatch(text)
		if found == nil {
			continue
		}
		if len(args) == 3 {
			ts.Setenv(args[2], string(found[1]))
		}
		return
	}
	ts.Fatalf("%s never matched %s: %q", args[0], args[1], text)
}

// guard ADDR runs a server for peers with a token, which is also their name, until the
// script ends.
func guard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: guard ADDR")
	}
	network, path, _ := strings.Cut(args[0], ":")
	l, err := dictwire.Listen(context.Background(), network+":"+ts.MkAbs(path))
	ts.Check(err)
	srv := &dictwire.Server{Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		if !strings.HasPrefix(c.Token, "secret-of-") {
			return access.Grant{}, dictwire.ErrUnauthenticated
		}
		return access.Grant{Principal: strings.TrimPrefix(c.Token, "secret-of-")}, nil
	}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	ts.Defer(func() {
		_ = srv.Close()
		<-served
	})
}

// status N PROGRAM… runs a program that must exit with code N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// open opens the store in a directory until close.
func open(ts *testscript.TestScript, dir string) (s *log.Store, closing func()) {
	s, err := log.Open(context.Background(), ts.MkAbs(dir), &log.Options{KeepEvery: -1})
	ts.Check(err)
	return s, func() { ts.Check(s.Close()) }
}

// fill DIR TOPIC FORMAT FILE stores each line of a file (JSON for json, a Python literal
// for any other format) as a block of the producer p.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: fill DIR TOPIC FORMAT FILE")
	}
	ctx := context.Background()
	s, closing := open(ts, args[0])
	defer closing()
	p := store.Producer{Principal: store.Anonymous, Topic: args[1], Name: "p"}
	claim, err := s.Claim(ctx, p, store.ClaimRequest{})
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[3])) {
		record := []byte(strings.TrimSuffix(line, "\n"))
		if args[2] != "json" {
			d, err := python.Codec{}.Decode(record, codec.Limits{})
			ts.Check(err)
			record, err = cbor.Codec{}.Append(nil, d)
			ts.Check(err)
		}
		b := &store.Block{Topic: args[1], Codec: args[2], Principal: p.Principal, Producer: p, Epoch: claim.Epoch, First: claim.Next}
		b.Add(record)
		ts.Check(s.Append(ctx, b)[0].Err)
		claim.Next++
	}
}

// save DIR CURSOR TOPICS BLOCK saves a cursor at the beginning of a block.
func save(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: save DIR CURSOR TOPICS BLOCK")
	}
	ctx := context.Background()
	s, closing := open(ts, args[0])
	defer closing()
	at, err := s.Head(ctx)
	ts.Check(err)
	at.Block, err = strconv.ParseUint(args[3], 10, 64)
	ts.Check(err)
	ts.Check(s.Reset(ctx, store.CursorName{Principal: store.Anonymous, Name: args[1], Subscription: args[2]}, at))
}

// hold DIR keeps a store open until the script ends.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold DIR")
	}
	_, closing := open(ts, args[0])
	ts.Defer(closing)
}
