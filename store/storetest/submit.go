package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// testSubmit has producers that submit one block after the other next to appends that
// wait: each is settled once, in order, with its own position.
func testSubmit(t *testing.T, d Driver) {
	s := d.Open(t)
	log, ok := s.(store.Submitter)
	if !ok {
		return
	}
	const producers, blocks = 8, 200
	var all sync.WaitGroup
	for i := range producers {
		w, _ := claim(t, s, producer("a", fmt.Sprint("p", i)), store.ClaimRequest{})
		all.Add(1)
		var submit func(first uint64)
		submit = func(first uint64) {
			var told atomic.Int64
			log.Submit(t.Context(), func(results []store.Result) {
				if n := told.Add(1); n != 1 || len(results) != 1 || results[0].Err != nil {
					t.Errorf("%d to %d was told %d times: %v", i, first, n, results)
				}
				at := results[0].Position
				go func() { // done must not wait
					if err := s.CheckPosition(t.Context(), at); err != nil {
						t.Errorf("it is at %v: %v", at, err)
					}
					if first+1 > blocks {
						all.Done()
						return
					}
					submit(first + 1)
				}()
			}, w.block(first, 1))
		}
		go submit(1)
		all.Go(func() {
			for n := range blocks {
				if err := s.Append(t.Context(), loose("b", fmt.Sprintf(`{"p":%d,"n":%d}`, i, n)))[0].Err; err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if r := readAll(t, s, store.Position{}, store.ReadOptions{}); len(r.records) != 2*producers*blocks {
		t.Errorf("read %d records, want %d", len(r.records), 2*producers*blocks)
	}

	w, _ := claim(t, s, producer("a", "late"), store.ClaimRequest{})
	once := func(ctx context.Context, b *store.Block) (err error) {
		told := make(chan error, 2)
		log.Submit(ctx, func(results []store.Result) { told <- results[0].Err }, b)
		return <-told
	}
	if err := once(t.Context(), w.block(2, 1)); !errors.As(err, new(*store.SequenceError)) {
		t.Errorf("a block after a gap: %v", err)
	}
	if err := once(t.Context(), w.block(1, 2)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a duplicate", once(t.Context(), w.block(1, 2)), store.ErrDuplicate)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "a submission that nobody wants", once(ended, w.block(3, 1)), context.Canceled)
	if once(t.Context(), &store.Block{}) == nil {
		t.Error("an empty block was stored")
	}
}

// testSubmitFails blocks a sync and makes it fail: what was submitted meanwhile is told so,
// once, whether it had been written or not, and nothing before.
func testSubmitFails(t *testing.T, d Driver) {
	if d.Faulty == nil {
		return
	}
	s, disk := d.Faulty(t)
	log, ok := s.(store.Submitter)
	if !ok {
		return
	}
	const submissions = 5
	var writers []*writer
	for i := range submissions {
		w, _ := claim(t, s, producer("a", fmt.Sprint("p", i)), store.ClaimRequest{Attempt: 1})
		writers = append(writers, w)
	}
	release := disk.Block()
	t.Cleanup(release)
	told := make(chan error, 2*submissions)
	tell := func(results []store.Result) { told <- results[0].Err }
	go log.Submit(context.Background(), tell, writers[0].block(1, 1)) // leads
	<-disk.Blocked()
	for _, w := range writers[1:] {
		log.Submit(context.Background(), tell, w.block(1, 1))
	}
	if len(told) > 0 {
		t.Fatalf("settled before its sync: %v", <-told)
	}
	disk.Fail()
	release()
	for i := range submissions {
		select {
		case err := <-told:
			wantErr(t, "a submission", err, store.ErrUnavailable)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d submissions were told of the failure", i, submissions)
		}
	}
	once := make(chan error, 1)
	log.Submit(context.Background(), func(results []store.Result) { once <- results[0].Err }, writers[0].block(2, 1))
	wantErr(t, "a submission after the failure", <-once, store.ErrUnavailable)
	if len(told) > 0 {
		t.Error("a submission was told twice")
	}
}
