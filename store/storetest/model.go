package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dictwire/dictwire/store"
)

// A model is what a store should be: lists and maps.
type model struct {
	d    Driver
	tb   testing.TB
	s    store.Store
	head store.Position

	blocks    []modelBlock // by position
	trimmed   map[string]uint64
	producers map[string]*modelProducer
	cursors   map[string]*modelCursor
	readers   [3]store.Position // each reads on where it was
}

type modelBlock struct {
	at      store.Position
	topic   string
	records []string
}

type modelProducer struct {
	epoch, attempt, next, givenUp uint64
	note                          string
}

type modelCursor struct {
	known          bool
	at             store.Position
	epoch, attempt uint64 // of the claim that lasts
}

var (
	modelTopics    = []string{"a", "a.b", "b"}
	modelReads     = [][]string{nil, {"a"}, {"a.*", "b"}}
	modelProducers = []string{"x", "y", "z"}
)

func testModel(t *testing.T, d Driver) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			d: d, tb: t, s: d.Open(t),
			trimmed: map[string]uint64{}, producers: map[string]*modelProducer{}, cursors: map[string]*modelCursor{},
		}
		m.head, _ = m.s.Head(context.Background())
		actions := map[string]func(*rapid.T){
			"append":     m.append,
			"concurrent": m.concurrent,
			"claim":      m.claim,
			"trim":       m.trim,
			"commit":     m.commit,
			"read":       m.read,
			"":           m.check,
		}
		if d.Reopen != nil {
			actions["reopen"] = func(*rapid.T) {
				m.s = d.Reopen(t, m.s)
				for _, c := range m.cursors {
					c.epoch, c.attempt = 0, 0
				}
			}
		}
		rt.Repeat(actions)
	})
}

func (m *model) block(t *rapid.T, name string) *store.Block {
	p := producer("a", name)
	b := &store.Block{Topic: rapid.SampledFrom(modelTopics).Draw(t, "topic"), Codec: "json", Principal: p.Principal, Producer: p}
	if known := m.producers[name]; known != nil {
		b.Epoch, b.First = known.epoch, known.next
	} else {
		b.First = 1
	}
	n := rapid.IntRange(1, 4).Draw(t, "count")
	size := rapid.SampledFrom([]int{1, 40, 5000}).Draw(t, "size")
	for i := range n {
		b.Add([]byte(string(record(p, b.First+uint64(i))) + strings.Repeat(" ", size)))
	}
	b.Note = fmt.Appendf(nil, "%d", b.First+uint64(n)-1)
	return b
}

// settle notes a block that was stored.
func (m *model) settle(b *store.Block, at store.Position) {
	mb := modelBlock{at: at, topic: b.Topic}
	for _, r := range b.Records(0) {
		mb.records = append(mb.records, string(r))
	}
	i, _ := slices.BinarySearchFunc(m.blocks, at, func(x modelBlock, at store.Position) int { return x.at.Compare(at) })
	m.blocks = slices.Insert(m.blocks, i, mb)
	if known := m.producers[b.Producer.Name]; known != nil {
		known.next = b.First + uint64(len(b.Lengths))
		known.note = string(b.Note)
	}
	if head, err := m.s.Head(context.Background()); err != nil || head.Compare(at) <= 0 || head.Compare(m.head) < 0 {
		m.tb.Errorf("Head: %v, %v, was %v, after a block at %v", head, err, m.head, at)
	} else {
		m.head = head
	}
}

func (m *model) append(t *rapid.T) {
	name := rapid.SampledFrom(modelProducers).Draw(t, "producer")
	b := m.block(t, name)
	known := m.producers[name]
	var want error
	shift := rapid.SampledFrom([]int64{0, 0, 0, -1, -100, 1}).Draw(t, "shift")
	if first := int64(b.First) + shift; first > 0 {
		b.First = uint64(first)
	}
	stale := rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "stale")
	if stale {
		b.Epoch++
	}
	var seq *store.SequenceError
	switch {
	case known == nil || stale:
		want = store.ErrFenced
	case b.First+uint64(len(b.Lengths)) <= known.next:
		want = store.ErrDuplicate
	case b.First != known.next:
		want = seq
	}
	r := m.s.Append(context.Background(), b)[0]
	switch {
	case want == nil && r.Err == nil:
		m.settle(b, r.Position)
	case want == error(seq) && errors.As(r.Err, &seq) && seq.Want == known.next:
	case want != nil && errors.Is(r.Err, want):
	default:
		t.Fatalf("Append of %d+%d: %v, want %v (%+v)", b.First, len(b.Lengths), r.Err, want, known)
	}
}

