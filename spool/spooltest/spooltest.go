// Package spooltest has the contract of package spool, as tests that every spool passes.
//
//	func TestSpool(t *testing.T) {
//		spooltest.Run(t, spooltest.Driver{Open: …, Reopen: …, Full: …})
//	}
package spooltest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/spool"
)

// A Driver makes spools for the tests.
type Driver struct {
	// Open returns a new, empty spool with room for at least 64 KiB of records, which is
	// closed at the end of the test.
	Open func(t T) spool.Spool

	// Reopen closes a spool and opens it again. Nil means that nothing survives closing.
	Reopen func(t T, s spool.Spool) spool.Spool

	// Full returns a new, empty spool with room for that many bytes of records, which does
	// not wait for room. Nil means that there is no such limit.
	Full func(t T, bytes int) spool.Spool
}

// T is the part of [testing.TB] that the tests need. It lets the tests themselves be tested
// with spools that break the contract.
type T interface {
	Helper()
	Cleanup(f func())
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// patience is how long a test waits for what must happen.
var patience = 20 * time.Second

var checks = []struct {
	name  string
	check func(T, Driver)
}{
	{"Append", checkAppend},
	{"Formats", checkFormats},
	{"Follow", checkFollow},
	{"Settle", checkSettle},
	{"Attempt", checkAttempt},
	{"Reopen", checkReopen},
	{"Full", checkFull},
	{"Refused", checkRefused},
	{"Concurrent", checkConcurrent},
}

// Run runs all tests.
func Run(t *testing.T, d Driver) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.check(t, d) })
	}
}

// Record is the record n that Add appends.
func Record(n uint64) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

// Sum is the sum of a record that [spool.Spool.Settle] takes.
func Sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Add appends n records that contain their numbers, of which the first must be want.
func Add(t T, s spool.Spool, topic string, want, n uint64) {
	t.Helper()
	var all [][]byte
	for i := range n {
		all = append(all, Record(want+i))
	}
	first, err := s.Append(t.Context(), topic, "json", all...)
	if err != nil || first != want {
		t.Fatalf("Append to %s: record %d, %v, want %d", topic, first, err, want)
	}
	for i := range all {
		clear(all[i]) // a spool keeps copies
	}
}

// Settle settles a topic up to a record.
func Settle(t T, s spool.Spool, topic string, n uint64) {
	t.Helper()
	if err := s.Settle(t.Context(), topic, n, Sum(Record(n))); err != nil {
		t.Fatalf("Settle to %d: %v", n, err)
	}
}

// Read reads the records from a number on up to last, which must be as Add made them. It
// returns the number of the first.
func Read(t T, s spool.Spool, topic string, from, last uint64) (first uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := uint64(0)
	for b, err := range s.Read(ctx, topic, from) {
		if err != nil {
			t.Fatalf("Read %s from %d: %v", topic, from, err)
		}
		if want == 0 {
			want, first = b.First, b.First
		}
		if b.First != want || b.Format != "json" || len(b.Records) == 0 {
			t.Fatalf("%s: a batch of %d %s records from %d, want %d", topic, len(b.Records), b.Format, b.First, want)
		}
		for _, r := range b.Records {
			if string(r) != string(Record(want)) {
				t.Fatalf("%s: record %d is %q", topic, want, r)
			}
			want++
		}
		if want > last {
			break
		}
	}
	if want != last+1 {
		t.Fatalf("%s: read up to %d, want %d", topic, want-1, last)
	}
	return first
}

func topics(t T, s spool.Spool) map[string]spool.Topic {
	t.Helper()
	all, err := s.Topics(t.Context())
	if err != nil {
		t.Fatalf("Topics: %v", err)
	}
	byName := map[string]spool.Topic{}
	for _, st := range all {
		byName[st.Topic] = st
	}
	if len(byName) != len(all) {
		t.Fatalf("a topic comes twice: %+v", all)
	}
	return byName
}

