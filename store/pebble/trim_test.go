package pebble

import (
	"fmt"
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

// TestTidyLooksAtWhatIsDue counts what Tidy looks at: not all there is, each time.
func TestTidyLooksAtWhatIsDue(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	looked := map[string]int{}
	o := &Options{
		FS: vfs.NewMem(), KeepEvery: -1, Reserve: -1, Now: func() time.Time { return now },
		Keep: func(topic string) Keep {
			looked[topic]++
			return map[byte]Keep{'a': {Age: time.Hour}, 's': {Bytes: 3}}[topic[0]]
		},
	}
	s, err := Open(t.Context(), "store", o)
	if err != nil {
		t.Fatal(err)
	}
	add := func(topic string) {
		t.Helper()
		b := &store.Block{Topic: topic, Codec: "json"}
		b.Add([]byte(`{}`))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	tidy := func(want string) {
		t.Helper()
		clear(looked)
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		stats, err := s.Topics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		blocks := uint64(0)
		for _, stat := range stats {
			blocks += stat.Blocks
		}
		if got := fmt.Sprintf("%d looked at, %d blocks", len(looked), blocks); got != want {
			t.Errorf("at %v: %s, want %s", now.Format(time.TimeOnly), got, want)
		}
	}
	for i := range 100 {
		add(fmt.Sprintf("a%d", i))
		add(fmt.Sprintf("k%d", i))
	}
	tidy("200 looked at, 200 blocks") // each was written to
	tidy("0 looked at, 200 blocks")
	now = now.Add(30 * time.Minute)
	for range 3 {
		add("s")
	}
	add("a7")
	tidy("2 looked at, 202 blocks") // one of three is too much of s
	now = now.Add(30*time.Minute + 2)
	tidy("100 looked at, 102 blocks") // all are due
	tidy("0 looked at, 102 blocks")
	now = now.Add(30 * time.Minute)
	tidy("1 looked at, 101 blocks")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Second) // more would be a jump
	if s, err = Open(t.Context(), "store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tidy("201 looked at, 101 blocks") // who knows what was due
	tidy("0 looked at, 101 blocks")
}

// TestForgetsWhatIsDue has producers whose time is over at different times, and
// others that are heard of again.
func TestForgetsWhatIsDue(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	o := &Options{FS: vfs.NewMem(), KeepEvery: -1, Reserve: -1, Now: func() time.Time { return now }}
	s, err := Open(t.Context(), "store", o)
	if err != nil {
		t.Fatal(err)
	}
	name := func(i int) store.Producer {
		return store.Producer{Principal: "p", Topic: "t", Name: fmt.Sprint("n", i)}
	}
	claim := func(i int, expire time.Duration) {
		t.Helper()
		if _, err := s.Claim(t.Context(), name(i), store.ClaimRequest{Expire: expire}); err != nil {
			t.Fatal(err)
		}
	}
	tidy := func(due, left int) {
		t.Helper()
		keys, err := s.dueKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(keys) != due || s.ofProducers.All() != left {
			t.Errorf("at %v: %d are due, %d left, want %d and %d", now.Format(time.TimeOnly), len(keys), s.ofProducers.All(), due, left)
		}
	}
	for i := range 100 {
		claim(i, time.Hour*time.Duration(1+i/50))
	}
	tidy(0, 100)
	now = now.Add(59 * time.Minute)
	tidy(0, 100)
	claim(3, time.Hour)
	if err := s.Forget(t.Context(), name(4)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	tidy(50, 51) // but 3, which was heard of
	tidy(0, 51)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), "store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now = now.Add(58 * time.Minute)
	tidy(0, 51)
	now = now.Add(time.Minute)
	tidy(1, 50)
	now = now.Add(time.Minute)
	tidy(50, 0)
	tidy(0, 0)
}
