package log

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/store"
)

// How much a principal has stored is the sum of the weights of its blocks:
//
//	settle: adds a block    cut: subtracts what is trimmed, by the indexes if possible
//	recount: starts again, when the states are rebuilt or damage was accepted
//
// A block keeps its weight when its segment is rewritten, so the sum is exact, except for
// blocks hidden by damage, which count until the damage is accepted.

// blockRest is added to the layout of a block: the rest of a frame with a single block.
const blockRest = 64

// weigh returns the weight of a block with a layout of the given length.
func weigh(layout int) uint64 { return uint64(layout) + blockRest }

// shares are weights by owner, in order of name.
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

// stored is the total weight of the blocks that are not trimmed, by owner.
type stored struct {
	accounts map[string]*account
	changed  []*account // accounts changed since the last checkpoint
}

type account struct {
	owner   string
	bytes   uint64
	changed bool // it is in stored.changed
}

// of returns how much an owner has stored.
func (s *stored) of(owner string) uint64 {
	if a := s.accounts[owner]; a != nil {
		return a.bytes
	}
	return 0
}

// change returns an owner's account, to be changed.
func (s *stored) change(owner string) *account {
	a := s.accounts[owner]
	if a == nil {
		a = &account{owner: strings.Clone(owner)}
		s.accounts[a.owner] = a
	}
	if !a.changed {
		a.changed = true
		s.changed = append(s.changed, a)
	}
	return a
}

func (s *stored) add(owner string, bytes uint64) { s.change(owner).bytes += bytes }

func (s *stored) take(gone shares) {
	for _, g := range gone {
		a := s.change(g.owner)
		a.bytes = minus(a.bytes, g.bytes)
	}
}

// clear removes all accounts.
func (s *stored) clear() {
	for owner := range s.accounts {
		s.change(owner).bytes = 0
	}
}

// storedPrefix is the prefix of the accounts' keys in the states.
var storedPrefix = string([]byte{prefixCount, prefixTopic})

// save writes the changed accounts into the states. states.mu is held.
func (s *stored) save(st *states) {
	for _, a := range s.changed {
		var data []byte
		if a.changed = false; a.bytes > 0 {
			data = binary.AppendUvarint(nil, a.bytes)
		} else {
			delete(s.accounts, a.owner)
		}
		st.set(storedPrefix+a.owner, st.seq, data)
	}
	clear(s.changed)
	s.changed = s.changed[:0]
}

// load loads the accounts from the states.
func (s *stored) load(st *states) error {
	s.accounts, s.changed = map[string]*account{}, nil
	return st.scan(storedPrefix, storedPrefix[:1]+string(rune(prefixTopic+1)), func(key string, v value) bool {
		if n, _ := binary.Uvarint(v.data); n > 0 {
			owner := key[len(storedPrefix):]
			s.accounts[owner] = &account{owner: owner, bytes: n}
		}
		return true
	})
}

// isCounted reports whether the loaded states include the accounts. Those of older
// versions don't.
func (s *Store) isCounted() bool {
	if len(s.topics.stored.accounts) > 0 {
		return true
	}
	for _, t := range s.topics.byName {
		if t.blocks > 0 {
			return false
		}
	}
	return true
}

// SetMaxStoredBytes changes [Options.MaxStoredBytes] for all later appends.
func (s *Store) SetMaxStoredBytes(n int64) { s.maxStoredBytes.Store(n) }

// maxStored returns the most that an owner may have stored, or 0 if only the reserve
// limits it.
func (s *Store) maxStored(owner string) uint64 {
	nobody := owner == "" || owner == store.Anonymous
	switch limit := s.maxStoredBytes.Load(); {
	case limit < 0 || limit == 0 && nobody:
		return 0
	case limit > 0:
		return uint64(limit)
	default:
		return minus(s.reserve.total, s.reserve.want) / 2
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
	all := make([]store.StoredStat, 0, len(s.topics.stored.accounts))
	for owner, a := range s.topics.stored.accounts {
		if a.bytes > 0 && !strings.HasPrefix(owner, "_") {
			all = append(all, store.StoredStat{Principal: owner, Bytes: a.bytes, Max: s.maxStored(owner)})
		}
	}
	slices.SortFunc(all, func(a, b store.StoredStat) int { return cmp.Compare(a.Principal, b.Principal) })
	return all, nil
}
