package log

import (
	"encoding/binary"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// quotas count names. Topics are counted when they are loaded. The numbers of producers
// and cursors are kept among the states, since there may be millions of them.
type quotas struct {
	topics, producers, cursors *names.Quota

	// These are by the keys of the counts and guarded by states.mu: the counts that have
	// changed since the last checkpoint, and the part of each that comes from commits
	// without a waiter that are not written yet.
	changed map[string]bool
	ahead   map[string]int
}

func newQuotas(o *Options) quotas {
	return quotas{
		topics:    names.New("topics", "MaxTopics", o.MaxTopics, 20_000),
		producers: names.New("producers", "MaxProducers", o.MaxProducers, 4_000_000),
		cursors:   names.New("cursors", "MaxCursors", o.MaxCursors, 100_000),
		changed:   map[string]bool{},
		ahead:     map[string]int{},
	}
}

// of returns the quota for keys with a prefix, or nil if such keys are not counted.
func (q *quotas) of(prefix byte) *names.Quota {
	switch prefix {
	case prefixProducer:
		return q.producers
	case prefixCursor:
		return q.cursors
	default:
		return nil
	}
}

// count counts a key that is added or removed. states.mu is held.
func (q *quotas) count(key string, by int) {
	if by == 0 { // as in all appends
		return
	}
	of := countKey(key)
	q.of(key[0]).Add(of[2:], by)
	q.changed[of] = true
}

// hasten counts a commit without a waiter when it is enqueued, not when it is written:
// otherwise a caller who never waits would have no limit. states.mu is held.
func (q *quotas) hasten(key string, by int) {
	if by == 0 {
		return
	}
	of := countKey(key)
	q.of(key[0]).Add(of[2:], by)
	q.ahead[of] += by
}

// arrive moves what hasten has counted to the written ones. states.mu is held.
func (q *quotas) arrive(key string, by int) {
	if by == 0 {
		return
	}
	of := countKey(key)
	q.changed[of] = true
	if q.ahead[of] -= by; q.ahead[of] == 0 {
		delete(q.ahead, of)
	}
}

// countKey returns the key of the count that includes a producer's or cursor's key: the
// prefix, the kind, and the principal.
func countKey(key string) string {
	principal, _, _ := cutString([]byte(key[1:]))
	return string([]byte{prefixCount, key[0]}) + string(principal)
}

// save writes the changed counts into the states. states.mu is held.
func (q *quotas) save(st *states) {
	for key := range q.changed {
		var data []byte
		if n := q.of(key[1]).Add(key[2:], 0) - q.ahead[key]; n > 0 {
			data = binary.AppendUvarint(nil, uint64(n))
		}
		st.set(key, st.seq, data)
	}
	clear(q.changed)
}

// load loads the counts from the states.
func (q *quotas) load(st *states) error {
	return st.scan(string(rune(prefixCount)), string(rune(prefixCount+1)), func(key string, v value) bool {
		n, _ := binary.Uvarint(v.data)
		if quota := q.of(key[1]); quota != nil {
			quota.Add(key[2:], int(n))
		}
		return true
	})
}

// mayHave returns a *store.LimitError if a block would create one topic too many, or if
// its owner has stored as much as it may.
func (s *Store) mayHave(b *store.Block) error {
	owner := names.Owner(b)
	s.topics.mu.RLock()
	t, has := s.topics.byName[b.Topic], s.topics.stored.of(owner)
	s.topics.mu.RUnlock()
	if err := names.CheckStored(owner, has, s.maxStored(owner)); err != nil || t != nil {
		return err
	}
	return s.quotas.topics.Check(owner)
}
