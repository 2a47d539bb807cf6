package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// testConcurrent has producers whose writers fence each other, following readers, and
// trims of another topic, all at once. Every reader gets every number of each producer
// once and in order.
func testConcurrent(t *testing.T, d Driver) {
	servers := d.servers(t)
	const producers, numbers = 8, 400
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers, writers sync.WaitGroup
	for i := range 3 {
		o := store.ReadOptions{Follow: true, Topics: [][]string{nil, {"a"}, {"a", "b.*"}}[i]}
		readers.Go(func() {
			seen, done := map[string]uint64{}, 0
			s := servers[i%len(servers)]
			for b, err := range s.Read(ctx, store.Position{}, o) {
				var trim *store.TrimmedError
				if errors.As(err, &trim) && trim.Topic == "noise" {
					continue
				}
				if err != nil {
					t.Errorf("reader %d: %v, after %v", i, err, seen)
					return
				}
				if b.Block == nil || b.Block.Topic != "a" {
					continue
				}
				name := b.Block.Producer.Name
				if b.Block.First != seen[name]+1 {
					t.Errorf("reader %d: %s goes from %d to %d", i, name, seen[name], b.Block.First)
					return
				}
				for _, r := range b.Block.Records(0) {
					seen[name]++
					if string(r) != string(record(b.Block.Producer, seen[name])) {
						t.Errorf("reader %d: %s has %s as number %d", i, name, r, seen[name])
					}
				}
				if seen[name] >= numbers {
					if done++; done == producers {
						return
					}
				}
			}
		})
	}
	for i := range producers {
		p := producer("a", fmt.Sprintf("w%d", i))
		for j := range 2 { // two writers that fence each other
			s := servers[j%len(servers)]
			writers.Go(func() {
				for {
					c, err := s.Claim(ctx, p, store.ClaimRequest{})
					if err != nil {
						t.Errorf("Claim: %v", err)
						return
					}
					w := &writer{s: s, p: p, epoch: c.Epoch, next: c.Next}
					for range 20 {
						if w.next > numbers {
							return
						}
						r := s.Append(ctx, w.block(w.next, 5))[0]
						if errors.Is(r.Err, store.ErrFenced) {
							break
						}
						if r.Err != nil {
							t.Errorf("Append: %v", r.Err)
							return
						}
						w.next += 5
					}
				}
			})
		}
	}
	writers.Go(func() {
		s := servers[len(servers)-1]
		cursor, err := s.ClaimCursor(ctx, store.CursorName{Name: "c"}, store.CursorRequest{})
		if err != nil {
			t.Error(err)
		}
		for i := range 60 {
			r := s.Append(ctx, loose("noise", fmt.Sprintf(`{"n":%d}`, i)))[0]
			if r.Err != nil {
				t.Errorf("Append: %v", r.Err)
			}
			head, err := s.Head(ctx)
			if err == nil && i%3 == 0 {
				err = s.Trim(ctx, "noise", head)
			}
			if err == nil {
				err = s.Commit(ctx, store.CursorName{Name: "c"}, cursor.Epoch, head)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	watchdog := time.AfterFunc(time.Minute, cancel)
	readers.Wait()
	watchdog.Stop()
}

// testBlockedSync blocks a sync: nothing of its append may be seen.
func testBlockedSync(t *testing.T, d Driver) {
	if d.Faulty == nil {
		return // a store without a disk has no syncs
	}
	s, disk := d.Faulty(t)
	w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{})
	w.append(t, 2)
	v, _ := claim(t, s, producer("a", "y"), store.ClaimRequest{})
	head, _ := s.Head(t.Context())

	release := disk.Block()
	t.Cleanup(release) // so that the store can be closed, whatever is found
	results := make(chan error, 2)
	go func() { results <- s.Append(context.Background(), w.block(3, 2))[0].Err }()
	<-disk.Blocked()
	go func() { results <- s.Append(context.Background(), v.block(1, 1))[0].Err }()

	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	// The duplicates wait for what they would be duplicates of.
	for range 2 {
		wantErr(t, "a duplicate", s.Append(short(), w.block(3, 2))[0].Err, context.DeadlineExceeded)
		_, err := s.Claim(short(), w.p, store.ClaimRequest{Acked: 2})
		wantErr(t, "a claim", err, context.DeadlineExceeded)
		for _, topics := range [][]string{nil, {"a"}} {
			if r := readAll(t, s, store.Position{}, store.ReadOptions{Topics: topics}); len(r.records) != 2 || r.next != head {
				t.Fatalf("a reader sees %d records, to %v; want 2, to %v", len(r.records), r.next, head)
			}
		}
		if h, err := s.Head(t.Context()); h != head || err != nil {
			t.Fatalf("Head: %v, %v, want %v", h, err, head)
		}
		if stats, err := s.Topics(t.Context()); err != nil || stats[0].Records != 2 {
			t.Fatalf("Topics: %+v, %v", stats, err)
		}
	}
	select {
	case err := <-results:
		t.Fatalf("an append returned before its sync: %v", err)
	default:
	}
	release()
	for range 2 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "the duplicate", s.Append(t.Context(), w.block(3, 2))[0].Err, store.ErrDuplicate)
	if r := readAll(t, s, store.Position{}, store.ReadOptions{}); len(r.records) != 5 {
		t.Fatalf("read %d records, want 5", len(r.records))
	}
}

// testFailedSync makes a sync fail: nothing more is acknowledged, reads go on, and the
// store can be opened again.
func testFailedSync(t *testing.T, d Driver) {
	if d.Faulty == nil {
		return
	}
	s, disk := d.Faulty(t)
	w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{})
	w.append(t, 2)
	name := store.CursorName{Name: "c"}
	cursor := claimCursor(t, s, name, store.CursorRequest{})
	head, _ := s.Head(t.Context())
	heal := disk.Fail()
	for range 3 {
		wantErr(t, "Append", s.Append(t.Context(), w.block(3, 1))[0].Err, store.ErrUnavailable)
		wantErr(t, "Append", s.Append(t.Context(), loose("b", `{}`))[0].Err, store.ErrUnavailable)
		_, err := s.Claim(t.Context(), w.p, store.ClaimRequest{})
		wantErr(t, "Claim", err, store.ErrUnavailable)
		wantErr(t, "Commit", s.Commit(t.Context(), name, cursor.Epoch, head), store.ErrUnavailable)
		wantErr(t, "Ready", s.Ready(t.Context()), store.ErrUnavailable)
		if r := readAll(t, s, store.Position{}, store.ReadOptions{}); len(r.records) != 2 || r.err != nil {
			t.Fatalf("a reader sees %d records (%v), want 2", len(r.records), r.err)
		}
	}
	heal()
	wantErr(t, "Append to a failed engine", s.Append(t.Context(), w.block(3, 1))[0].Err, store.ErrUnavailable)
	s = d.Reopen(t, s)
	r := readAll(t, s, store.Position{}, store.ReadOptions{Topics: []string{"a"}})
	w, c := claim(t, s, w.p, store.ClaimRequest{Acked: 2})
	if n := uint64(len(r.records)); n < 2 || n > 3 || c.Next != n+1 {
		t.Fatalf("reopened: %d records, next %d", n, c.Next)
	}
	w.append(t, 1)
}
