package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// TestExpire lets producers be forgotten to the nanosecond.
func TestExpire(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	const day = 24 * time.Hour
	claim := func(s store.ProducerState, r store.ClaimRequest, after time.Duration) (store.ProducerState, store.Claim) {
		t.Helper()
		s, c, err := s.Claim(r, s.Epoch+1, start.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	for _, c := range []struct {
		name   string
		expire time.Duration // of the claim; 0: the default
		append time.Duration // when a record came; 0: none did
		after  time.Duration
		known  bool
	}{
		{"in time", day, 0, day - 1, true},
		{"too late", day, 0, day, false},
		{"in time after an append", day, day - 1, 2*day - 2, true},
		{"too late after an append", day, day - 1, 2*day - 1, false},
		{"in time by default", 0, 0, store.Expire - 1, true},
		{"too late by default", 0, 0, store.Expire, false},
	} {
		s, first := claim(store.ProducerState{}, store.ClaimRequest{Expire: c.expire}, 0)
		next := uint64(1)
		if c.append > 0 {
			b := &store.Block{Topic: "a", Codec: "json", Producer: store.Producer{Topic: "a", Name: "p"}, Epoch: first.Epoch, First: 1}
			b.Add([]byte(`{}`))
			n := []store.Numbering{{Producer: b.Producer, Before: s}}
			store.Decide([]*store.Block{b}, make([]store.Result, 1), n, start.Add(c.append))
			s, next = n[0].After, 2
		}
		s, got := claim(s, store.ClaimRequest{}, c.after)
		if !c.known {
			next = 1
		}
		if got.New == c.known || got.Next != next || s.Epoch == first.Epoch {
			t.Errorf("%s: %+v, want known %v, next %d", c.name, got, c.known, next)
		}
	}
}

// TestDecideManyProducers decides about more producers than anybody should look
// through one by one.
func TestDecideManyProducers(t *testing.T) {
	const n = 1000
	blocks := make([]*store.Block, 0, 2*n)
	all := make([]store.Numbering, n)
	for i := range n {
		p := store.Producer{Principal: string(rune('a' + i%7)), Topic: "t", Name: string(rune('A'+i/26%26)) + string(rune('A'+i%26)) + string(rune('A'+i/676))}
		s, c, err := store.ProducerState{}.Claim(store.ClaimRequest{}, uint64(i)+1, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = store.Numbering{Producer: p, Before: s}
		for _, first := range []uint64{1, 2 + uint64(i%2)} { // every second one has a gap
			b := &store.Block{Topic: "t", Codec: "json", Principal: p.Principal, Producer: p, Epoch: c.Epoch, First: first}
			b.Add([]byte(`{}`))
			blocks = append(blocks, b)
		}
	}
	sortNumberings(all)
	results := make([]store.Result, len(blocks))
	store.Decide(blocks, results, all, time.Unix(1, 0))
	for i, b := range blocks {
		gap := i/2%2 == 1
		if errors.As(results[i].Err, new(*store.SequenceError)) != gap || !gap && results[i].Err != nil {
			t.Fatalf("block %d of %s: %v, want a gap: %v", b.First, b.Producer.Name, results[i].Err, gap)
		}
	}
	for _, s := range all {
		if s.After.Next != 3 && s.After.Next != s.Before.Next {
			t.Fatalf("%s comes to %d", s.Producer.Name, s.After.Next)
		}
	}
}

func sortNumberings(all []store.Numbering) {
	slices.SortFunc(all, func(a, b store.Numbering) int { return a.Producer.Compare(b.Producer) })
}
