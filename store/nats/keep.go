package nats

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dictwire/dictwire/store"
)

// keepEvery is how often a server looks for blocks to trim.
const keepEvery = time.Minute

// expireEvery is how often a server looks for expired producers.
const expireEvery = time.Hour

// retain trims topics and expires producers until the store is closed. All servers do this:
// what one has trimmed, the others no longer find.
func (s *Store) retain() {
	expired := time.Now()
	for {
		timer := time.NewTimer(keepEvery/2 + rand.N(keepEvery))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
		if err := s.trimOld(s.ctx, s.now()); err != nil && s.ctx.Err() == nil {
			s.logger.Warn("trimming failed", "err", err)
		}
		if time.Since(expired) < expireEvery {
			continue
		}
		expired = time.Now()
		if err := s.expire(s.ctx, s.now()); err != nil && s.ctx.Err() == nil {
			s.logger.Warn("expiring producers failed", "err", err)
		}
	}
}

// trimOld trims every topic as the Keep option says.
func (s *Store) trimOld(ctx context.Context, now time.Time) error {
	if s.keeps == nil {
		return nil
	}
	topics, err := s.Topics(ctx)
	if err != nil {
		return err
	}
	for _, t := range topics {
		age, bytes := s.keeps(t.Name)
		var before store.Position
		if age > 0 && t.Blocks > 0 && t.Oldest.Before(now.Add(-age)) {
			if before, err = s.Seek(ctx, now.Add(-age)); err != nil {
				return err
			}
		}
		if bytes > 0 && t.Bytes > bytes {
			if p := s.beyond(t.Name, bytes); p.Compare(before) > 0 {
				before = p
			}
		}
		if before.IsZero() {
			continue
		}
		if err := s.Trim(ctx, t.Name, before); err != nil {
			return err
		}
	}
	return nil
}

// beyond returns the position after the oldest blocks that a topic can lose and still have
// the given number of bytes.
func (s *Store) beyond(name string, bytes uint64) (p store.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	var sum uint64
	for _, r := range t.runs {
		sum += r.bytes
	}
	for _, r := range t.runs {
		if sum-r.bytes < bytes {
			break
		}
		sum -= r.bytes
		p = s.position(r.next)
	}
	return p
}
