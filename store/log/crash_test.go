package log_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var (
	seeds = flag.Int("crash.seeds", 150, "how many histories of crashes to try")
	first = flag.Uint64("first", 1, "the seed of the first")
)

// TestCrash takes a store through several lives, each of which ends with a loss of power or
// a killed process at a random operation, perhaps while the store is being opened. All
// acknowledged records must be there, and no damage may be reported.
func TestCrash(t *testing.T) {
	rewritten := 0
	for seed := range testrand.From(*first, testrand.Many(*seeds)) {
		w := newWorld(seed)
		if err := w.live(w.rng.IntN(4)+1, nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if w.rewritten() {
			rewritten++
		}
	}
	if t.Logf("%d stores have segments that were rewritten", rewritten); rewritten == 0 && testrand.Many(*seeds) >= 100 {
		t.Error("no segment was rewritten")
	}
}

// rewritten reports whether the store has a rewritten segment.
func (w *world) rewritten() bool {
	return slices.ContainsFunc(w.fs.Files(), func(name string) bool {
		return path.Ext(name) == ".seg" && strings.Count(path.Base(name), "-") == 2
	})
}

// TestCrashIsFound shows that TestCrash can fail: it does without syncs.
func TestCrashIsFound(t *testing.T) {
	for seed := range 50 {
		w := newWorld(uint64(seed))
		w.opts.Durability = store.OS
		if err := w.live(3, nil); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Fatal("50 histories without syncs, and nothing was lost")
}

// world is a store, and everything it has acknowledged.
type world struct {
	rng  *rand.Rand
	fs   *crashfs.FS
	opts log.Options
	told []string // the damage that was reported

	mu     sync.Mutex
	acks   acks
	before acks // at the crash
	power  bool // power was lost since the log was last opened
	sparse bool // of two topics, only one is trimmed, so that segments are rewritten
}

// acks is what the store has acknowledged.
type acks struct {
	records map[store.Position]string
	numbers map[store.Producer]uint64
	loose   int               // the last number in topic b
	asked   map[string]uint64 // by topic: all before this block may be trimmed
	trimmed map[string]uint64 // by topic: all before this block is trimmed
	cursor  store.Position
	head    uint64 // positions from here on were never given out
}

func (a acks) clone() acks {
	a.records, a.numbers = maps.Clone(a.records), maps.Clone(a.numbers)
	a.asked, a.trimmed = maps.Clone(a.asked), maps.Clone(a.trimmed)
	return a
}

// topicOf returns the topic to which a record was written.
func topicOf(record string) string {
	if strings.HasPrefix(record, `{"n"`) {
		return "b"
	}
	return "a"
}

func newWorld(seed uint64) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)),
		fs:  crashfs.New(seed),
		acks: acks{
			records: map[store.Position]string{}, numbers: map[store.Producer]uint64{},
			asked: map[string]uint64{}, trimmed: map[string]uint64{},
		},
	}
	w.opts = log.Options{
		MaxSegment: []int64{32 << 10, 32 << 10, 32 << 10, 1 << 20}[w.rng.IntN(4)], KeepEvery: -1, Reserve: -1,
		Damaged: func(d log.Damage) { w.told = append(w.told, d.Text) },
	}
	if w.sparse = w.rng.IntN(4) == 0; w.sparse {
		w.opts.MaxSegment = 32 << 10
	}
	return w
}

// live takes the store through a number of lives. Then it calls harm or, if that is nil,
// opens the store once more and verifies it.
func (w *world) live(lives int, harm func() error) error {
	for life := range lives {
		if w.rng.IntN(3) == 0 { // so that states are read, and not rebuilt
			s, err := w.open()
			if err != nil {
				return fmt.Errorf("life %d: %w", life, err)
			}
			if err := s.Close(); err != nil {
				return fmt.Errorf("life %d: %w", life, err)
			}
		}
		if life > 0 {
			if err := w.viewWhole(); err != nil {
				return fmt.Errorf("life %d, read-only: %w", life, err)
			}
		}
		power := w.rng.IntN(2) == 0
		ops := w.rng.IntN(150) + 1
		switch w.rng.IntN(6) {
		case 0, 1:
			ops = w.rng.IntN(40) + 1 // perhaps within the opening
		case 2, 3:
			ops = w.rng.IntN(1000) + 1 // perhaps while segments are rewritten
		}
		if w.sparse {
			ops += 500
		}
		w.fs.CrashAfter(ops, power, func() {
			w.mu.Lock()
			w.before = w.acks.clone()
			w.mu.Unlock()
		})
		s, err := w.open()
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		// A process that is killed before it has opened the log leaves the log as it was.
		w.power = power || w.power && w.fs.Crashed()
		if err := w.verify(s); err != nil {
			return fmt.Errorf("life %d: %w", life, errors.Join(err, s.Close()))
		}
		err = errors.Join(w.work(s), s.Close())
		for err == nil && !w.fs.Crashed() { // closes and opens the store without using it
			if s, err = w.open(); err == nil {
				err = s.Close()
			}
		}
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		w.fs, w.acks = w.fs.After(), w.before
	}
	if harm != nil {
		return harm()
	}
	if err := w.viewWhole(); err != nil {
		return fmt.Errorf("at the end, read-only: %w", err)
	}
	s, err := w.open()
	if err != nil {
		return err
	}
	return errors.Join(w.verify(s), s.Close())
}

