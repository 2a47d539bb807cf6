package log_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// How many names there are is the same when the process was killed, and when the
// states are made anew.
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

// A producer whose time is over is forgotten, and so is its name.
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
	for range 100 * 48 { // the clock does not jump
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
