package crash_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/tests/peer"
)

// TestKillStock kills the server while stock clients of all kinds send to its one port, and
// restarts it there. What a client was told is stored must be there. What it sends again
// with a key, a chunk or a number must be there once. A client that is told nothing may
// lose what was in flight at a kill, and nothing else. Since each kill takes a second or
// two, there are fewer than in [TestKill].
func TestKillStock(t *testing.T) {
	bin := peer.Build(t)
	fluent := filepath.Join(t.TempDir(), "fluent")
	build := exec.Command("go", "build", "-o", fluent, ".")
	build.Dir = "../fluent"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	tools, err := filepath.Abs("../../.tools")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NODE_PATH", filepath.Join(tools, "npm", "node_modules"))
	t.Setenv("NODE_NO_WARNINGS", "1")
	t.Setenv("PYTHONUTF8", "1")
	kills := max(*rounds/8, 3)
	t.Run("without replies", func(t *testing.T) {
		killStock(t, bin, kills, stockClients(fluent, filepath.Join(tools, "python", "bin", "python")))
	})
	t.Run("with replies", func(t *testing.T) {
		killStock(t, bin, kills, tutorialClients, "--reply")
	})
}

// A stock is an unmodified client library in a short script that prints which records it
// sends and which were acknowledged.
type stock struct {
	name    string
	command []string
	script  string // on its standard input
	promise told
}

// told is what a client may rely on.
type told uint8

const (
	once    told = iota // acknowledged records are stored, and none twice
	atLeast             // acknowledged records are stored; those in flight at a kill may be there twice
	nothing             // records in flight at a kill are stored once or not at all
	resent              // likewise, but the client resends what it considers lost
)

// killStock runs clients against servers of one store that are killed.
func killStock(t *testing.T, bin string, kills int, clients []stock, flags ...string) {
	flags = append(flags, "--listen", freePort(t), "--store", t.TempDir())
	s := peer.Serve(t, bin, flags...)
	defer func() { s.Kill(t) }()
	stop := filepath.Join(t.TempDir(), "stop")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	var all []*stockRun
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	addr := s.Addr
	for _, c := range clients {
		r := &stockRun{stock: c, attempts: map[int]int{}, acked: map[int]bool{}}
		all = append(all, r)
		ended.Go(func() { r.run(ctx, addr, stop) })
	}
	kill := func() bool {
		progress(t, all, s)
		if t.Failed() {
			return false
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond) // the moment is random
		s.Kill(t)
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		s = peer.Serve(t, bin, flags...)
		return true
	}
	for n := 0; n < kills && kill(); n++ {
	}
	progress(t, all, s)
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Error(err)
	}
	ended.Wait()
	s.Stop(t) // unacknowledged records are stored by then
	s = peer.Serve(t, bin, flags...)
	stored := map[string][]int{}
	_, err := peer.ReadBack(s.Addr, "*", "earliest", `,"format":"json","lossy":true`, func(r peer.Record) error {
		var d struct {
			Client string
			N      int
		}
		if err := json.Unmarshal(bytes.ReplaceAll(r.Bytes, []byte(`"_`), []byte(`"`)), &d); err != nil {
			return err
		}
		stored[d.Client] = append(stored[d.Client], d.N)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, r := range all {
		r.verify(t, kills, stored[r.name])
		delete(stored, r.name)
	}
	if len(stored) > 0 {
		t.Errorf("records of nobody: %v", stored)
	}
	_, err = peer.ReadBack(s.Addr, "_rejected", "earliest", `,"format":"json","lossy":true`, func(r peer.Record) error {
		return peer.Fault("rejected: %s", r.Bytes)
	})
	if err != nil {
		t.Error(err)
	}
}

// freePort returns a free address below the ephemeral ports, so that nothing takes it while
// the server is down.
func freePort(t *testing.T) string {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
}

// progress waits until each client has sent more records and, if it gets acknowledgements,
// has received some.
func progress(t *testing.T, all []*stockRun, s *peer.Server) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for _, r := range all {
		for from := r.count(); r.count() < from+5; time.Sleep(time.Millisecond) {
			if r.done() || time.Now().After(end) {
				t.Fatalf("%s does not go on:\n%s\nthe server said\n%s", r.name, &r.log, s.Log())
			}
		}
	}
}

// A stockRun is a running client and its output.
type stockRun struct {
	stock

	mu       sync.Mutex
	attempts map[int]int    // how often each record was sent
	acked    map[int]bool   // acknowledged records
	log      testlog.Buffer // the rest of the output
	ended    bool
	err      error // with which it ended
}

// run runs the client until it ends.
func (r *stockRun) run(ctx context.Context, addr, stop string) {
	err := r.play(ctx, addr, stop)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.err = true, err
}

func (r *stockRun) done() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

func (r *stockRun) play(ctx context.Context, addr, stop string) error {
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(ctx, r.command[0], r.command[1:]...)
	cmd.Env = append(os.Environ(), "NAME="+r.name, "HOST="+host, "PORT="+port, "STOP="+stop, "URL=http://"+addr+"/v1/topics/"+r.name)
	cmd.Stdin = strings.NewReader(r.script)
	cmd.Stderr = &r.log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.hear(lines.Text())
	}
	return cmd.Wait()
}

// hear parses a line of the client: sent or acked, and numbers.
func (r *stockRun) hear(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	words := strings.Fields(line)
	for _, word := range words[min(1, len(words)):] {
		n, err := strconv.Atoi(word)
		switch {
		case err == nil && words[0] == "sent":
			r.attempts[n]++
		case err == nil && words[0] == "acked":
			r.acked[n] = true
		default:
			_, _ = io.WriteString(&r.log, line+"\n")
			return
		}
	}
}

// count returns the client's progress.
func (r *stockRun) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.promise >= nothing {
		return len(r.attempts)
	}
	return len(r.acked)
}

// most returns how often a record may be stored.
func (r *stockRun) most(n int) int {
	if r.promise == atLeast {
		return r.attempts[n]
	}
	if r.promise == resent {
		return 2
	}
	return 1
}

// verify compares the numbers of the stored records, in order, with what the client was
// told.
func (r *stockRun) verify(t *testing.T, kills int, stored []int) {
	t.Helper()
	if r.err != nil {
		t.Errorf("%s: %v\n%s", r.name, r.err, &r.log)
	}
	times := map[int]int{}
	for _, n := range stored {
		times[n]++
		if r.attempts[n] == 0 {
			t.Errorf("%s: record %d was never sent", r.name, n)
		}
	}
	for i, n := range stored {
		if i > 0 && n < stored[i-1] && r.promise != atLeast && r.promise != resent {
			t.Errorf("%s: record %d comes after %d", r.name, n, stored[i-1])
		}
	}
	gaps, missing := 0, 0
	last := len(r.attempts)
	for n := 1; n <= last; n++ {
		switch {
		case times[n] > r.most(n):
			t.Errorf("%s: record %d is there %d times", r.name, n, times[n])
		case times[n] > 0:
		case r.acked[n]:
			t.Errorf("%s: record %d was acknowledged, and is not there", r.name, n)
		default:
			missing++
			if n == 1 || times[n-1] > 0 {
				gaps++
			}
		}
	}
	if gaps > kills || times[last] == 0 {
		t.Errorf("%s: %d gaps by %d kills, and the last record is there %d times", r.name, gaps, kills, times[last])
	}
	t.Logf("%-22s %5d sent, %5d acknowledged, %5d stored, %d twice, %d not", r.name, last, len(r.acked), len(times), len(stored)-len(times), missing)
}
