package nats

import (
	"context"
	"errors"
	"time"
)

// A busy subject is one of which the broker says that something is on its way to it.
type busy struct {
	since, last time.Time // when it said so first, and last
	proven      bool      // a barrier was stored since
}

const (
	// busyTime is how long a subject is busy before that is doubted.
	busyTime = time.Second

	// busyPause is how far apart two answers are at most of one time that it is busy.
	busyPause = 10 * time.Second

	// maxBusy is how many busy subjects are known at most.
	maxBusy = 1024
)

// watch looks what became of a publication whose check was on a subject. A leader that
// was just elected can take what was on its way for being so for ever: where its first
// message is stored before it was noted, nobody takes the note back. What was on its way
// before a barrier has come when the barrier is stored. Where the subject is busy still,
// another node is asked to lead.
func (c *conn) watch(ctx context.Context, subject string, err error) {
	now := time.Now()
	c.mu.Lock()
	b := c.busy[subject]
	switch {
	case !errors.Is(err, errBusy):
		if b != nil {
			delete(c.busy, subject)
		}
	case b == nil && len(c.busy) >= maxBusy:
		clear(c.busy)
	case b == nil || now.Sub(b.last) > busyPause:
		c.busy[subject] = &busy{since: now, last: now}
	case b.proven:
		delete(c.busy, subject)
		c.mu.Unlock()
		c.stepDown(ctx, subject)
		return
	case now.Sub(b.since) > busyTime:
		b.last = now
		c.mu.Unlock()
		_, err := c.send(ctx, nil, message{subject: layout{c.stream}.barrier(), rollup: true})
		c.mu.Lock()
		b.proven = err == nil
	default:
		b.last = now
	}
	c.mu.Unlock()
}

// stepDown has another node lead the stream, if the leader hears of it.
func (c *conn) stepDown(ctx context.Context, subject string) {
	c.logger.Warn("the leader of the stream takes something for being on its way that is not: another node is asked to lead", "subject", subject)
	limit, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, _ = c.nc.RequestWithContext(limit, "$JS.API.STREAM.LEADER.STEPDOWN."+c.stream, nil)
}
