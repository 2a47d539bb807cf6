package pebble

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// TestTrimsTogether has a trim wait for another one, behind which the store is
// empty: the first one saw fewer positions, and must not give them out again.
func TestTrimsTogether(t *testing.T) {
	o := &Options{FS: vfs.NewMem(), KeepEvery: -1, Reserve: -1}
	s, err := Open(t.Context(), "store", o)
	if err != nil {
		t.Fatal(err)
	}
	add := func(topic string) store.Position {
		b := &store.Block{Topic: topic, Codec: "json"}
		b.Add([]byte(`{}`))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Position
	}
	add("a")
	early, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.trimMu.Lock()
	waiting := make(chan error, 1)
	go func() { waiting <- s.Trim(t.Context(), "a", early) }()
	time.Sleep(50 * time.Millisecond) // it waits by then, or this test tests nothing
	last := add("b")
	head := s.order.head.Load()
	err = s.trim(s.topics.byName["b"], head, head)
	s.trimMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), "store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if again := add("c"); again.Compare(last) <= 0 {
		t.Fatalf("position %v, and %v was used before", again, last)
	}
}

// TestTopicFoundFirst has an append find a topic that another one is about to
// make: whichever makes it, it is there when the store is opened again.
func TestTopicFoundFirst(t *testing.T) {
	o := &Options{FS: vfs.NewMem(), KeepEvery: -1, Reserve: -1}
	s, err := Open(t.Context(), "store", o)
	if err != nil {
		t.Fatal(err)
	}
	s.topics.mu.Lock()
	s.topics.byName["a"] = &topic{name: "a"} // by the other one
	s.topics.mu.Unlock()
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{}`))
	if r := s.Append(t.Context(), b)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), "store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Topics(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "a" || all[0].Records != 1 {
		t.Fatalf("Topics: %+v, %v", all, err)
	}
}
