package servertest

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// A Record is one that a store holds. It is good until the next one is yielded.
type Record struct {
	*store.Block

	At    store.Position
	Bytes []byte
}

// Records yields what a store holds of topics, or of all of them, oldest first.
func Records(t testing.TB, s store.Log, topics ...string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		t.Helper()
		for b, err := range s.Read(context.Background(), store.Position{}, store.ReadOptions{Topics: topics}) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Block == nil {
				continue
			}
			at := b.At
			for i, bytes := range b.Block.Records(b.At.Index) {
				at.Index = i
				if !yield(Record{b.Block, at, bytes}) {
					return
				}
			}
		}
	}
}

var codecs = map[string]codec.Codec{"json": json.Codec{}, "cbor": cbor.Codec{}, "msgpack": msgpack.Codec{}}

// Dict returns the dictionary that a record is.
func (r Record) Dict(t testing.TB) *dict.Dict {
	t.Helper()
	c := codecs[r.Codec]
	if c == nil {
		t.Fatalf("a record at %v is stored as %s", r.At, r.Codec)
	}
	d, err := c.Decode(r.Bytes, codec.Limits{})
	if err != nil {
		t.Fatalf("a record at %v: %v", r.At, err)
	}
	return d.Clone()
}

// Texts returns what a store holds of topics, or of all of them, as Python writes it.
func Texts(t testing.TB, s store.Log, topics ...string) (all []string) {
	t.Helper()
	for r := range Records(t, s, topics...) {
		all = append(all, r.Dict(t).String())
	}
	return all
}

// Await waits until a store has n records, for at most 20 seconds.
func Await(t testing.TB, s store.Log, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Follow: true}) {
		if err != nil {
			t.Errorf("%d records have not come: %v", n, err)
			return
		}
		if b.Block != nil {
			n -= len(b.Block.Lengths)
		}
		if n <= 0 {
			return
		}
	}
}
