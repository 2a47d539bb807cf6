package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A commit waits until the cursor stands at a position.
type commit struct {
	text     string
	position store.Position
	sent     bool       // on this connection
	at       time.Time  // when
	beats    int        // how often the server had nothing else to say since
	done     chan error // holds the outcome
}

// Commit moves the cursor, and returns when that is durable.
func (s *Subscriber) Commit(ctx context.Context, text string) error {
	if s.req.Cursor == "" {
		return errors.New("dictwire: commit: the subscription has no cursor")
	}
	p, err := store.ParsePosition(text)
	if err != nil {
		return fmt.Errorf("dictwire: commit: %w", err)
	}
	c := &commit{text: text, position: p, done: make(chan error, 1)}
	s.mu.Lock()
	if s.commitErr != nil {
		defer s.mu.Unlock()
		return s.commitErr
	}
	s.commits = append(s.commits, c)
	s.mu.Unlock()
	s.sendCommits()
	signal(s.asked)
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.commits = slices.DeleteFunc(s.commits, func(other *commit) bool { return other == c })
		return fmt.Errorf("dictwire: commit: %w", context.Cause(ctx))
	}
}

// sendCommits sends what can be committed on this connection: what it has told.
func (s *Subscriber) sendCommits() {
	s.mu.Lock()
	conn := s.conn
	var lines []byte
	for _, c := range s.commits {
		if conn != nil && !c.sent && c.position.Tag == s.told.Tag && c.position.Compare(s.told) <= 0 {
			c.sent, c.at, c.beats = true, time.Now(), 0
			lines = wire.AppendCommit(lines, c.text)
		}
	}
	s.mu.Unlock()
	if len(lines) > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(wire.BeatWithin)) // reading may wait without one: see beat
		_ = conn.SetWriteDeadline(time.Now().Add(wire.BeatWithin))
		if _, err := conn.Write(lines); err != nil {
			_ = conn.Close() // reading will say so, and they are sent again
		}
	}
}

// unanswered reports whether the server has passed over a commit: it had nothing
// to send for a while, and did not say that the cursor stands there. What was said
// is progress, or else a batch.
func (s *Subscriber) unanswered(progress bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commits {
		if c.beats++; !progress {
			c.beats = 0
		}
		if c.sent && c.beats >= maxBeats && time.Since(c.at) > wire.BeatWithin {
			return true
		}
	}
	return false
}

// maxBeats is how often a server may have nothing to say before it answers a
// commit.
const maxBeats = 3

// committed ends the waiting for a position and those before it.
func (s *Subscriber) committed(text string) {
	p, err := store.ParsePosition(text)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = slices.DeleteFunc(s.commits, func(c *commit) bool {
		done := c.sent && c.position.Compare(p) <= 0
		if done {
			c.done <- nil
		}
		return done
	})
}

// failCommits makes all commits fail, now and later.
func (s *Subscriber) failCommits(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commitErr == nil {
		s.commitErr = err
	}
	for _, c := range s.commits {
		c.done <- s.commitErr
	}
	s.commits = nil
}
