package nats

import (
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// TestFencedByBlock has a server that hears of another server's claim only by the block that
// follows it: the message of the claim is deleted by then.
func TestFencedByBlock(t *testing.T) {
	s := onNode(t, &Options{Replicas: 1})
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	c, err := s.Claim(t.Context(), p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := state{ProducerState: store.ProducerState{Epoch: c.Epoch, Next: 2}, since: c.Epoch}
	hear := func(epoch, seq uint64) {
		next.Epoch = epoch
		s.note(s.home(p), seq, mark{kind: kindBlock, parts: 1, records: 1, bytes: 2, cost: 512, state: &next}.String(), time.Now())
	}
	hear(c.Epoch, c.Epoch+1_000_000)
	if c.Fenced.Err() != nil {
		t.Error("its own block ends a claim")
	}
	hear(c.Epoch+1_000_001, c.Epoch+1_000_002)
	if c.Fenced.Err() == nil {
		t.Error("the block of a later claim does not end a claim")
	}
}