// concurrent appends blocks of all producers at once, and reads meanwhile.
func (m *model) concurrent(t *rapid.T) {
	var blocks []*store.Block
	for _, name := range modelProducers {
		if m.producers[name] != nil {
			blocks = append(blocks, m.block(t, name))
		}
	}
	results := make([]store.Result, len(blocks))
	var wg sync.WaitGroup
	for i, b := range blocks {
		wg.Go(func() { results[i] = m.s.Append(context.Background(), b)[0] })
	}
	wg.Go(func() {
		var last store.Position
		for b, err := range m.s.Read(context.Background(), m.head, store.ReadOptions{}) {
			if err != nil || b.Next.Compare(last) < 0 {
				m.tb.Errorf("a read meanwhile: %v, from %v to %v", err, last, b.Next)
			}
			last = b.Next
		}
	})
	wg.Wait()
	for i, b := range blocks {
		if results[i].Err != nil {
			t.Fatalf("Append: %v", results[i].Err)
		}
		m.settle(b, results[i].Position)
	}
}

func (m *model) claim(t *rapid.T) {
	name := rapid.SampledFrom(modelProducers).Draw(t, "producer")
	r := store.ClaimRequest{
		Attempt:    rapid.Uint64Range(0, 6).Draw(t, "attempt"),
		Acked:      rapid.Uint64Range(0, 12).Draw(t, "acked"),
		AcceptLost: rapid.Bool().Draw(t, "accept"),
	}
	known := m.producers[name]
	next, givenUp, lost, stale := uint64(1), uint64(0), r.Acked > 0, false
	if known != nil {
		next = known.next
		if r.Acked+1 < known.givenUp {
			givenUp = known.givenUp
		}
		lost = r.Acked >= next || givenUp > 0
		stale = r.Attempt > 0 && r.Attempt < known.attempt
	}
	c, err := m.s.Claim(context.Background(), producer("a", name), r)
	var loss *store.LostError
	switch {
	case stale:
		if !errors.Is(err, store.ErrStale) {
			t.Fatalf("Claim: %v, want ErrStale", err)
		}
		return
	case lost && !r.AcceptLost:
		if !errors.As(err, &loss) || loss.Next != next || loss.GivenUp != givenUp {
			t.Fatalf("Claim: %v, want a loss behind %d, %d given up", err, next, givenUp)
		}
		return
	}
	note := ""
	if known == nil {
		known = &modelProducer{}
		m.producers[name] = known
	} else if r.Acked+1 <= next {
		note = known.note
	}
	givenUp = known.givenUp
	if r.Acked+1 > next {
		next, givenUp = r.Acked+1, r.Acked+1
	}
	if err != nil || c.Next != next || string(c.Note) != note || c.Epoch == known.epoch {
		t.Fatalf("Claim(%+v): %+v, %v, want next %d, note %q", r, c, err, next, note)
	}
	*known = modelProducer{epoch: c.Epoch, attempt: max(known.attempt, r.Attempt), next: next, givenUp: givenUp, note: note}
}

func (m *model) position(t *rapid.T) store.Position {
	if len(m.blocks) == 0 || rapid.IntRange(0, 9).Draw(t, "head") == 0 {
		return m.head
	}
	return rapid.SampledFrom(m.blocks).Draw(t, "position").at
}

func (m *model) trim(t *rapid.T) {
	topic, before := rapid.SampledFrom(modelTopics).Draw(t, "topic"), m.position(t)
	if err := m.s.Trim(context.Background(), topic, before); err != nil {
		t.Fatalf("Trim: %v", err)
	}
	m.blocks = slices.DeleteFunc(m.blocks, func(b modelBlock) bool {
		gone := b.topic == topic && b.at.Compare(before) < 0
		if gone {
			m.trimmed[topic] = b.at.Block + 1
		}
		return gone
	})
}

