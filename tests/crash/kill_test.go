// Package crash_test kills real processes, and checks that they kept their promises.
package crash_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

var rounds = flag.Int("kill.rounds", 3, "how often to kill a server, or a command")

// perStore is how many kills one store goes through.
const perStore = 25

// TestKill kills the server at random moments under load from 8 producers, and restarts it.
// Every acknowledged record is there once and in its producer's order, and no record is
// there that was never sent.
func TestKill(t *testing.T) {
	bin := peer.Build(t)
	durability := []string{"fsync", "os"}
	for i, left := 0, *rounds; left > 0 && !t.Failed(); i, left = i+1, left-perStore {
		d := durability[i%len(durability)]
		t.Run(fmt.Sprintf("store=%d/%s", i+1, d), func(t *testing.T) { killRounds(t, bin, d, min(left, perStore)) })
	}
}

// killRounds kills the servers of one store. With every durability, what a server has
// acknowledged survives a kill of the process.
func killRounds(t *testing.T, bin, durability string, rounds int) {
	store := t.TempDir()
	flags := []string{"--store", store, "--durability", durability}
	start := func() *peer.Server { return peer.Serve(t, bin, flags...) }
	s := start()
	var addr atomic.Value
	addr.Store(s.Addr)
	l := newLog()
	var running sync.WaitGroup
	for i := range 8 {
		p := newProducer(i, durability)
		l.producers[p.Name] = &written{producer: p, rejected: map[uint64]bool{}}
		running.Go(func() {
			if err := p.Run(func() string { return addr.Load().(string) }); err != nil {
				t.Error(err)
			}
		})
	}
	defer func() {
		for _, w := range l.producers {
			w.Stop()
		}
		running.Wait()
		s.Kill(t)
		rejected := 0
		for _, w := range l.producers {
			rejected += len(w.rejected)
		}
		t.Logf("%d kills, %d records, %d rejected", rounds, l.records, rejected)
	}()
	for range rounds {
		time.Sleep(time.Duration(10+rand.IntN(200)) * time.Millisecond) // the moment is random
		s.Kill(t)
		for rand.IntN(3) == 0 { // kill it while it opens the store
			early := peer.Launch(t, bin, flags...)
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			early.Kill(t)
		}
		s = start()
		addr.Store(s.Addr)
		if err := l.verify(s.Addr); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
}

// A log is what was read back of all producers.
type log struct {
	producers map[string]*written
	from      string // where the next verification begins
	rejected  string // likewise, in the topic of rejected records
	records   int
}

// written is what was read back of one producer.
type written struct {
	*producer
	last     uint64          // the last record that was read
	checked  uint64          // every record up to this one is stored or rejected
	rejected map[uint64]bool // rejected records
}

func newLog() *log {
	return &log{producers: map[string]*written{}, from: "earliest", rejected: "earliest"}
}

// verify reads what has arrived since the last call, while the producers keep sending.
func (l *log) verify(addr string) (err error) {
	acked := map[string]uint64{}
	for name, w := range l.producers {
		acked[name], _ = w.State()
	}
	if l.from, err = peer.ReadBack(addr, "load.*", l.from, "", l.see); err != nil {
		return fmt.Errorf("reading load.*: %w", err)
	}
	// A rejected record that precedes a stored one must be there by now.
	if l.rejected, err = peer.ReadBack(addr, "_rejected", l.rejected, `,"format":"json","lossy":true`, l.seeRejected); err != nil {
		return fmt.Errorf("reading _rejected: %w", err)
	}
	for name, w := range l.producers {
		for n := w.checked + 1; n <= max(w.last, acked[name]); n++ {
			if !w.rejected[n] && (w.poisonous(n) || n > w.last) {
				return fmt.Errorf("%s: record %d is not there, with %d acked and %d stored", name, n, acked[name], w.last)
			}
		}
		w.checked = max(w.last, acked[name])
	}
	return nil
}

// see checks a stored record.
func (l *log) see(r peer.Record) error {
	l.records++
	w := l.producers[r.Producer]
	switch {
	case w == nil || r.Topic != w.Topic:
		return fmt.Errorf("a record of %q in %s, which was never sent there", r.Producer, r.Topic)
	case w.poisonous(r.Number):
		return fmt.Errorf("%s: record %d can't be read, and is stored", r.Producer, r.Number)
	case !bytes.Equal(r.Bytes, w.append(nil, r.Number)):
		return fmt.Errorf("%s: record %d is %q", r.Producer, r.Number, r.Bytes)
	}
	if _, sent := w.State(); r.Number > sent {
		return fmt.Errorf("%s: record %d was never sent", r.Producer, r.Number)
	}
	// Rejected records are in another topic.
	want := w.last + 1
	for w.poisonous(want) {
		want++
	}
	if r.Number != want {
		return fmt.Errorf("%s: record %d behind %d", r.Producer, r.Number, w.last)
	}
	w.last = r.Number
	return nil
}

// begin reports whether one of two texts is a prefix of the other: an unreadable record is
// kept together with what followed it, or only in part.
func begin(a, b []byte) bool {
	n := min(len(a), len(b))
	return n > 0 && bytes.Equal(a[:n], b[:n])
}

// seeRejected checks a rejected record.
func (l *log) seeRejected(r peer.Record) error {
	var d struct {
		Producer, Topic, Code string
		Number                uint64
		Bytes                 []byte
	}
	if err := json.Unmarshal(r.Bytes, &d); err != nil {
		return errors.Join(err, fmt.Errorf("%s", r.Bytes))
	}
	w := l.producers[d.Producer]
	switch {
	case w == nil || d.Topic != w.Topic:
		return fmt.Errorf("a rejected record of nobody: %s", r.Bytes)
	case !w.poisonous(d.Number) || d.Code != w.code(d.Number) || !begin(d.Bytes, w.append(nil, d.Number)):
		return fmt.Errorf("%s: record %d is rejected as %s: %q", d.Producer, d.Number, d.Code, d.Bytes)
	case w.rejected[d.Number]:
		return fmt.Errorf("%s: record %d is rejected twice", d.Producer, d.Number)
	}
	w.rejected[d.Number] = true
	return nil
}
