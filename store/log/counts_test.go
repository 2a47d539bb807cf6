package log_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// The counts of names are the same after a kill, and after the states were rebuilt.
func TestCounted(t *testing.T) {
	const limit = 6
	fs := crashfs.New(1)
	o := log.Options{FS: fs, KeepEvery: -1, MaxProducers: limit, MaxCursors: limit, MaxTopics: limit}
	s := open(t, o)
	use := func(s *log.Store, n int) (full int) {
		name := fmt.Sprint(n)
		p := store.Producer{Principal: "u", Topic: "a", Name: name}
		_, claimErr := s.Claim(t.Context(), p, store.ClaimRequest{})
		_, cursorErr := s.ClaimCursor(t.Context(), store.CursorName{Principal: "u", Name: name}, store.CursorRequest{})
		b := &store.Block{Topic: "t" + name, Codec: "json", Principal: "u"}
		b.Add([]byte(`{}`))
		for _, err := range []error{claimErr, cursorErr, s.Append(t.Context(), b)[0].Err} {
			if err != nil && !errors.As(err, new(*store.LimitError)) {
				t.Fatal(err)
			}
			if err != nil {
				full++
			}
		}
		return full
	}
	for n := range limit / 2 {
		if full := use(s, n); full != 0 {
			t.Fatalf("%d limits with %d names", full, n)
		}
	}
	for _, how := range []string{"killed", "killed again", "without states", "closed"} {
		left := fs.Crash(false, nil)
		if how == "without states" {
			for _, name := range left.Files() {
				if strings.Contains(name, "/states/") {
					left.Delete(name)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if how == "closed" {
			left = fs
		}
		fs, o.FS = left, left
		s = open(t, o)
		if full := use(s, 0); full != 0 {
			t.Fatalf("%s: %d limits for names that are there", how, full)
		}
		if full := use(s, limit); full != 3 {
			t.Errorf("%s: %d limits, want 3", how, full)
		}
	}
}

// A producer that has expired is forgotten, and its name is no longer counted.
func TestForgotten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, MaxProducers: 2, Now: func() time.Time { return now }})
	claim := func(name string) error {
		_, err := s.Claim(t.Context(), store.Producer{Principal: "u", Topic: "a", Name: name}, store.ClaimRequest{Attempt: 1})
		return err
	}
	if err := claim("x"); err != nil {
		t.Fatal(err)
	}
	if err := claim("y"); !errors.As(err, new(*store.LimitError)) {
		t.Fatalf("a second one: %v", err)
	}
	for range 100 * 48 { // in steps, since a jump of the clock is ignored
		now = now.Add(30 * time.Minute)
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := s.Info(t.Context()); err != nil || i.Producers != 0 {
		t.Errorf("%d producers, %v, want none", i.Producers, err)
	}
	if err := claim("y"); err != nil {
		t.Errorf("another one: %v", err)
	}
}

// What each principal has stored equals a count of everything in the store, after any
// appends, trims and rewrites, and however the store was opened again: from the log's
// frames, with rebuilt indexes, or with those of an older version.
func TestStored(t *testing.T) {
	seed := testrand.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	fs := crashfs.New(seed)
	o := log.Options{FS: fs, KeepEvery: -1, MaxSegment: 16 << 10, MaxStoredBytes: -1}
	s := open(t, o)
	principals, topics := []string{"a", "b", "c", store.Anonymous}, []string{"x", "y", "z"}
	for round := range testrand.Many(60) {
		for range r.IntN(60) {
			var blocks []*store.Block
			for range 1 + r.IntN(3) {
				b := &store.Block{Topic: topics[r.IntN(len(topics))], Codec: "json", Principal: principals[r.IntN(len(principals))]}
				for range 1 + r.IntN(3) {
					b.Add(noise(r.IntN(1<<16), 2+2*r.IntN(500)))
				}
				blocks = append(blocks, b)
			}
			for _, result := range s.Append(t.Context(), blocks...) {
				if result.Err != nil {
					t.Fatal(result.Err)
				}
			}
		}
		for range r.IntN(3) {
			stats, err := s.Topics(t.Context(), topics[r.IntN(len(topics))])
			if err != nil {
				t.Fatal(err)
			}
			for _, stat := range stats {
				to := stat.First
				to.Block += r.Uint64N(2 * (stat.Next.Block - stat.First.Block + 1) / 2)
				if err := s.Trim(t.Context(), stat.Name, to); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r.IntN(4) == 0 {
			if err := s.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := storedIn(t, s)
		if r.IntN(4) == 0 { // closed, or killed
			left := fs
			if r.IntN(2) == 0 {
				left = fs.Crash(false, nil)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			drop := func(part string) {
				for _, name := range left.Files() {
					if strings.Contains(name, part) {
						left.Delete(name)
					}
				}
			}
			if r.IntN(2) == 0 {
				drop(".idx")
			}
			fs, o.FS = left, left
			s = open(t, o)
			if again := storedIn(t, s); !maps.Equal(got, again) {
				t.Fatalf("round %d: opened again, there are %v; there were %v", round, again, got)
			}
		}
		counted := fs.Crash(false, nil)
		for _, name := range counted.Files() {
			if strings.Contains(name, "/states/") {
				counted.Delete(name)
			}
		}
		view, err := log.Open(t.Context(), "store", &log.Options{FS: counted, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := storedIn(t, view); !maps.Equal(got, want) {
			t.Fatalf("round %d: %v are counted, and there are %v", round, got, want)
		}
		if err := view.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// storedIn returns the bytes that each principal has stored.
func storedIn(t *testing.T, s *log.Store) map[string]uint64 {
	t.Helper()
	all, err := s.Stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]uint64{}
	for _, stat := range all {
		by[stat.Principal] = stat.Bytes
	}
	return by
}
