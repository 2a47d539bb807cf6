package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

const (
	// maxPatterns is the most topics and patterns that one subscription may name.
	maxPatterns = 256

	// freePatterns is how many of them are not counted.
	freePatterns = 8

	// maxFollowed is the most topics that all counted subscriptions may name together.
	// One principal may have a quarter of them.
	maxFollowed = 65_536

	// followAgain is how long a peer should wait after its subscription exceeded a limit.
	followAgain = 5 * time.Second
)

// followed counts the topics that open subscriptions name.
type followed struct {
	mu  sync.Mutex
	all int            // guarded by mu
	by  map[string]int // follower; guarded by mu
}

// take counts n topics of a subscription.
func (f *followed) take(follower string, n int) *fault.Error {
	if n > maxPatterns {
		return &fault.Error{
			Code: fault.OverLimit, At: -1,
			Text: fmt.Sprintf("a subscription to %d topics, want at most %d", n, maxPatterns),
			Hint: `"orders.*" is all topics below orders, and "*" is all there are`,
		}
	}
	if n <= freePatterns {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all+n > maxFollowed || f.by[follower]+n > maxFollowed/4 {
		return &fault.Error{
			Code: fault.Unavailable, At: -1, Retry: followAgain,
			Text: fmt.Sprintf("too many topics are subscribed to: %d, %d of them by you", f.all, f.by[follower]),
			Hint: `"orders.*" is all topics below orders, and "*" is all there are`,
		}
	}
	if f.by == nil {
		f.by = map[string]int{}
	}
	f.all += n
	f.by[follower] += n
	return nil
}

// give undoes take.
func (f *followed) give(follower string, n int) {
	if n <= freePatterns {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all -= n
	if f.by[follower] -= n; f.by[follower] == 0 {
		delete(f.by, follower)
	}
}

// follower returns in whose name the topics of a subscription are counted: the
// principal's, or the address's for an anonymous peer.
func (in *session) follower() string {
	if in.principal != store.Anonymous {
		return in.principal
	}
	return in.conn.Host()
}
