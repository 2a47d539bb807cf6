// Package names counts and limits the names that peers create.
package names

import (
	"math"
	"strings"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// A Quota counts names of one kind: in all, and those of each principal, who may have
// half of them. It limits new names only; existing ones are counted, however many there
// are. Any number of goroutines may use it.
type Quota struct {
	what, option string
	max          int

	mu   sync.Mutex
	all  int            // guarded by mu
	each map[string]int // without zeros; guarded by mu
}

// New returns a quota for names of the kind what. limit is the value of the store's
// option, where zero means the default and negative no limit.
func New(what, option string, limit, preset int) *Quota {
	switch {
	case limit == 0:
		limit = preset
	case limit < 0:
		limit = math.MaxInt
	}
	return &Quota{what: what, option: option, max: limit, each: map[string]int{}}
}

// Check returns a *store.LimitError if a principal can have no more names. The server's
// own principals, which begin with "_", always can.
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

// Add adds n, which may be negative, to a principal's names, and returns their new
// number.
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

// All returns the total number of names.
func (q *Quota) All() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}

// CheckStored returns a *store.LimitError if an owner has stored as many bytes as it may;
// limit 0 means no limit. The server's own topics, which begin with "_", always may
// store.
func CheckStored(owner string, has, limit uint64) error {
	if limit == 0 || has < limit || strings.HasPrefix(owner, "_") {
		return nil
	}
	return &store.LimitError{
		What: "stored bytes", Principal: owner, Max: int64(min(limit, math.MaxInt64)), Option: "MaxStoredBytes",
	}
}

// Owner returns the principal that owns a block's topic if the block creates it. The
// server's own topics, which begin with "_", own themselves.
func Owner(b *store.Block) string {
	if b.Topic[0] == '_' {
		return b.Topic
	}
	return b.Principal
}
