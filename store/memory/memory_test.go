package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
	"github.com/dictwire/dictwire/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t testing.TB) store.Store {
			s := memory.New(nil)
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		Bounded: func(t testing.TB, n int) store.Store {
			s := memory.New(&memory.Options{MaxTopics: n, MaxProducers: n, MaxCursors: n})
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		Quota: func(t testing.TB, bytes int64) store.Store {
			s := memory.New(&memory.Options{MaxStoredBytes: bytes})
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	})
}

func TestClose(t *testing.T) { storetest.Close(t, memory.New(nil)) }

func TestKeepsTheNewest(t *testing.T) {
	s := memory.New(&memory.Options{KeepBytes: 1000 * 10})
	for range 100 {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(make([]byte, 1000-320-4))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	stats, err := s.Topics(t.Context())
	if err != nil || stats[0].Records != 10 || stats[0].First.Block != 91 {
		t.Fatalf("Topics: %+v, %v", stats, err)
	}
}

// appended returns the result of appending one record of n bytes, once it is done.
func appended(ctx context.Context, s *memory.Store, n int) <-chan error {
	done := make(chan error, 1)
	go func() {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(make([]byte, n))
		done <- s.Append(ctx, b)[0].Err
	}()
	return done
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(&memory.Options{KeepBytes: 10_000})
		// wait returns the result of an append so far.
		wait := func(done <-chan error) (error, bool) {
			synctest.Wait()
			select {
			case err := <-done:
				return err, true
			default:
				return nil, false
			}
		}
		at, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Hold(at); err != nil {
			t.Fatal(err)
		}
		n := 0
		var waiting <-chan error
		for {
			waiting = appended(t.Context(), s, 700)
			err, done := wait(waiting)
			if err != nil {
				t.Fatal(err)
			}
			if !done {
				break
			}
			if n++; n > 9 {
				break
			}
		}
		if n != 9 {
			t.Fatalf("%d appends find room, want 9", n)
		}

		// A request that gives up is not stored; a smaller one waits, too, if it must.
		ctx, cancel := context.WithCancelCause(t.Context())
		given := appended(ctx, s, 700)
		if _, done := wait(given); done {
			t.Fatal("an append without room does not wait")
		}
		why := errors.New("enough")
		cancel(why)
		if err, done := wait(given); !done || !errors.Is(err, why) {
			t.Fatalf("an append whose context ended: %v, %v", err, done)
		}

		// Room for one; a reader sees everything.
		at.Block++
		if err := s.Hold(at); err != nil {
			t.Fatal(err)
		}
		if err, done := wait(waiting); err != nil || !done {
			t.Fatalf("an append with room: %v, %v", err, done)
		}
		read := 0
		for b, err := range s.Read(t.Context(), at, store.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Block != nil {
				read++
			}
		}
		if read != 9 {
			t.Fatalf("%d blocks are held, want 9", read)
		}

		// A request larger than the limit is let in when nothing is held.
		large := appended(t.Context(), s, 100_000)
		if _, done := wait(large); done {
			t.Fatal("an append without room does not wait")
		}
		if at, err = s.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Hold(at); err != nil {
			t.Fatal(err)
		}
		if err, done := wait(large); err != nil || !done {
			t.Fatalf("a large append: %v, %v", err, done)
		}

		// The end of the hold, and of the store, ends all waiting.
		last := appended(t.Context(), s, 700)
		if _, done := wait(last); done {
			t.Fatal("an append without room does not wait")
		}
		if err := s.Hold(store.Position{}); err != nil {
			t.Fatal(err)
		}
		if err, done := wait(last); err != nil || !done {
			t.Fatalf("an append without a hold: %v, %v", err, done)
		}
		if err := s.Hold(at); err != nil {
			t.Fatal(err)
		}
		closed := appended(t.Context(), s, 700)
		if _, done := wait(closed); done {
			t.Fatal("an append without room does not wait")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err, done := wait(closed); !done || !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("an append to a closed store: %v, %v", err, done)
		}
		if err := s.Hold(store.Position{Tag: "another", Block: 1}); !errors.Is(err, store.ErrPosition) {
			t.Fatalf("a hold of another store: %v", err)
		}
	})
}
