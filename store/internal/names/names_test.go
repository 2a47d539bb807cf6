package names_test

import (
	"errors"
	"testing"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

func TestQuota(t *testing.T) {
	q := names.New("topics", "MaxTopics", 9, 0)
	take := func(principal, want string) {
		t.Helper()
		err := q.Check(principal)
		if err == nil {
			q.Add(principal, 1)
		}
		got := ""
		if limit := (*store.LimitError)(nil); errors.As(err, &limit) {
			got = limit.Error()
		}
		if got != want || (err != nil) != (want != "") {
			t.Errorf("%s: %v, want %q", principal, err, want)
		}
	}
	for range 5 {
		take("mallory", "")
	}
	take("mallory", `store: there are 5 topics of "mallory", as many as half of MaxTopics allows`)
	for range 4 {
		take("alice", "")
	}
	take("alice", "store: there are 9 topics, as many as MaxTopics allows")
	take("bob", "store: there are 9 topics, as many as MaxTopics allows")
	take("_relay", "")
	q.Add("mallory", -1)
	take("bob", "store: there are 9 topics, as many as MaxTopics allows")
	q.Add("_relay", -1)
	take("bob", "")
	if q.All() != 9 {
		t.Errorf("there are %d, want 9", q.All())
	}
	for limit, want := range map[int]int{0: 3, 1: 1} {
		q := names.New("cursors", "MaxCursors", limit, 6)
		n := 0
		for q.Check("x") == nil {
			q.Add("x", 1)
			n++
		}
		if n != want {
			t.Errorf("a limit of %d: %d, want %d", limit, n, want)
		}
	}
	if q := names.New("cursors", "MaxCursors", -1, 6); q.Add("x", 1<<30) == 0 || q.Check("x") != nil {
		t.Error("no limit is one")
	}
}
