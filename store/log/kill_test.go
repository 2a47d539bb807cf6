package log_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var rounds = flag.Int("kill.rounds", 10, "how often to kill a process that rewrites segments")

// TestKill kills a process that appends to a topic that is kept and to one that is trimmed,
// so that segments are rewritten and freed, and that makes backups. All acknowledged
// records are there, the newest backup has those that were acknowledged before it, and no
// damage is reported.
func TestKill(t *testing.T) {
	if dir := os.Getenv("DICTWIRE_TEST_KILL"); dir != "" {
		if err := rewriting(dir); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	records, anew, copies := uint64(0), 0, 0
	for round := range testrand.Many(*rounds) {
		acked := runBusy(t, dir, time.Duration(20+rand.IntN(300))*time.Millisecond)
		names, _ := filepath.Glob(dir + "/log-*-*.seg")
		anew += len(names)
		s, last := openKept(t, dir)
		if last < acked {
			t.Fatalf("round %d: %d was acknowledged, and %d is the last", round, acked, last)
		}
		if last > 3000 { // so that the next round does not have to read more
			head, err := s.Head(t.Context())
			if err := errors.Join(err, s.Trim(t.Context(), "kept", head)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		found, _ := filepath.Glob(dir + ".copy-*")
		for _, name := range found {
			if strings.HasSuffix(name, ".part") {
				continue
			}
			copies++
			c, in := openKept(t, name)
			if in > last {
				t.Fatalf("round %d: %d is in a copy, and %d in the store", round, in, last)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range found {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
		records = max(records, last)
	}
	t.Logf("%d records, %d files that were rewritten, %d copies", records, anew, copies)
	if *rounds >= 10 && !testing.Short() && (anew == 0 || copies == 0) {
		t.Error("nothing was rewritten or copied")
	}
}

// runBusy runs a process that uses the store, kills it, and returns what it acknowledged.
func runBusy(t *testing.T, dir string, d time.Duration) (acked uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "DICTWIRE_TEST_KILL="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	var b [8]byte
	if _, err := io.ReadFull(in, b[:]); err != nil { // the store is open
		t.Fatal(err, cmd.Wait())
	}
	kill := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			break
		}
		acked = binary.LittleEndian.Uint64(b[:])
	}
	_ = cmd.Wait() // it was killed
	if cmd.ProcessState.Exited() {
		t.Fatalf("it ended: %v", cmd.ProcessState)
	}
	return acked
}

// openKept opens a store, and returns the number of the last record in the topic that is
// kept. All earlier records that were not trimmed must be there.
func openKept(t *testing.T, dir string) (s *log.Store, last uint64) {
	t.Helper()
	s, err := log.Open(t.Context(), dir, &log.Options{
		MaxSegment: 128 << 10, KeepEvery: -1, Damaged: func(d log.Damage) { t.Errorf("%s: %v", dir, d) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if last, err = lastKept(s); err != nil {
		t.Fatal(err)
	}
	return s, last
}

func lastKept(s *log.Store) (last uint64, err error) {
	p := store.Producer{Topic: "kept", Name: "p"}
	for b, err := range s.Read(context.Background(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
		if err != nil {
			return 0, err
		}
		if b.Block == nil {
			continue
		}
		if last > 0 && b.Block.First != last+1 {
			return 0, fmt.Errorf("record %d comes after %d", b.Block.First, last)
		}
		last = b.Block.First
	}
	c, err := s.Claim(context.Background(), p, store.ClaimRequest{})
	if err == nil && last > 0 && c.Next != last+1 {
		err = fmt.Errorf("the next record is %d, and %d is the last", c.Next, last)
	}
	return c.Next - 1, err
}

// rewriting uses a store until the process is killed, and writes the number of each record
// of the topic that is kept to standard output.
func rewriting(dir string) error {
	ctx := context.Background()
	s, err := log.Open(ctx, dir, &log.Options{MaxSegment: 128 << 10, KeepEvery: -1})
	if err != nil {
		return err
	}
	p := store.Producer{Topic: "kept", Name: "p"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		return err
	}
	tell := func(n uint64) error {
		_, err := os.Stdout.Write(binary.LittleEndian.AppendUint64(nil, n))
		return err
	}
	if err := tell(0); err != nil {
		return err
	}
	failed := make(chan error, 4)
	go func() {
		for n := c.Next; ; n++ {
			b := &store.Block{Topic: "kept", Codec: "json", Producer: p, Epoch: c.Epoch, First: n}
			b.Add(noise(int(n), 600))
			if err := errors.Join(s.Append(ctx, b)[0].Err, tell(n)); err != nil {
				failed <- err
				return
			}
		}
	}()
	go func() {
		for n := 0; ; n++ {
			b := &store.Block{Topic: "gone", Codec: "json"}
			b.Add(noise(n, 3000))
			if err := s.Append(ctx, b)[0].Err; err != nil {
				failed <- err
				return
			}
		}
	}()
	go func() {
		for {
			head, err := s.Head(ctx)
			if err := errors.Join(err, s.Trim(ctx, "gone", head), s.Tidy(ctx)); err != nil {
				failed <- err
				return
			}
		}
	}()
	go func() {
		for n := 0; ; n++ {
			if err := s.Backup(ctx, fmt.Sprintf("%s.copy-%d", dir, n)); err != nil {
				failed <- err
				return
			}
			if err := os.RemoveAll(fmt.Sprintf("%s.copy-%d.part", dir, n-1)); err != nil {
				failed <- err
				return
			}
			// One of the two is always whole.
			if err := os.Rename(fmt.Sprintf("%s.copy-%d", dir, n-1), fmt.Sprintf("%s.copy-%d.part", dir, n-1)); err != nil && n > 0 {
				failed <- err
				return
			}
		}
	}()
	return <-failed
}
