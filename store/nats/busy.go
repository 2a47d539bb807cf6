package nats

import (
	"context"
	"errors"
	"time"
)

// A busy subject is one for which the broker says that a message is in progress.
type busy struct {
	since, last time.Time // when it first and last said so
	proven      bool      // a barrier was stored since
}

const (
	// busyTime is how long a subject may be busy before watch doubts it.
	busyTime = time.Second

	// busyPause is the longest time between two such answers that belong together.
	busyPause = 10 * time.Second

	// maxBusy limits how many busy subjects are remembered.
	maxBusy = 1024
)

// watch looks at the outcome of a publication with a check on subject. A newly elected
// leader of nats-server 2.14 may consider a message in progress for ever: if its first
// checked message is applied before it is recorded, nothing removes the record. So if a
// subject stays busy, watch stores a barrier, by which everything in progress has arrived,
// and if the subject is still busy, asks another node to lead.
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

// stepDown asks the leader of the stream to let another node lead.
func (c *conn) stepDown(ctx context.Context, subject string) {
	c.logger.Warn("the leader of the stream considers a message in progress that is not; asking another node to lead", "subject", subject)
	limit, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, _ = c.nc.RequestWithContext(limit, "$JS.API.STREAM.LEADER.STEPDOWN."+c.stream, nil)
}
