package store_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// What does not shrink is seldom tried, what does is compressed, and a topic whose
// records change is found out.
func TestShrinkage(t *testing.T) {
	const size = 64 << 10
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	text := bytes.Repeat([]byte(`{"a": "some text"}`), size/18)
	var lately store.Shrinkage
	encode := func(data []byte) (compressed bool) {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(data)
		encoded := b.AppendEncoded(nil, &lately)
		var again store.Block
		if err := again.Decode(encoded); err != nil || !bytes.Equal(again.Data, data) {
			t.Fatalf("decoded: %v", err)
		}
		return len(encoded) < len(data)/2
	}
	smaller := 0
	for range 100 {
		encode(noise)
		if encode(text) {
			smaller++
		}
	}
	if smaller < 25 {
		t.Errorf("of 100 blocks of text among as many of noise, %d are compressed", smaller)
	}
	for range 5000 {
		encode(noise)
	}
	n := 0
	for !encode(text) {
		if n++; n > 64 {
			t.Fatal("text is not compressed after noise")
		}
	}
	if n < 8 { // of 5,000 blocks, two were tried or fewer than in a hundred
		t.Errorf("after %d blocks it is tried again", n)
	}
	for range 1000 {
		if !encode(text) {
			t.Fatal("text is not compressed after text")
		}
	}
}
