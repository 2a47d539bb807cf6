// Package names counts what peers name, so that a store has room for all of it.
package names

import (
	"math"
	"strings"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// A Quota counts names of one kind: in all, and those of each principal, who may
// have half of them. It bounds new names; those that are there are counted, however
// many they are. Any number of goroutines may use it.
type Quota struct {
	what, option string
	max          int

	mu   sync.Mutex
	all  int            // guarded by mu
	each map[string]int // guarded by mu: without zeros
}

// New returns a quota of max names, as an option of the store says, where zero means
// the default and negative no limit. what is their kind.
func New(what, option string, limit, preset int) *Quota {
	switch {
	case limit == 0:
		limit = preset
	case limit < 0:
		limit = math.MaxInt
	}
	return &Quota{what: what, option: option, max: limit, each: map[string]int{}}
}

// Check returns a *store.LimitError where a principal can have no more names. The
// server's own, which begin with "_", always can.
func (q *Quota) Check(principal string) error {
	if strings.HasPrefix(principal, "_") {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	half := q.max - q.max/2
	switch {
	case q.each[principal] >= half:
		return &store.LimitError{What: q.what, Principal: principal, Max: int64(half), Option: "half of " + q.option}
	case q.all >= q.max:
		return &store.LimitError{What: q.what, Max: int64(q.max), Option: q.option}
	default:
		return nil
	}
}

// Add counts n names of a principal more, or fewer, and returns how many there are.
func (q *Quota) Add(principal string, n int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all += n
	count := q.each[principal] + n
	if q.each[principal] = count; count == 0 {
		delete(q.each, principal)
	}
	return count
}

// All returns how many names there are.
func (q *Quota) All() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}

// CheckStored returns a *store.LimitError where an owner has stored as many bytes as it
// may; limit 0 is none. The server's own topics, which begin with "_", always may.
func CheckStored(owner string, has, limit uint64) error {
	if limit == 0 || has < limit || strings.HasPrefix(owner, "_") {
		return nil
	}
	return &store.LimitError{
		What: "stored bytes", Principal: owner, Max: int64(min(limit, math.MaxInt64)), Option: "MaxStoredBytes",
	}
}

// Owner returns whose name a block's topic is when the block makes it. The server's
// own topics, which begin with "_", are their own.
func Owner(b *store.Block) string {
	if b.Topic[0] == '_' {
		return b.Topic
	}
	return b.Principal
}