func (w *world) open() (*log.Store, error) {
	w.told = nil
	o := w.opts
	o.FS = w.fs
	s, err := log.Open(context.Background(), "store", &o)
	if err == nil && w.told != nil {
		return nil, errors.Join(fmt.Errorf("told: %q", w.told), s.Close())
	}
	return s, err
}

func record(p store.Producer, number uint64, size int) string {
	return fmt.Sprintf(`{"p":%q,"n":%d,"x":%q}`, p.Name, number, strings.Repeat("x", size))
}

// work uses the store until the crash.
func (w *world) work(s *log.Store) error {
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range 3 {
		p := store.Producer{Principal: "u", Topic: "a", Name: fmt.Sprintf("w%d", i)}
		size := []int{10, 1000, 9000}[w.rng.IntN(3)]
		if w.opts.MaxSegment > 32<<10 && size == 9000 {
			size = 70_000 // so that groups overlap
		}
		wg.Go(func() { errs[i] = w.write(s, p, size) })
	}
	size := []int{10, 3000, 9000}[w.rng.IntN(3)]
	wg.Go(func() { errs[3] = w.writeLoose(s, size) })
	wg.Wait()
	return errors.Join(errs...)
}

// ack records the answer to an append.
func (w *world) ack(at store.Position, records []string, do func(*acks)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range records {
		at.Index = uint32(i)
		w.acks.records[at] = r
	}
	w.acks.head = max(w.acks.head, at.Block+1)
	do(&w.acks)
}

func (w *world) write(s *log.Store, p store.Producer, size int) error {
	ctx := context.Background()
	claim, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 1, Acked: w.acked(p)})
	if err != nil {
		return err
	}
	for next := claim.Next; !w.fs.Crashed(); {
		b := &store.Block{Topic: "a", Codec: "json", Principal: p.Principal, Producer: p, Epoch: claim.Epoch, First: next}
		var records []string
		for i := range next%3 + 1 {
			records = append(records, record(p, next+i, size))
			b.Add([]byte(records[i]))
		}
		b.Note = fmt.Appendf(nil, "%d", next+next%3)
		r := store.Block{
			Topic: store.Rejected, Codec: "json", Principal: p.Principal, Producer: p, Epoch: claim.Epoch, First: next + next%3 + 1,
			Rejected: []store.Rejection{{Number: next + next%3 + 1, Code: "schema"}},
		}
		r.Add([]byte(record(p, r.First, 1)))
		r.Note = fmt.Appendf(nil, "%d", r.First)
		results := submit(s, b, &r)
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
		next = r.First + 1
		w.ack(results[0].Position, records, func(a *acks) { a.numbers[p] = next - 1 })
	}
	return nil
}

// submit is Append by way of Submit, half of the time.
func submit(s *log.Store, blocks ...*store.Block) []store.Result {
	if rand.IntN(2) == 0 {
		return s.Append(context.Background(), blocks...)
	}
	done := make(chan []store.Result, 1)
	s.Submit(context.Background(), func(results []store.Result) { done <- slices.Clone(results) }, blocks...)
	return <-done
}

func (w *world) acked(p store.Producer) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acks.numbers[p]
}

