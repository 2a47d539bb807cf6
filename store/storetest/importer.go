package storetest

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

// An Importing is a store that becomes a copy of another one.
type Importing interface {
	store.Store
	store.Census
	store.Importer
}

// source is the position of a block of the store that is copied, which there is not.
func source(block uint64) store.Position { return store.Position{Tag: "source", Block: block} }

// imported returns blocks as a read of a source yields them: of a producer with gaps between
// its numbers, rejected ones, and one of nobody. They stand at 7, 8, 9 and 20.
func imported(p store.Producer) []store.ReadBatch {
	at := time.Unix(1.7e9, 5).UTC()
	w := &writer{p: p, epoch: 77}
	first, later := w.block(3, 2), w.block(9, 1)
	first.Times, first.Extended = []int64{5, store.UnknownTime}, true
	rejected := w.block(5, 2)
	rejected.Topic = store.Rejected
	rejected.Rejected = []store.Rejection{{Number: 5, Code: "invalid", Reason: "r", Text: "no"}, {Number: 6, Code: "invalid"}}
	return []store.ReadBatch{
		{At: source(7), Next: source(8), Time: at, Block: first},
		{At: source(8), Next: source(9), Time: at, Block: rejected},
		{At: source(9), Next: source(10), Time: at.Add(time.Hour), Block: loose("b", `{"n":1}`)},
		{At: source(20), Next: source(21), Time: at.Add(2 * time.Hour), Block: later},
	}
}

// testImport makes a store a copy of one that there is not, step by step.
func testImport(t *testing.T, d Driver) {
	if d.Importing == nil {
		return
	}
	ctx := t.Context()
	s, again := d.Importing(t)
	p, gone := producer("a", "x"), producer("a", "gone")
	blocks := imported(p)
	more := (&writer{p: gone, epoch: 78}).block(1, 1)
	blocks = append(blocks, store.ReadBatch{At: source(21), Next: source(22), Time: blocks[3].Time, Block: more})

	at := store.Copied{}
	step := func(to store.Copied, what store.Import) {
		t.Helper()
		if err := s.Import(ctx, at, to, what); err != nil {
			t.Fatalf("Import: %v", err)
		}
		at = to
		if is, err := s.Imported(ctx); err != nil || is != at {
			t.Fatalf("Imported: %+v, %v, want %+v", is, err, at)
		}
	}
	if is, err := s.Imported(ctx); err != nil || is != at {
		t.Fatalf("Imported: %+v, %v, want none", is, err)
	}
	step(store.Copied{Source: "source"}, store.Import{})
	step(store.Copied{Source: "source", Next: source(9)}, store.Import{Blocks: blocks[:2]})

	// Half a copy is refused, and goes on.
	next, err := again(false)
	if !errors.Is(err, store.ErrHalf) {
		t.Fatalf("half a copy is opened: %v, %v", next, err)
	}
	if s, err = again(true); err != nil {
		t.Fatal(err)
	}
	if is, err := s.Imported(ctx); err != nil || is != at {
		t.Fatalf("Imported: %+v, %v, want %+v", is, err, at)
	}
	wantErr(t, "Import of what is there", s.Import(ctx, store.Copied{Source: "source"}, at, store.Import{Blocks: blocks[:2]}), store.ErrFenced)
	step(store.Copied{Source: "source", Next: source(22)}, store.Import{Blocks: blocks[2:]})

	var got []*store.Block
	var places []store.Position
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block != nil {
			got, places = append(got, b.Block.Clone()), append(places, b.At)
		}
	}
	if len(got) != len(blocks) {
		t.Fatalf("%d blocks are read, want %d", len(got), len(blocks))
	}
	for i, b := range got {
		if want := blocks[i].Block.Clone(); !reflect.DeepEqual(b, want) {
			t.Errorf("block %d:\n%+v, want\n%+v", i, b, want)
		}
	}

	// Blocks make nobody known.
	if all := census(t, s); len(all) > 0 {
		t.Fatalf("producers are known: %+v", all)
	}
	state := store.SavedProducer{Producer: p, ProducerState: store.ProducerState{
		Epoch: 77, Attempt: 4, Next: 12, GivenUp: 3, Note: []byte("note 11"), Seen: time.Now().Add(-time.Hour).UTC(), Expire: 50 * time.Hour,
	}}
	rejections := []store.Rejection{
		{Number: 5, Code: "invalid", Reason: "r", Text: "no"},
		{Number: 6, Code: "invalid"},
		{Number: 10, Code: "invalid", Text: "what is trimmed"},
	}
	for range 2 { // what is imported again takes the place of what is there
		step(at, store.Import{
			Producers: []store.ImportedProducer{{SavedProducer: state, Rejected: rejections}},
			Cursors: []store.SavedCursor{
				{CursorName: store.CursorName{Principal: "p", Name: "c", Subscription: "a"}, Position: places[3], Saved: time.Unix(1.6e9, 7).UTC()},
			},
		})
	}
	step(store.Copied{Source: "source", Next: source(22), Complete: true}, store.Import{})
	if s, err = again(false); err != nil {
		t.Fatalf("a complete copy: %v", err)
	}

	all := census(t, s)
	if len(all) != 1 || all[0].Epoch == 77 {
		t.Fatalf("producers: %+v, want one whose epoch is nobody's", all)
	}
	all[0].Epoch, all[0].Seen = 77, all[0].Seen.UTC()
	if !reflect.DeepEqual(all[0], state) {
		t.Errorf("%+v, want %+v", all[0], state)
	}
	told := rejectionsOf(t, s, p)
	if !slices.Equal(told, rejections) {
		t.Errorf("rejections: %+v, want %+v", told, rejections)
	}
	cursors, err := s.Cursors(ctx)
	if err != nil || len(cursors) != 1 || cursors[0].Position != places[3] || !cursors[0].Saved.Equal(time.Unix(1.6e9, 7)) {
		t.Errorf("cursors: %+v, %v", cursors, err)
	}
	old := &writer{s: s, p: p, epoch: 77}
	wantErr(t, "Append by an old claim", s.Append(ctx, old.block(12, 1))[0].Err, store.ErrFenced)
	if _, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 3}); !errors.Is(err, store.ErrStale) {
		t.Errorf("a claim of an older attempt: %v", err)
	}
	var lost *store.LostError
	if _, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 5, Acked: 12}); !errors.As(err, &lost) || lost.Next != 12 {
		t.Errorf("a claim beyond what is there: %v", err)
	}
	w, c := claim(t, s, p, store.ClaimRequest{Attempt: 5, Acked: 9, First: 10})
	if c.Next != 12 || c.New || string(c.Note) != "note 11" {
		t.Errorf("claim: %+v", c)
	}
	w.append(t, 2)
	if _, c := claim(t, s, gone, store.ClaimRequest{}); !c.New {
		t.Errorf("a producer that was not imported: %+v", c)
	}
	if told := rejectionsOf(t, s, gone); len(told) > 0 {
		t.Errorf("rejections of one that was not imported: %+v", told)
	}
	if r := readAll(t, s, places[3], store.ReadOptions{}); len(r.records) != 4 || r.records[0] != string(record(p, 9)) {
		t.Errorf("from the cursor on: %q", r.records)
	}
}

func census(t testing.TB, s store.Census) []store.SavedProducer {
	t.Helper()
	return all(t, s.Saved(context.Background()))
}

func rejectionsOf(t testing.TB, s store.Store, p store.Producer) []store.Rejection {
	t.Helper()
	return all(t, s.Rejections(context.Background(), p, 0))
}

func all[T any](t testing.TB, seq iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}
