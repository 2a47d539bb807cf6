package disk_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
	"github.com/dictwire/dictwire/store"
)

var (
	seeds = flag.Int("crash.seeds", 30, "how many power losses to try")
	first = flag.Uint64("first", 1, "the seed of the first")
)

// TestPowerLoss loses power at random points. What was appended is there, under its number.
func TestPowerLoss(t *testing.T) {
	for seed := range testrand.From(*first, *seeds) {
		if err := losePower(t.Context(), seed, store.Fsync); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerLossIsFound shows that the test above can fail: without syncs it does, within 50
// seeds.
func TestPowerLossIsFound(t *testing.T) {
	for seed := range 50 {
		if err := losePower(t.Context(), uint64(seed), store.OS); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Fatal("50 power losses without syncs, and nothing was lost")
}

// A crasher is a file system that loses power after a number of operations.
type crasher struct {
	*crashfs.FS

	mu   sync.Mutex
	now  known
	then known // when power was lost
}

// known is what the program knows.
type known struct {
	appended map[string]string // by topic and number
	settled  map[string]uint64 // by topic
	attempt  uint64
}

func key(topic string, number uint64) string { return fmt.Sprintf("%s/%d", topic, number) }

// note saves what is known when power is lost.
func (c *crasher) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = known{maps.Clone(c.now.appended), maps.Clone(c.now.settled), c.now.attempt}
}

func (c *crasher) lost() bool { return c.Crashed() }

var crashTopics = []string{"a", "b.c"}

func losePower(ctx context.Context, seed uint64, d store.Durability) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &crasher{FS: crashfs.New(seed)}
	c.now = known{appended: map[string]string{}, settled: map[string]uint64{}}
	// Small enough that appends wait for the settler.
	s, err := disk.Open(ctx, "deep/down/spool", &disk.Options{FS: c, Durability: d, MaxBytes: 20000})
	if err != nil {
		return err
	}
	name := s.Producer()
	c.CrashAfter(1+rng.IntN(200), true, c.note)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for i := range 4 {
		size := []int{5, 100, 3000}[rng.IntN(3)]
		wg.Go(func() { errs <- c.append(ctx, s, crashTopics[i%2], i, size) })
	}
	for _, topic := range crashTopics {
		wg.Go(func() { errs <- c.settle(ctx, s, topic) })
	}
	wg.Go(func() { errs <- c.attempts(ctx, s) })
	for !c.lost() {
		if _, err := s.Attempt(ctx); err != nil { // bounds the test
			return err
		}
	}
	cancel()
	wg.Wait()
	if err := s.Close(); err != nil {
		return err
	}
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return c.verify(ctx, name)
}

// append appends until power is lost.
func (c *crasher) append(ctx context.Context, s *disk.Spool, topic string, who, size int) error {
	for n := 0; !c.lost(); n++ {
		var all [][]byte
		for i := range n%3 + 1 {
			all = append(all, fmt.Appendf(nil, `{"who":%d,"n":%d,"i":%d,"x":%q}`, who, n, i, strings.Repeat("x", size)))
		}
		first, err := s.Append(ctx, topic, "json", all...)
		if err != nil {
			return err
		}
		c.mu.Lock()
		for i, r := range all {
			k := key(topic, first+uint64(i))
			if _, ok := c.now.appended[k]; ok {
				err = fmt.Errorf("%s is given twice", k)
			}
			c.now.appended[k] = string(r)
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// settle settles what it reads, like a client whose server acknowledges everything.
func (c *crasher) settle(ctx context.Context, s *disk.Spool, topic string) error {
	for b, err := range s.Read(ctx, topic, 1) {
		if err != nil {
			return err
		}
		last := b.First + uint64(len(b.Records)) - 1
		if last%4 == 0 {
			continue
		}
		c.mu.Lock()
		c.now.settled[topic] = last
		c.mu.Unlock()
		if err := s.Settle(ctx, topic, last, spooltest.Sum(b.Records[len(b.Records)-1])); err != nil {
			return err
		}
	}
	return nil
}

func (c *crasher) attempts(ctx context.Context, s *disk.Spool) error {
	for !c.lost() {
		n, err := s.Attempt(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.now.attempt = max(c.now.attempt, n)
		c.mu.Unlock()
	}
	return nil
}

// verify opens what is left, and checks it.
func (c *crasher) verify(ctx context.Context, name string) (err error) {
	s, err := disk.Open(ctx, "deep/down/spool", &disk.Options{FS: c.After(), NoWait: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Producer() != name {
		return fmt.Errorf("the spool is %s, was %s", s.Producer(), name)
	}
	if n, err := s.Attempt(ctx); err != nil || n <= c.then.attempt {
		return fmt.Errorf("attempt %d after %d: %w", n, c.then.attempt, err)
	}
	held, err := s.Topics(ctx)
	if err != nil {
		return err
	}
	last := map[string]uint64{}
	for _, st := range held {
		if st.Acked > c.then.settled[st.Topic] || st.First > st.Acked+1 {
			return fmt.Errorf("%+v, and %d were settled", st, c.then.settled[st.Topic])
		}
		if err := c.verifyTopic(ctx, s, st.Topic, st.Next, st.Acked, st.Sum); err != nil {
			return err
		}
		last[st.Topic] = st.Next - 1
		if n, err := s.Append(ctx, st.Topic, "json", []byte("{}")); err != nil || n != st.Next {
			return fmt.Errorf("%s goes on with %d: %w, want %d", st.Topic, n, err, st.Next)
		}
	}
	for _, topic := range crashTopics {
		for n := last[topic] + 1; n < last[topic]+100; n++ {
			if _, ok := c.then.appended[key(topic, n)]; ok {
				return fmt.Errorf("%s is gone: it ends with %d", key(topic, n), last[topic])
			}
		}
	}
	return nil
}

// verifyTopic reads the unsettled records of a topic, which must be those that were
// appended.
func (c *crasher) verifyTopic(ctx context.Context, s *disk.Spool, topic string, next, acked uint64, ackedSum uint32) error {
	for n := acked + 1; n < next; {
		for b, err := range s.Read(ctx, topic, n) {
			if err != nil {
				return fmt.Errorf("%s: read %d: %w", topic, n, err)
			}
			if b.First != n {
				return fmt.Errorf("%s: read %d, want %d", topic, b.First, n)
			}
			for _, r := range b.Records {
				if want, ok := c.then.appended[key(topic, n)]; ok && want != string(r) {
					return fmt.Errorf("%s is %.60s, was %.60s", key(topic, n), r, want)
				}
				n++
			}
			break
		}
	}
	if want, ok := c.then.appended[key(topic, acked)]; ok && spooltest.Sum([]byte(want)) != ackedSum {
		return fmt.Errorf("the sum of %s is %08x", key(topic, acked), ackedSum)
	}
	return nil
}
