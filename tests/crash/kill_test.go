// Package crash_test kills real processes, and looks whether they kept their
// promises.
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
)

var rounds = flag.Int("kill.rounds", 3, "how often to kill the server")

// perStore is how many kills one store is put through.
const perStore = 25

// TestKill kills the server at random moments under load from 8 producers, and
// starts it again. Every record that was acked is there, once and in its
// producer's order, and no record that was never sent.
func TestKill(t *testing.T) {
	bin := build(t)
	durability := []string{"fsync", "os"}
	for i, left := 0, *rounds; left > 0 && !t.Failed(); i, left = i+1, left-perStore {
		d := durability[i%len(durability)]
		t.Run(fmt.Sprintf("store=%d/%s", i+1, d), func(t *testing.T) { killRounds(t, bin, d, min(left, perStore)) })
	}
}

// killRounds kills the servers of one store. What a server has acked survives its
// own end, whichever its durability.
func killRounds(t *testing.T, bin, durability string, rounds int) {
	store := t.TempDir()
	flags := []string{"--store", store, "--durability", durability}
	start := func() *server { return serve(t, bin, flags...) }
	s := start()
	var addr atomic.Value
	addr.Store(s.addr)
	l := newLog()
	var running sync.WaitGroup
	for i := range 8 {
		p := newProducer(i, durability)
		l.producers[p.name] = &written{producer: p, rejected: map[uint64]bool{}}
		running.Go(func() {
			if err := p.run(func() string { return addr.Load().(string) }); err != nil {
				t.Error(err)
			}
		})
	}
	defer func() {
		for _, w := range l.producers {
			w.stop()
		}
		running.Wait()
		s.kill(t)
		rejected := 0
		for _, w := range l.producers {
			rejected += len(w.rejected)
		}
		t.Logf("%d kills, %d records, %d rejected", rounds, l.records, rejected)
	}()
	for range rounds {
		time.Sleep(time.Duration(10+rand.IntN(200)) * time.Millisecond) // the moment is random
		s.kill(t)
		for rand.IntN(3) == 0 { // while it opens the store
			early := launch(t, bin, flags...)
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			early.kill(t)
		}
		s = start()
		addr.Store(s.addr)
		if err := l.verify(s.addr); err != nil {
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
	checked  uint64          // up to which all that is not there is rejected
	rejected map[uint64]bool // the rejected ones
}

func newLog() *log {
	return &log{producers: map[string]*written{}, from: "earliest", rejected: "earliest"}
}

// verify reads what has come since the last time, while the producers go on.
func (l *log) verify(addr string) (err error) {
	acked := map[string]uint64{}
	for name, w := range l.producers {
		acked[name], _ = w.state()
	}
	if l.from, err = readBack(addr, "load.*", l.from, "", l.see); err != nil {
		return fmt.Errorf("reading load.*: %w", err)
	}
	// A rejected record that stands before one that was read is there by now.
	if l.rejected, err = readBack(addr, "_rejected", l.rejected, `,"format":"json","lossy":true`, l.seeRejected); err != nil {
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

// see takes note of a record.
func (l *log) see(r record) error {
	l.records++
	w := l.producers[r.producer]
	switch {
	case w == nil || r.topic != w.topic:
		return fmt.Errorf("a record of %q in %s, which was never sent there", r.producer, r.topic)
	case w.poisonous(r.number):
		return fmt.Errorf("%s: record %d can't be read, and is stored", r.producer, r.number)
	case !bytes.Equal(r.bytes, w.record(r.number)):
		return fmt.Errorf("%s: record %d is %q", r.producer, r.number, r.bytes)
	}
	if _, sent := w.state(); r.number > sent {
		return fmt.Errorf("%s: record %d was never sent", r.producer, r.number)
	}
	// Those that are rejected lie elsewhere.
	want := w.last + 1
	for w.poisonous(want) {
		want++
	}
	if r.number != want {
		return fmt.Errorf("%s: record %d behind %d", r.producer, r.number, w.last)
	}
	w.last = r.number
	return nil
}

// begin reports whether two texts begin in the same way: a record that can't be
// read to its end is kept together with what has come behind it, or in part.
func begin(a, b []byte) bool {
	n := min(len(a), len(b))
	return n > 0 && bytes.Equal(a[:n], b[:n])
}

// seeRejected takes note of a rejected record.
func (l *log) seeRejected(r record) error {
	var d struct {
		Producer, Topic, Code string
		Number                uint64
		Bytes                 []byte
	}
	if err := json.Unmarshal(r.bytes, &d); err != nil {
		return errors.Join(err, fmt.Errorf("%s", r.bytes))
	}
	w := l.producers[d.Producer]
	switch {
	case w == nil || d.Topic != w.topic:
		return fmt.Errorf("a rejected record of nobody: %s", r.bytes)
	case !w.poisonous(d.Number) || d.Code != code(d.Number) || !begin(d.Bytes, w.record(d.Number)):
		return fmt.Errorf("%s: record %d is rejected as %s: %q", d.Producer, d.Number, d.Code, d.Bytes)
	case w.rejected[d.Number]:
		return fmt.Errorf("%s: record %d is rejected twice", d.Producer, d.Number)
	}
	w.rejected[d.Number] = true
	return nil
}
