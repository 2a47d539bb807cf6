package log

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/store"
)

// How much each principal has stored is the sum of what its blocks weigh:
//
//	settle: + a block      cut: − what a trim takes away, by the indexes where it can be
//	recount: all of it anew, where the states are, too, or where damage was accepted
//
// What a block weighs does not change when its segment is rewritten, so that the sum is
// exact, but for blocks that damage has hidden: those count until it is accepted.

// blockRest is what a block weighs beside its layout: what a frame of one block takes.
const blockRest = 64

// weigh returns what a block weighs whose layout has so many bytes.
func weigh(layout int) uint64 { return uint64(layout) + blockRest }

// shares are what blocks weigh, by owners, in the order of their names.
type shares []ownerShare

type ownerShare struct {
	owner string
	bytes uint64
}

func (s *shares) add(owner string, bytes uint64) {
	i, found := slices.BinarySearchFunc(*s, owner, func(o ownerShare, owner string) int { return cmp.Compare(o.owner, owner) })
	if !found {
		*s = slices.Insert(*s, i, ownerShare{owner: strings.Clone(owner)})
	}
	(*s)[i].bytes += bytes
}

// stored is what the blocks of all topics weigh that are not trimmed, by owners.
type stored struct {
	by      map[string]uint64 // without zeros
	changed map[string]bool   // since the last checkpoint
}

func (s *stored) add(owner string, bytes uint64) {
	if _, known := s.by[owner]; !known {
		owner = strings.Clone(owner)
	}
	s.by[owner] += bytes
	s.changed[owner] = true
}

func (s *stored) take(gone shares) {
	for _, g := range gone {
		if s.by[g.owner] = minus(s.by[g.owner], g.bytes); s.by[g.owner] == 0 {
			delete(s.by, g.owner)
		}
		s.changed[g.owner] = true
	}
}

// clear forgets all that was counted.
func (s *stored) clear() {
	for owner := range s.by {
		s.changed[owner] = true
	}
	clear(s.by)
}

// storedPrefix is what the keys of the counts begin with among the states.
var storedPrefix = string([]byte{prefixCount, prefixTopic})

// save puts the counts that have changed among the states. states.mu is held.
func (s *stored) save(st *states) {
	for owner := range s.changed {
		var data []byte
		if n := s.by[owner]; n > 0 {
			data = binary.AppendUvarint(nil, n)
		}
		st.set(storedPrefix+owner, st.seq, data)
	}
	clear(s.changed)
}

// load loads the counts that are among the states.
func (s *stored) load(st *states) error {
	s.by, s.changed = map[string]uint64{}, map[string]bool{}
	return st.scan(storedPrefix, storedPrefix[:1]+string(rune(prefixTopic+1)), func(key string, v value) bool {
		if n, _ := binary.Uvarint(v.data); n > 0 {
			s.by[key[len(storedPrefix):]] = n
		}
		return true
	})
}

// isCounted reports whether the states, as they were loaded, say how much each principal
// has stored. Those of older versions don't.
func (s *Store) isCounted() bool {
	if len(s.topics.stored.by) > 0 {
		return true
	}
	for _, t := range s.topics.byName {
		if t.blocks > 0 {
			return false
		}
	}
	return true
}

// maxStored returns how much may be stored of an owner, 0 where nothing but the reserve
// bounds it.
func (s *Store) maxStored(owner string) uint64 {
	own, nobody := strings.HasPrefix(owner, "_"), owner == "" || owner == store.Anonymous
	switch limit := s.opts.MaxStoredBytes; {
	case own || limit < 0 || limit == 0 && nobody:
		return 0
	case limit > 0:
		return uint64(limit)
	default:
		return minus(s.reserve.total, s.reserve.want) / 2
	}
}

// mayStore returns a *store.LimitError where an owner has stored as much as it may.
func (s *Store) mayStore(owner string, has uint64) error {
	limit := s.maxStored(owner)
	if limit == 0 || has < limit {
		return nil
	}
	return &store.LimitError{
		What: "stored bytes", Principal: owner, Max: int64(min(limit, math.MaxInt64)), Option: "MaxStoredBytes",
	}
}

// Stored implements [store.Accountant].
func (s *Store) Stored(ctx context.Context) ([]store.StoredStat, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	s.topics.mu.RLock()
	defer s.topics.mu.RUnlock()
	all := make([]store.StoredStat, 0, len(s.topics.stored.by))
	for owner, n := range s.topics.stored.by {
		if !strings.HasPrefix(owner, "_") {
			all = append(all, store.StoredStat{Principal: owner, Bytes: n, Max: s.maxStored(owner)})
		}
	}
	slices.SortFunc(all, func(a, b store.StoredStat) int { return cmp.Compare(a.Principal, b.Principal) })
	return all, nil
}
