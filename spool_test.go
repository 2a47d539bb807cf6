package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/spool"
)

// A memorySpool is a spool in memory.
type memorySpool struct {
	delay time.Duration // of Append
	late  time.Duration // before Append returns

	mu      sync.Mutex
	attempt uint64
	topics  map[string]*spooledTopic
	full    error         // the error of Append
	changed chan struct{} // closed at the next Append
	settles []string      // arguments of Settle
	damaged [2]uint64     // numbers from the first to before the second can't be read
}

type spooledTopic struct {
	spool.Topic
	formats []string
	records []string // the first is record 1
}

func newSpool() *memorySpool {
	return &memorySpool{topics: make(map[string]*spooledTopic), changed: make(chan struct{})}
}

func (s *memorySpool) Producer() string { return "spool" }

func (s *memorySpool) Attempt(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt++
	return s.attempt, nil
}

func (s *memorySpool) Append(ctx context.Context, topic, format string, records ...[]byte) (uint64, error) {
	if s.delay > 0 {
		time.Sleep(s.delay)
	}
	defer func() { time.Sleep(s.late) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil || ctx.Err() != nil {
		return 0, errors.Join(s.full, ctx.Err())
	}
	t := s.topics[topic]
	if t == nil {
		t = &spooledTopic{Topic: spool.Topic{Topic: topic, First: 1, Next: 1}}
		s.topics[topic] = t
	}
	first := t.Next
	for _, r := range records {
		t.records, t.formats = append(t.records, string(r)), append(t.formats, format)
		t.Next++
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return first, nil
}

func (s *memorySpool) Topics(context.Context) ([]spool.Topic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []spool.Topic
	for _, t := range s.topics {
		all = append(all, t.Topic)
	}
	return all, nil
}

func (s *memorySpool) Read(ctx context.Context, topic string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		for ctx.Err() == nil {
			s.mu.Lock()
			var b spool.Batch
			if t := s.topics[topic]; t != nil {
				from = max(from, t.First)
				for i := from; i < t.Next && (i < s.damaged[0] || i >= s.damaged[1]) && t.formats[i-1] == t.formats[from-1] && len(b.Records) < 3; i++ {
					b.Records = append(b.Records, []byte(t.records[i-1]))
					b.Format = t.formats[i-1]
				}
			}
			b.First = from
			if d := s.damaged; from >= d[0] && from < d[1] {
				s.mu.Unlock()
				yield(spool.Batch{}, &spool.GapError{From: from, To: d[1], Err: errors.New("damaged")})
				return
			}
			changed := s.changed
			s.mu.Unlock()
			if len(b.Records) > 0 {
				if !yield(b, nil) {
					return
				}
				from += uint64(len(b.Records))
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (s *memorySpool) Settle(_ context.Context, topic string, number uint64, sum uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[topic]
	if number > t.Acked {
		t.Acked, t.Sum, t.First = number, sum, number+1
	}
	s.settles = append(s.settles, fmt.Sprintf("%s %d %08x", topic, number, sum))
	return nil
}

// fill puts the records 1 to count of topic t into the spool.
func (s *memorySpool) fill(t *testing.T, count int) {
	t.Helper()
	for i := 1; i <= count; i++ {
		if _, err := s.Append(t.Context(), "t", "json", []byte(line(i))); err != nil {
			t.Fatal(err)
		}
	}
}
