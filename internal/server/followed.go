package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

const (
	// maxPatterns is how many different topics one subscription may name.
	maxPatterns = 256

	// freePatterns is how many of them are not counted.
	freePatterns = 8

	// maxFollowed is how many topics all subscriptions may name together that
	// name more, and a quarter of it those of one principal.
	maxFollowed = 65_536

	// followAgain is when a peer should try again for which there are too many.
	followAgain = 5 * time.Second
)

// followed counts the topics that are named by subscriptions, each of which is
// kept as long as the subscription.
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

// follower returns whom the topics of a subscription are counted for: the principal,
// or an address where nobody has said who he is.
func (in *session) follower() string {
	if in.principal != store.Anonymous {
		return in.principal
	}
	return in.conn.Host()
}
