package memory_test

import (
	"testing"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

func TestReadBack(t *testing.T) {
	ctx := t.Context()
	var s store.Store = memory.New(nil)
	p := store.Producer{Principal: "till", Topic: "orders", Name: "till-7.k2x9"}
	claim, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil || claim.Next != 1 || !claim.New {
		t.Fatalf("Claim: %+v, %v", claim, err)
	}
	b := &store.Block{Topic: "orders", Codec: "json", Producer: p, Epoch: claim.Epoch, First: 1}
	b.Add([]byte(`{"id":1}`))
	b.Add([]byte(`{"id":2}`))
	if r := s.Append(ctx, b, b)[1]; r.Err != store.ErrDuplicate {
		t.Fatalf("the second append: %v", r.Err)
	}
	var got []string
	for batch, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			for _, r := range batch.Block.Records(batch.At.Index) {
				got = append(got, string(r))
			}
		}
	}
	if len(got) != 2 || got[1] != `{"id":2}` {
		t.Fatalf("read %q", got)
	}
}