// commit claims, commits, resets and releases cursors.
func (m *model) commit(t *rapid.T) {
	ctx := context.Background()
	name := rapid.SampledFrom([]string{"c", "d"}).Draw(t, "cursor")
	p, c := m.position(t), store.CursorName{Name: name, Subscription: "*"}
	known := m.cursors[name]
	if known == nil {
		known = &modelCursor{}
		m.cursors[name] = known
	}
	switch rapid.SampledFrom([]string{"claim", "commit", "commit", "stale", "reset", "release"}).Draw(t, "what") {
	case "claim":
		attempt := rapid.Uint64Range(0, 3).Draw(t, "attempt")
		claim, err := m.s.ClaimCursor(ctx, c, store.CursorRequest{Attempt: attempt, From: p})
		if attempt > 0 && attempt < known.attempt {
			if !errors.Is(err, store.ErrStale) {
				t.Fatalf("ClaimCursor: %v, want ErrStale", err)
			}
			break
		}
		if !known.known {
			known.at = p
		}
		if err != nil || claim.New == known.known || claim.Position != known.at || claim.Epoch == known.epoch {
			t.Fatalf("ClaimCursor: %+v, %v, want %+v", claim, err, known)
		}
		*known = modelCursor{true, known.at, claim.Epoch, attempt}
	case "commit":
		err := m.s.Commit(ctx, c, known.epoch, p)
		if want := known.epoch != 0; want != (err == nil) || !want && !errors.Is(err, store.ErrFenced) {
			t.Fatalf("Commit: %v, of %+v", err, known)
		}
		if err == nil && p.Compare(known.at) > 0 {
			known.at = p
		}
	case "stale":
		if err := m.s.Commit(ctx, c, known.epoch+1, p); !errors.Is(err, store.ErrFenced) {
			t.Fatalf("Commit: %v, want ErrFenced", err)
		}
	case "reset":
		if err := m.s.Reset(ctx, c, p); err != nil {
			t.Fatalf("Reset: %v", err)
		}
		*known = modelCursor{known: true, at: p}
	case "release":
		m.s.ReleaseCursor(c, known.epoch)
		known.epoch, known.attempt = 0, 0
	}
	if got, ok, err := m.s.Cursor(ctx, c); err != nil || ok != known.known || got != known.at {
		t.Fatalf("Cursor: %v, %v, %v, want %+v", got, ok, err, known)
	}
}

// read lets a reader read on.
func (m *model) read(t *rapid.T) {
	i := rapid.IntRange(0, len(m.readers)-1).Draw(t, "reader")
	from := m.readers[i]
	r := readAll(m.tb, m.s, from, store.ReadOptions{Topics: modelReads[i]})
	trims := 0
	for topic, to := range m.trimmed {
		if store.Match(modelReads[i], topic) && !from.IsZero() && to > from.Block {
			trims++
		}
	}
	if want := m.records(from, modelReads[i]); !slices.Equal(r.records, want) || len(r.trims) != trims || r.next != m.head || r.err != nil {
		t.Fatalf("reader %d from %v: %d records to %v, trims %v (%v); want %d records to %v, %d trims", i, from, len(r.records), r.next, r.trims, r.err, len(want), m.head, trims)
	}
	m.readers[i] = r.next
}

func (m *model) records(from store.Position, topics []string) (records []string) {
	for _, b := range m.blocks {
		if store.Match(topics, b.topic) && b.at.Compare(from) >= 0 {
			records = append(records, b.records...)
		}
	}
	return records
}

// check compares all there is.
func (m *model) check(t *rapid.T) {
	if head, err := m.s.Head(context.Background()); err != nil || head != m.head {
		t.Fatalf("Head: %v, %v, want %v", head, err, m.head)
	}
	if r := readAll(m.tb, m.s, store.Position{}, store.ReadOptions{}); !slices.Equal(r.records, m.records(store.Position{}, nil)) || r.err != nil {
		t.Fatalf("a read finds %d records (%v), want %d", len(r.records), r.err, len(m.records(store.Position{}, nil)))
	}
	stats, err := m.s.Topics(context.Background())
	if err != nil {
		t.Fatalf("Topics: %v", err)
	}
	for _, stat := range stats {
		blocks := uint64(0)
		for _, b := range m.blocks {
			if b.topic == stat.Name {
				blocks++
			}
		}
		records := uint64(len(m.records(store.Position{}, []string{stat.Name})))
		if stat.Blocks != blocks || stat.Records != records || stat.Oldest.After(time.Now().Add(time.Hour)) {
			t.Fatalf("Topics: %+v, want %d blocks, %d records", stat, blocks, records)
		}
	}
}
