package spooltest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/dictwire/dictwire/spool"
)

// A memory is a spool in memory: what it takes to implement the contract, and ways to break
// it.
type memory struct {
	fault string
	max   int // bytes; 0: no limit
	name  string

	mu      sync.Mutex
	attempt uint64
	topics  map[string]*log
	more    chan struct{} // closed at the next Append
}

type log struct {
	spool.Topic
	formats []string
	records [][]byte // from number 1 on
}

var made struct {
	sync.Mutex
	n int
}

func newMemory(fault string, maxBytes int) *memory {
	made.Lock()
	defer made.Unlock()
	made.n++
	m := &memory{fault: fault, max: maxBytes, name: fmt.Sprintf("memory.%d", made.n), topics: map[string]*log{}, more: make(chan struct{})}
	if fault == "one name" {
		m.name = "memory"
	}
	return m
}

func (m *memory) Producer() string { return m.name }

func (m *memory) Attempt(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != "one attempt" || m.attempt == 0 {
		m.attempt++
	}
	return m.attempt, nil
}

func (m *memory) Append(ctx context.Context, topic, format string, records ...[]byte) (uint64, error) {
	if ctx.Err() != nil && m.fault != "context" {
		return 0, context.Cause(ctx)
	}
	if len(records) == 0 || (topic == "" || topic == "a b") && m.fault != "any topic" {
		return 0, errors.New("nothing to keep")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.topics[topic]
	if l == nil {
		l = &log{Topic: spool.Topic{Topic: topic, First: 1, Next: 1}}
		m.topics[topic] = l
	}
	size := 0
	for _, r := range records {
		size += len(r)
	}
	for n := l.Acked; n < uint64(len(l.records)); n++ {
		size += len(l.records[n])
	}
	full := m.max > 0 && size > m.max
	if full && m.fault != "keeps" {
		return 0, spool.ErrFull
	}
	first := l.Next
	for _, r := range records {
		if m.fault != "aliases" {
			r = slices.Clone(r)
		}
		l.records, l.formats = append(l.records, r), append(l.formats, format)
	}
	l.Next += uint64(len(records))
	if full {
		return 0, spool.ErrFull
	}
	if m.fault != "no news" {
		close(m.more)
		m.more = make(chan struct{})
	}
	return first, nil
}

func (m *memory) Topics(context.Context) (all []spool.Topic, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.topics {
		all = append(all, l.Topic)
	}
	return all, nil
}

func (m *memory) Read(ctx context.Context, topic string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		for {
			m.mu.Lock()
			more, b := m.more, spool.Batch{}
			if l := m.topics[topic]; l != nil {
				if from = max(from, l.First); from < l.Next {
					b = spool.Batch{First: from, Format: l.formats[from-1], Records: l.records[from-1 : from]}
				}
				if m.fault == "one format" {
					b.Format = "json"
				}
			}
			m.mu.Unlock()
			if b.Records != nil {
				if !yield(b, nil) {
					return
				}
				from++
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				if m.fault != "silent" {
					yield(spool.Batch{}, context.Cause(ctx))
				}
				return
			}
		}
	}
}

func (m *memory) Settle(_ context.Context, topic string, number uint64, sum uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.topics[topic]
	if l == nil || number >= l.Next {
		if m.fault == "any number" {
			return nil
		}
		return errors.New("there is no such record")
	}
	if number > l.Acked || m.fault == "goes back" {
		l.Acked, l.Sum = number, sum
	}
	switch l.First = l.Acked + 1; m.fault {
	case "drops":
		l.First++
	case "no sum":
		l.Sum = 0
	}
	return nil
}

func driver(fault string) Driver {
	return Driver{
		Open: func(T) spool.Spool { return newMemory(fault, 0) },
		Reopen: func(_ T, s spool.Spool) spool.Spool {
			m := s.(*memory)
			switch fault {
			case "forgets":
				return newMemory(fault, 0)
			case "forgets attempts":
				m.attempt = 0
			}
			return m
		},
		Full: func(_ T, bytes int) spool.Spool { return newMemory(fault, bytes) },
	}
}

func TestMemory(t *testing.T) { Run(t, driver("")) }

// A recorder is a T that notes failures.
type recorder struct {
	*testing.T

	mu     sync.Mutex
	failed bool
}

func (r *recorder) Errorf(string, ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Each way to break the contract fails a test.
func TestBroken(t *testing.T) {
	patience = patience / 200
	for fault, check := range map[string]string{
		"aliases": "Append", "one format": "Formats", "no news": "Follow", "silent": "Follow",
		"goes back": "Settle", "drops": "Settle", "no sum": "Settle", "any number": "Settle",
		"one attempt": "Attempt", "one name": "Attempt", "forgets": "Reopen", "forgets attempts": "Reopen",
		"keeps": "Full", "context": "Refused", "any topic": "Refused",
	} {
		t.Run(fault, func(t *testing.T) {
			for _, c := range checks {
				if c.name != check {
					continue
				}
				r := &recorder{T: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.check(r, driver(fault))
				}()
				<-done
				if !r.failed {
					t.Errorf("%s passes", check)
				}
			}
		})
	}
}
