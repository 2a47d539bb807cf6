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

// A commit waits until the server has moved the cursor to a position.
type commit struct {
	text     string
	position store.Position
	sent     bool       // on the current connection
	at       time.Time  // when
	beats    int        // progress messages since then
	done     chan error // holds the outcome
}

// Commit moves the cursor, and returns when the new position is durable.
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

// sendCommits sends the waiting commits up to the position that this connection has reached.
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
		_ = conn.SetReadDeadline(time.Now().Add(wire.BeatWithin)) // reading may have no deadline: see beat
		_ = conn.SetWriteDeadline(time.Now().Add(wire.BeatWithin))
		if _, err := conn.Write(lines); err != nil {
			_ = conn.Close() // reading fails then, and the next connection sends the commits
		}
	}
}

// unanswered reports whether the server has ignored a commit: it has sent maxBeats progress
// messages since, and no answer. progress says whether the latest message is one.
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

// maxBeats is the number of progress messages that a server may send before it answers a
// commit.
const maxBeats = 3

// committed ends the commits of a position and of those before it.
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

// failCommits fails all commits, present and future, with err.
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
