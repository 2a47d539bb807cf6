// Package storetest has the contract of package store, as tests that every driver passes.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Driver{Open: …, Second: …, Reopen: …, Faulty: …})
//	}
//
// The tests need nothing of a driver that only a store within one process could offer:
// they set no clock, and close no store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A Driver makes stores for the tests.
type Driver struct {
	// Open returns a new, empty store, which is closed at the end of t.
	Open func(t testing.TB) store.Store

	// Second returns another server's Store of the same store as s. Nil means that a
	// store belongs to one server.
	Second func(t testing.TB, s store.Store) store.Store

	// Reopen closes a store and opens it again. Nil means that nothing survives closing.
	Reopen func(t testing.TB, s store.Store) store.Store

	// Bounded returns a new, empty store with room for n topics, producers and cursors
	// each, half of them for one principal. Nil means that there is no such limit.
	Bounded func(t testing.TB, n int) store.Store

	// Quota returns a new, empty store in which each principal may have stored that many
	// bytes. It is a [store.Accountant]. Nil means that there is no such limit.
	Quota func(t testing.TB, bytes int64) store.Store

	// Importing returns a new, empty store that is to become a copy, and a function that
	// closes it and opens it again, for the copy to go on or for use. Nil means that the
	// driver is no [store.Importer].
	Importing func(t testing.TB) (s Importing, again func(goesOn bool) (Importing, error))

	// Faulty returns a new, empty store whose syncs can be blocked and made to fail. Nil
	// means that the store has no syncs.
	Faulty func(t testing.TB) (store.Store, Disk)
}

// A Disk is the disk of a faulty store.
type Disk interface {
	// Block blocks all syncs until release is called.
	Block() (release func())

	// Blocked is closed when a sync is blocked.
	Blocked() <-chan struct{}

	// Fail makes all syncs fail until heal is called.
	Fail() (heal func())
}

// Run runs all tests.
func Run(t *testing.T, d Driver) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Driver)
	}{
		{"Read", testRead},
		{"Filter", testFilter},
		{"Room", testRoom},
		{"Follow", testFollow},
		{"Alert", testAlert},
		{"Positions", testPositions},
		{"Append", testAppend},
		{"Together", testTogether},
		{"Claim", testClaim},
		{"GivenUp", testGivenUp},
		{"Expire", testExpire},
		{"Rejections", testRejections},
		{"Trim", testTrim},
		{"Overtaken", testOvertaken},
		{"Seek", testSeek},
		{"Backlog", testBacklog},
		{"Known", testKnown},
		{"Cursors", testCursors},
		{"Fenced", testFenced},
		{"Limits", testLimits},
		{"Bounds", testBounds},
		{"Quota", testQuota},
		{"Reopen", testReopen},
		{"Import", testImport},
		{"Servers", testServers},
		{"Concurrent", testConcurrent},
		{"Submit", testSubmit},
		{"SubmitFails", testSubmitFails},
		{"BlockedSync", testBlockedSync},
		{"FailedSync", testFailedSync},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, d) })
	}
}

// servers returns one or two servers' Stores of a new, empty store.
func (d Driver) servers(t testing.TB) []store.Store {
	all := []store.Store{d.Open(t)}
	if d.Second != nil {
		all = append(all, d.Second(t, all[0]))
	}
	return all
}

// A writer is a claimed producer. Its records contain their number.
type writer struct {
	s     store.Store
	p     store.Producer
	epoch uint64
	next  uint64
}

func claim(t testing.TB, s store.Store, p store.Producer, r store.ClaimRequest) (*writer, store.Claim) {
	t.Helper()
	c, err := s.Claim(context.Background(), p, r)
	if err != nil {
		t.Fatalf("Claim(%+v): %v", r, err)
	}
	return &writer{s: s, p: p, epoch: c.Epoch, next: c.Next}, c
}

func producer(topic, name string) store.Producer {
	return store.Producer{Principal: "p", Topic: topic, Name: name}
}

// record returns the record of a producer for a number.
func record(p store.Producer, number uint64) []byte {
	return fmt.Appendf(nil, `{"producer":%q,"number":%d}`, p.Name, number)
}

// block returns a block of the producer's numbers from first on.
func (w *writer) block(first uint64, n int) *store.Block {
	b := &store.Block{
		Topic: w.p.Topic, Codec: "json", Peer: "[::1]:4711", Received: time.Unix(1e9, 1).UTC(),
		Principal: w.p.Principal, Producer: w.p, Epoch: w.epoch, First: first,
	}
	for i := range n {
		b.Add(record(w.p, first+uint64(i)))
	}
	b.Note = fmt.Appendf(nil, "note %d", first+uint64(n)-1)
	return b
}

// append appends the next n records in one block.
func (w *writer) append(t testing.TB, n int) {
	t.Helper()
	r := w.s.Append(context.Background(), w.block(w.next, n))[0]
	if r.Err != nil {
		t.Fatalf("Append of %d+%d: %v", w.next, n, r.Err)
	}
	w.next += uint64(n)
}

// loose returns a block with one record and without a producer.
func loose(topic, text string) *store.Block {
	b := &store.Block{Topic: topic, Codec: "json"}
	b.Add([]byte(text))
	return b
}

func appendLoose(t testing.TB, s store.Store, topic, text string) store.Position {
	t.Helper()
	r := s.Append(context.Background(), loose(topic, text))[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Position
}

// A read is everything that a Read yielded.
type read struct {
	records []string
	at      []store.Position // of each record
	trims   []*store.TrimmedError
	next    store.Position
	err     error
}

// readAll reads without following.
func readAll(t testing.TB, s store.Store, from store.Position, o store.ReadOptions) read {
	t.Helper()
	var r read
	var last time.Time
	for b, err := range s.Read(context.Background(), from, o) {
		var trim *store.TrimmedError
		switch {
		case errors.As(err, &trim):
			r.trims = append(r.trims, trim)
		case err != nil:
			r.err = err
			continue
		}
		if b.Next.Compare(r.next) < 0 {
			t.Fatalf("Read went back from %v to %v", r.next, b.Next)
		}
		r.next = b.Next
		if b.Block == nil {
			continue
		}
		if b.Time.Before(last) {
			t.Fatalf("time went back from %v to %v", last, b.Time)
		}
		last = b.Time
		for i, rec := range b.Block.Records(b.At.Index) {
			at := b.At
			at.Index = i
			r.at = append(r.at, at)
			r.records = append(r.records, string(rec))
		}
	}
	return r
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}
