package pebble_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

var seeds = flag.Int("crash.seeds", 50, "how many power losses to try")

// TestPowerLoss loses power at random points: what was acknowledged is there.
func TestPowerLoss(t *testing.T) {
	for seed := range *seeds {
		if err := losePower(uint64(seed), store.Fsync); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerLossIsFound shows that the test above can fail: without syncs it
// does, within 50 seeds.
func TestPowerLossIsFound(t *testing.T) {
	for seed := range 50 {
		if err := losePower(uint64(seed), store.OS); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Fatal("50 power losses without syncs, and nothing was lost")
}

// A crasher is a file system that loses power behind a number of syncs.
type crasher struct {
	*vfs.MemFS
	rng   *rand.Rand   // tick's own
	after atomic.Int64 // syncs; 0 while the store is opened
	syncs atomic.Int64

	mu     sync.Mutex
	acks   acks
	before acks       // when power was lost
	left   *vfs.MemFS // what is left, once power is lost
}

type acks struct {
	numbers map[store.Producer]uint64
	loose   int
	cursor  store.Position
}

// tick loses power when it is time.
func (c *crasher) tick() {
	n, after := c.syncs.Add(1), c.after.Load()
	if after == 0 || n < after {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left != nil {
		return
	}
	c.before = c.acks
	c.before.numbers = map[store.Producer]uint64{}
	for p, n := range c.acks.numbers {
		c.before.numbers[p] = n
	}
	c.left = c.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
}

func (c *crasher) lost() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.left != nil }

func (c *crasher) Create(name string, w vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.MemFS.Create(name, w)
	if err != nil {
		return nil, err
	}
	return &crashFile{f, c}, nil
}

func (c *crasher) Unwrap() vfs.FS { return c.MemFS }

// A crashFile counts what is written as well as what is synced, so that power
// is lost between a write and its sync, too.
type crashFile struct {
	vfs.File
	c *crasher
}

func (f *crashFile) Write(b []byte) (int, error) { defer f.c.tick(); return f.File.Write(b) }
func (f *crashFile) Sync() error                 { defer f.c.tick(); return f.File.Sync() }
func (f *crashFile) SyncData() error             { defer f.c.tick(); return f.File.SyncData() }

func losePower(seed uint64, d store.Durability) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &crasher{MemFS: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(seed, 2))}
	c.acks.numbers = map[store.Producer]uint64{}
	ctx := context.Background()
	s, err := pebble.Open(ctx, "store", &pebble.Options{FS: c, Durability: d, KeepEvery: -1})
	if err != nil {
		return err
	}
	c.after.Store(c.syncs.Load() + 1 + rng.Int64N(150))
	var wg sync.WaitGroup
	for i := range 3 {
		p := store.Producer{Topic: "a", Name: fmt.Sprintf("w%d", i)}
		size := []int{10, 1000, 60000}[rng.IntN(3)]
		wg.Go(func() { c.write(s, p, size) })
	}
	wg.Go(func() { c.writeLoose(s) })
	wg.Wait()
	if err := s.Close(); err != nil {
		return err
	}
	return c.verify(ctx)
}

func record(p store.Producer, number uint64, size int) []byte {
	return fmt.Appendf(nil, `{"p":%q,"n":%d,"x":%q}`, p.Name, number, strings.Repeat("x", size))
}

// write appends until power is lost.
func (c *crasher) write(s *pebble.Store, p store.Producer, size int) {
	ctx := context.Background()
	claim, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 1})
	for next := claim.Next; err == nil && !c.lost(); {
		b := &store.Block{Topic: "a", Codec: "json", Producer: p, Epoch: claim.Epoch, First: next}
		for i := range next%3 + 1 {
			b.Add(record(p, next+i, size))
		}
		b.Note = fmt.Appendf(nil, "%d", next+next%3)
		r := store.Block{
			Topic: store.Rejected, Codec: "json", Producer: p, Epoch: claim.Epoch, First: next + next%3 + 1,
			Rejected: []store.Rejection{{Number: next + next%3 + 1, Code: "schema"}},
		}
		r.Add(record(p, r.First, 1))
		r.Note = fmt.Appendf(nil, "%d", r.First)
		for _, r := range s.Append(ctx, b, &r) {
			err = errors.Join(err, r.Err)
		}
		if err == nil {
			next = r.First + 1
			c.mu.Lock()
			c.acks.numbers[p] = next - 1
			c.mu.Unlock()
		}
	}
}

// writeLoose appends to another topic, which it trims, and commits a cursor.
func (c *crasher) writeLoose(s *pebble.Store) {
	ctx := context.Background()
	claim, err := s.ClaimCursor(ctx, cursor, store.CursorRequest{})
	if err != nil {
		return
	}
	for n := 0; !c.lost(); n++ {
		b := &store.Block{Topic: "b", Codec: "json"}
		b.Add(fmt.Appendf(nil, `{"n":%d}`, n))
		r := s.Append(ctx, b)[0]
		if r.Err != nil {
			return
		}
		c.mu.Lock()
		c.acks.loose++
		c.mu.Unlock()
		head, err := s.Head(ctx)
		if n%5 == 4 {
			err = errors.Join(err, s.Trim(ctx, "b", r.Position), s.Commit(ctx, cursor, claim.Epoch, head))
			c.mu.Lock()
			c.acks.cursor = head
			c.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

var cursor = store.CursorName{Name: "c", Subscription: "*"}

// verify opens what is left.
func (c *crasher) verify(ctx context.Context) (err error) {
	s, err := pebble.Open(ctx, "store", &pebble.Options{FS: c.left, KeepEvery: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.Check(ctx, func(d *store.DamageError) { err = d }); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	seen := map[store.Producer]uint64{}
	loose := -1
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			return err
		}
		if b.Block == nil {
			continue
		}
		for _, r := range b.Block.Records(0) {
			p := b.Block.Producer
			if p.IsZero() {
				if _, err := fmt.Sscanf(string(r), `{"n":%d}`, &loose); err != nil {
					return err
				}
				continue
			}
			seen[p]++
			if !strings.HasPrefix(string(r), string(record(p, seen[p], 1)[:len(record(p, seen[p], 1))-3])) {
				return fmt.Errorf("%s has %.40q as number %d", p.Name, r, seen[p])
			}
		}
	}
	for p, n := range c.before.numbers {
		if seen[p] < n {
			return fmt.Errorf("%s was acknowledged to %d, and has %d", p.Name, n, seen[p])
		}
		claim, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 2, Acked: n})
		if err != nil || claim.Next != seen[p]+1 || string(claim.Note) != fmt.Sprint(seen[p]) {
			return fmt.Errorf("%s: claim %+v, %w, want next %d", p.Name, claim, err, seen[p]+1)
		}
		rejected := uint64(0)
		for r, err := range s.Rejections(ctx, p, 0) {
			if err != nil {
				return err
			}
			rejected = r.Number
		}
		if rejected != seen[p] {
			return fmt.Errorf("%s: the last rejection is %d, want %d", p.Name, rejected, seen[p])
		}
	}
	if loose+1 < c.before.loose {
		return fmt.Errorf("%d loose records were acknowledged, and there are %d", c.before.loose, loose+1)
	}
	if at, _, err := s.Cursor(ctx, cursor); err != nil || at.Compare(c.before.cursor) < 0 {
		return fmt.Errorf("the cursor is at %v (%w), want %v", at, err, c.before.cursor)
	}
	return nil
}
