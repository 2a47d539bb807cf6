package server

import (
	"fmt"
	"testing"
	"time"
)

// Of any number of addresses, few are remembered; the others share the rate of one.
func TestPaced(t *testing.T) {
	p := paced{atOnce: time.Second}
	take := func(host string, now time.Time) time.Duration { return p.take(host, time.Second, 3*time.Second, now) }
	now := time.Unix(1000, 0)
	for i := range 3 * pacePeers {
		take(fmt.Sprint(i), now)
	}
	if n := len(p.free); n > pacePeers+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	if wait := take("new", now); wait < 2*time.Second || wait > 10*time.Second {
		t.Errorf("one more waits for %v", wait)
	}
	if wait := take("0", now); wait > 0 {
		t.Errorf("one that is remembered waits for %v", wait)
	}
	now = now.Add(time.Minute)
	if wait := take("new", now); wait > 0 || len(p.free) > 2 {
		t.Errorf("a minute later it waits for %v, and %d are remembered", wait, len(p.free))
	}
}