// writeLoose appends to another topic, which it trims, and commits a cursor.
func (w *world) writeLoose(s *log.Store, size int) error {
	ctx := context.Background()
	claim, err := s.ClaimCursor(ctx, cursor, store.CursorRequest{})
	if err != nil {
		return err
	}
	w.mu.Lock()
	n := w.acks.loose
	w.mu.Unlock()
	for !w.fs.Crashed() {
		n++
		b := &store.Block{Topic: "b", Codec: "json"}
		rec := fmt.Sprintf(`{"n":%d,"x":%q}`, n, strings.Repeat("y", size))
		b.Add([]byte(rec))
		r := submit(s, b)[0]
		if r.Err != nil {
			return r.Err
		}
		w.ack(r.Position, []string{rec}, func(a *acks) { a.loose = n })
		if n%5 != 4 {
			continue
		}
		head, err := s.Head(ctx)
		if err != nil {
			return err
		}
		if err := s.Commit(ctx, cursor, claim.Epoch, head); err != nil {
			return err
		}
		w.ack(r.Position, nil, func(a *acks) { a.cursor = head })
		trimmed := []string{"a"} // trims a part of what there is
		switch {
		case w.sparse:
		case n%20 == 9:
			trimmed = []string{"b", store.Rejected}
		case n%20 == 19:
			trimmed = []string{"a", "b", store.Rejected}
		}
		for _, topic := range trimmed {
			if err := w.trim(s, topic, r.Position); err != nil {
				return err
			}
		}
		if err := s.Tidy(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) trim(s *log.Store, topic string, before store.Position) error {
	w.mu.Lock()
	w.acks.asked[topic] = before.Block
	w.mu.Unlock()
	if err := s.Trim(context.Background(), topic, before); err != nil {
		return err
	}
	w.ack(before, nil, func(a *acks) { a.trimmed[topic] = before.Block })
	return nil
}

var cursor = store.CursorName{Name: "c", Subscription: "*"}

// verify compares the store with what was acknowledged.
func (w *world) verify(s *log.Store) error {
	ctx := context.Background()
	acks := w.now()
	seen, loose, err := acks.verify(s)
	if err != nil {
		return err
	}
	for p, n := range acks.numbers {
		claim, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 1, Acked: n})
		if err != nil || claim.Next < max(seen[p], n)+1 || string(claim.Note) != fmt.Sprint(claim.Next-1) {
			return fmt.Errorf("%s was acknowledged to %d and has %d: claim %+v, %w", p.Name, n, seen[p], claim, err)
		}
		rejected := uint64(0)
		for r, err := range s.Rejections(ctx, p, 0) {
			if err != nil {
				return err
			}
			rejected = r.Number
		}
		if rejected != claim.Next-1 {
			return fmt.Errorf("%s: the last rejection is %d, want %d", p.Name, rejected, claim.Next-1)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks.loose = max(w.acks.loose, loose)
	return nil
}

// now returns what has been acknowledged so far.
func (w *world) now() acks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acks.clone()
}

// verify compares what can be read with what was acknowledged. It returns the last number
// of each producer, and the last one in topic b.
func (a acks) verify(s *log.Store) (seen map[store.Producer]uint64, loose int, err error) {
	ctx := context.Background()
	stats, err := s.Topics(ctx)
	if err != nil {
		return nil, 0, err
	}
	there := map[store.Position]string{}
	seen, counts := map[store.Producer]uint64{}, map[string]uint64{}
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			return nil, 0, err
		}
		if b.Block == nil {
			continue
		}
		counts[b.Block.Topic]++
		if b.At.Block < a.trimmed[b.Block.Topic] {
			return nil, 0, fmt.Errorf("%v in %s was trimmed, and is there", b.At, b.Block.Topic)
		}
		for i, r := range b.Block.Records(0) {
			at := b.At
			at.Index = i
			there[at] = string(r)
			p := b.Block.Producer
			if b.Block.Topic == "c" {
				continue
			}
			if p.IsZero() {
				last := loose
				if _, err := fmt.Sscanf(string(r), `{"n":%d,`, &loose); err != nil || last != 0 && loose <= last {
					return nil, 0, fmt.Errorf("topic b goes from %d to %.40s (%w)", last, r, err)
				}
				continue
			}
			number := b.Block.First + uint64(i)
			if number <= seen[p] || !strings.HasPrefix(string(r), record(p, number, 0)[:len(record(p, number, 0))-2]) {
				return nil, 0, fmt.Errorf("%s has %.40q as number %d after %d", p.Name, r, number, seen[p])
			}
			seen[p] = number
		}
	}
	for _, st := range stats {
		if st.Blocks != counts[st.Name] {
			return nil, 0, fmt.Errorf("%s is said to hold %d blocks, and there are %d", st.Name, st.Blocks, counts[st.Name])
		}
	}
	for at, want := range a.records {
		if got, ok := there[at]; ok && got != want || !ok && at.Block >= a.asked[topicOf(want)] {
			return nil, 0, fmt.Errorf("at %v there is %.60q, want %.60q", at, got, want)
		}
	}
	if at, _, err := s.Cursor(ctx, cursor); err != nil || at.Compare(a.cursor) < 0 {
		return nil, 0, fmt.Errorf("the cursor is at %v (%w), want %v", at, err, a.cursor)
	}
	if head, err := s.Head(ctx); err != nil || head.Block < a.head {
		return nil, 0, fmt.Errorf("the head is %v (%w), and positions were given up to %d", head, err, a.head)
	}
	return seen, loose, nil
}
