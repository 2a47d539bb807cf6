package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var kills = flag.Int("kill.rounds", 3, "how often to kill the client")

// TestKill kills a program with a spool at random moments while the server comes and goes.
// Everything that it reported as spooled is stored once and in order.
func TestKill(t *testing.T) {
	if dir := os.Getenv("DICTWIRE_TEST_SPOOL"); dir != "" {
		sendUntilKilled(t, dir, os.Getenv("DICTWIRE_TEST_SERVER"))
		return
	}
	st, err := log.Open(t.Context(), t.TempDir(), &log.Options{Durability: store.OS})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	srv := &server{t: t, store: st, addr: "127.0.0.1:0"}
	srv.start()
	defer srv.stop()
	dir := t.TempDir()
	said := map[string]uint64{}
	for range *kills {
		if rand.IntN(2) == 0 {
			srv.stop()
		}
		p := startSender(t, dir, srv.addr)
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the moment is random
		if srv.srv == nil {
			srv.start()
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait()
		for topic, n := range p.said() {
			if n < said[topic] {
				t.Fatalf("%s went back from %d to %d", topic, said[topic], n)
			}
			said[topic] = n
		}
		if p.stderr.Len() > 0 {
			t.Fatalf("the sender says: %s", p.stderr.String())
		}
	}
	s, err := disk.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := dial(t, s, srv.addr, dictwire.Dialer{})
	defer c.Close()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, held := range topics(t, s) {
		if held.Next <= said[held.Topic] {
			t.Errorf("%+v, and %d were said to be spooled", held, said[held.Topic])
		}
		srv.wantRecords(held.Topic, held.Next-1)
		total += held.Next - 1
	}
	if len(said) > 0 && total == 0 {
		t.Error("nothing was sent")
	}
	t.Logf("%d kills, %d records", *kills, total)
}

// A sender is a program that sends until it is killed.
type sender struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func startSender(t *testing.T, dir, addr string) *sender {
	p := &sender{cmd: exec.Command(os.Args[0], "-test.run=^TestKill$")}
	p.cmd.Env = append(os.Environ(), "DICTWIRE_TEST_SPOOL="+dir, "DICTWIRE_TEST_SERVER="+addr)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// said returns the sender's progress from its complete output lines of topic and number.
func (p *sender) said() map[string]uint64 {
	said := map[string]uint64{}
	all := p.stdout.Bytes()
	for sc := bufio.NewScanner(bytes.NewReader(all[:bytes.LastIndexByte(all, '\n')+1])); sc.Scan(); {
		var (
			topic string
			n     uint64
		)
		if _, err := fmt.Sscan(sc.Text(), &topic, &n); err == nil {
			said[topic] = max(said[topic], n)
		}
	}
	return said
}

// sendUntilKilled sends records that contain their numbers, and reports how far they are
// spooled.
func sendUntilKilled(t *testing.T, dir, addr string) {
	s, err := disk.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, addr, dictwire.Dialer{AtSpool: true})
	next := map[string]uint64{"a": 1, "b": 1}
	for _, held := range topics(t, s) {
		next[held.Topic] = held.Next
	}
	for ctx := context.Background(); ; {
		topic := []string{"a", "b"}[rand.IntN(2)]
		for range rand.IntN(200) + 1 {
			if err := c.SendAsync(ctx, topic, dict.Of("n", next[topic])); err != nil {
				t.Fatal(err)
			}
			next[topic]++
		}
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		fmt.Println(topic, next[topic]-1)
	}
}
