package log

import (
	"encoding/binary"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// quotas count names. Those of topics are counted as the topics are loaded; how
// many producers and cursors there are is among the states, for there may be
// millions.
type quotas struct {
	topics, producers, cursors *names.Quota

	// By the keys of the counts, guarded by states.mu: those that have changed
	// since the last checkpoint, and how much of them comes of commits that nobody
	// waits for, which are not written yet.
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

// of returns the quota of what a key of the states names, nil where that is not
// counted by its keys.
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

// count counts a key that comes or goes. states.mu is held.
func (q *quotas) count(key string, by int) {
	if by == 0 { // as with all appends
		return
	}
	of := countKey(key)
	q.of(key[0]).Add(of[2:], by)
	q.changed[of] = true
}

// hasten counts a change of a commit that nobody waits for, as soon as it is on its
// way: else one who waits for nothing has no bound. states.mu is held.
func (q *quotas) hasten(key string, by int) {
	if by == 0 {
		return
	}
	of := countKey(key)
	q.of(key[0]).Add(of[2:], by)
	q.ahead[of] += by
}

// arrive counts what hasten has counted, now that it is written. states.mu is held.
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

// countKey returns the key of the count of a producer's or a cursor's key: the
// prefix, the kind, and the principal.
func countKey(key string) string {
	principal, _, _ := cutString([]byte(key[1:]))
	return string([]byte{prefixCount, key[0]}) + string(principal)
}

// save puts the counts that have changed among the states. states.mu is held.
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

// load loads the counts that are among the states.
func (q *quotas) load(st *states) error {
	return st.scan(string(rune(prefixCount)), string(rune(prefixCount+1)), func(key string, v value) bool {
		n, _ := binary.Uvarint(v.data)
		if quota := q.of(key[1]); quota != nil {
			quota.Add(key[2:], int(n))
		}
		return true
	})
}

// mayHave returns a *store.LimitError where a block's topic is one too many, or its
// owner has stored as much as it may.
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