func checkAppend(t T, d Driver) {
	s := d.Open(t)
	if all := topics(t, s); len(all) != 0 {
		t.Fatalf("a new spool has topics: %+v", all)
	}
	Add(t, s, "a", 1, 3)
	Add(t, s, "b", 1, 1)
	Add(t, s, "a", 4, 2)
	for from := uint64(1); from <= 5; from++ {
		if got := Read(t, s, "a", from, 5); got != from {
			t.Errorf("a read from %d begins with %d", from, got)
		}
	}
	Read(t, s, "b", 1, 1)
	want := map[string]spool.Topic{"a": {Topic: "a", First: 1, Next: 6}, "b": {Topic: "b", First: 1, Next: 2}}
	if got := topics(t, s); !maps.Equal(got, want) {
		t.Errorf("topics %+v, want %+v", got, want)
	}
}

// A batch has one format.
func checkFormats(t T, d Driver) {
	s := d.Open(t)
	formats := []string{"json", "json", "cbor", "json"}
	for i, format := range formats {
		if n, err := s.Append(t.Context(), "a", format, []byte{byte(i) + 1}); err != nil || n != uint64(i)+1 {
			t.Fatalf("Append: record %d, %v", n, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	next := uint64(1)
	for b, err := range s.Read(ctx, "a", 1) {
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		for _, r := range b.Records {
			if b.Format != formats[next-1] || string(r) != string(rune(next)) {
				t.Fatalf("record %d is %q (%s), want %q (%s)", next, r, b.Format, rune(next), formats[next-1])
			}
			next++
		}
		if next > 4 {
			break
		}
	}
}

// A read waits for more records, and ends with its context.
func checkFollow(t T, d Driver) {
	s := d.Open(t)
	Add(t, s, "a", 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, ended := make(chan uint64, 100), make(chan error, 1)
	go func() {
		var last error
		for b, err := range s.Read(ctx, "a", 1) {
			if last = err; err == nil {
				seen <- b.First + uint64(len(b.Records)) - 1
			}
		}
		ended <- last
	}()
	for n := uint64(1); n <= 10; n++ {
		for got, late := uint64(0), time.After(patience); got < n; {
			select {
			case got = <-seen:
			case err := <-ended:
				t.Fatalf("the read ended before record %d: %v", n, err)
			case <-late:
				t.Fatalf("record %d was not read within %v", n, patience)
			}
		}
		Settle(t, s, "a", n)
		Add(t, s, "a", n+1, 1)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the read ended with %v, want the cause of its context", err)
		}
	case <-time.After(patience):
		t.Errorf("the read did not end within %v of its context", patience)
	}
}

// Settled numbers never go down, and unsettled records stay.
func checkSettle(t T, d Driver) {
	s := d.Open(t)
	for n := uint64(1); n <= 40; n += 4 {
		Add(t, s, "a", n, 4)
	}
	for _, n := range []uint64{2, 10, 5, 10, 12, 1} {
		Settle(t, s, "a", n)
	}
	st := topics(t, s)["a"]
	if st.Acked != 12 || st.Sum != Sum(Record(12)) || st.Next != 41 || st.First > 13 {
		t.Errorf("%+v, want 12 settled with the sum %08x, next 41, and first at most 13", st, Sum(Record(12)))
	}
	if first := Read(t, s, "a", 1, 40); first > 13 {
		t.Errorf("a read from 1 begins with %d, want an unsettled record or an earlier one", first)
	}
	Read(t, s, "a", 13, 40)
	Settle(t, s, "a", 40)
	if st := topics(t, s)["a"]; st.Acked != 40 || st.Next != 41 || st.First > 41 {
		t.Errorf("%+v, want 40 settled", st)
	}
	if err := s.Settle(t.Context(), "a", 41, 0); err == nil {
		t.Errorf("a record is settled that never was in the spool")
	}
	if err := s.Settle(t.Context(), "b", 1, 0); err == nil {
		t.Errorf("a topic is settled that never was in the spool")
	}
	Add(t, s, "a", 41, 1)
	if first := Read(t, s, "a", 41, 41); first != 41 {
		t.Errorf("a read from 41 begins with %d", first)
	}
}

func checkAttempt(t T, d Driver) {
	s, last := d.Open(t), uint64(0)
	for range 3 {
		n, err := s.Attempt(t.Context())
		if err != nil || n <= last {
			t.Fatalf("attempt %d after %d: %v", n, last, err)
		}
		last = n
	}
	if other := d.Open(t); s.Producer() == "" || other.Producer() == s.Producer() {
		t.Errorf("two spools have the producers %q and %q", s.Producer(), other.Producer())
	}
}

// All of a spool survives that it is closed.
func checkReopen(t T, d Driver) {
	if d.Reopen == nil {
		return
	}
	s := d.Open(t)
	name, attempt := s.Producer(), uint64(0)
	for round := range uint64(3) {
		n, err := s.Attempt(t.Context())
		if err != nil || n <= attempt {
			t.Fatalf("attempt %d after %d: %v", n, attempt, err)
		}
		attempt = n
		Add(t, s, "a", 10*round+1, 10)
		Settle(t, s, "a", 10*round+5)
		s = d.Reopen(t, s)
		if s.Producer() != name {
			t.Fatalf("the producer is %q, was %q", s.Producer(), name)
		}
		st := topics(t, s)["a"]
		if st.Next != 10*round+11 || st.Acked > 10*round+5 || st.First > 10*round+6 {
			t.Errorf("%+v, want next %d, and at most %d settled", st, 10*round+11, 10*round+5)
		}
		if st.Acked > 0 && st.Sum != Sum(Record(st.Acked)) {
			t.Errorf("%+v, want the sum %08x", st, Sum(Record(st.Acked)))
		}
		Read(t, s, "a", 10*round+6, 10*round+10)
	}
}

// A full spool keeps nothing of what it refuses, and settled records make room.
func checkFull(t T, d Driver) {
	if d.Full == nil {
		return
	}
	s := d.Full(t, 1000)
	big := slices.Repeat([]byte{'x'}, 400)
	for n := uint64(1); n <= 2; n++ {
		if got, err := s.Append(t.Context(), "a", "json", big); err != nil || got != n {
			t.Fatalf("record %d: %v, want %d", got, err, n)
		}
	}
	for range 2 {
		if _, err := s.Append(t.Context(), "a", "json", big, big); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("a full spool says %v, want ErrFull", err)
		}
	}
	if st := topics(t, s)["a"]; st.Next != 3 {
		t.Errorf("%+v: the next record is 3", st)
	}
	if err := s.Settle(t.Context(), "a", 2, Sum(big)); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	if got, err := s.Append(t.Context(), "a", "json", big, big); err != nil || got != 3 {
		t.Errorf("record %d: %v, want 3, for which there is room", got, err)
	}
}

// What can't be kept takes no number.
func checkRefused(t T, d Driver) {
	s := d.Open(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ended, "a", "json", Record(1)); err == nil {
		t.Errorf("a record is kept whose context has ended")
	}
	for _, c := range []struct {
		topic, format string
		records       [][]byte
	}{
		{"", "json", [][]byte{Record(1)}},
		{"a b", "json", [][]byte{Record(1)}},
		{"a", "json", nil},
	} {
		if _, err := s.Append(t.Context(), c.topic, c.format, c.records...); err == nil {
			t.Errorf("%d records of topic %q are kept", len(c.records), c.topic)
		}
	}
	Add(t, s, "a", 1, 1)
}

// Appends at once get consecutive numbers, which grow for each goroutine.
func checkConcurrent(t T, d Driver) {
	const goroutines, each = 16, 20
	const all = goroutines * each * 2
	s := d.Open(t)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		kept = map[uint64]string{}
	)
	for g := range goroutines {
		wg.Go(func() {
			last := uint64(0)
			for i := range each {
				a, b := fmt.Sprintf("%d.%d", g, i), fmt.Sprintf("%d.%d.", g, i)
				first, err := s.Append(t.Context(), "a", "json", []byte(a), []byte(b))
				if err != nil || first <= last {
					t.Errorf("record %d after %d: %v", first, last, err)
					return
				}
				last = first + 1
				mu.Lock()
				kept[first], kept[first+1] = a, b
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(kept) != all {
		t.Fatalf("%d numbers for %d records", len(kept), all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := uint64(1)
	for b, err := range s.Read(ctx, "a", 1) {
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		for _, r := range b.Records {
			if kept[want] != string(r) {
				t.Fatalf("record %d is %q, want %q", want, r, kept[want])
			}
			want++
		}
		if want > all {
			break
		}
	}
}
