package log_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// TestImportReplayed opens an unfinished copy whose states are lost. What is rebuilt from
// the log knows how far the copy got and the producer that was imported, as it was, but no
// producer of which there are only blocks.
func TestImportReplayed(t *testing.T) {
	ctx, fs := t.Context(), vfs.NewMem()
	o := log.Options{FS: fs, KeepEvery: -1, Import: true}
	s := open(t, o)
	p, gone := store.Producer{Principal: "p", Topic: "a", Name: "x"}, store.Producer{Principal: "p", Topic: "a", Name: "gone"}
	var blocks []store.ReadBatch
	for i, of := range []store.Producer{p, gone} {
		b := &store.Block{Topic: "a", Codec: "json", Principal: "p", Producer: of, Epoch: 9, First: 5}
		b.Add([]byte("{}"))
		blocks = append(blocks, store.ReadBatch{Next: store.Position{Tag: "source", Block: uint64(i) + 2}, Time: time.Unix(1.7e9, 0), Block: b})
	}
	at := store.Copied{Source: "source", Next: blocks[1].Next}
	state := store.ProducerState{Attempt: 3, Next: 4, Seen: time.Now().UTC(), Expire: time.Hour} // older than its block
	if err := s.Import(ctx, store.Copied{}, at, store.Import{
		Blocks:    blocks,
		Producers: []store.ImportedProducer{{SavedProducer: store.SavedProducer{Producer: p, ProducerState: state}}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.RemoveAll("store/states"); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	if is, err := s.Imported(ctx); err != nil || is != at {
		t.Errorf("Imported: %+v, %v, want %+v", is, err, at)
	}
	var all []store.SavedProducer
	for k, err := range s.Saved(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	if len(all) != 1 || all[0].Producer != p || all[0].Next != 4 || all[0].Attempt != 3 || !all[0].Seen.Equal(state.Seen) {
		t.Errorf("producers: %+v", all)
	}
}
