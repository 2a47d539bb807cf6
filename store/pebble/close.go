package pebble

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Close ends all reads, waits for the appends that are under way, and closes
// the store. What comes later is store.ErrUnavailable. Where the disk is full or
// fails, it returns all the same: what was acknowledged is in the log.
func (s *Store) Close() error {
	s.shut()
	if s.closed {
		s.gate.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	s.gate.Unlock()
	s.keeper.Wait()
	// With an empty log, the next open has nothing to replay.
	if !s.committer.stop(s) || !s.flush() {
		return errors.Join(s.failed(), errHeld)
	}
	err := s.db.Close()
	if f := s.failed(); f != nil {
		err = f // of an engine that gave up, nothing else is worth to be told
	}
	return errors.Join(err, s.lock.Close())
}

// shut locks the gate: it waits for all who use the engine. Where that can't write
// its tables, it may hold them up for ever; then it can't go on.
func (s *Store) shut() {
	locked := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-s.reserve.stuck:
			case <-locked:
				return
			}
			select {
			case <-time.After(grace):
			case <-locked:
				return
			}
			if err := s.reserve.stall(); err != nil {
				s.giveUp(err)
				return
			}
		}
	})
	s.gate.Lock()
	close(locked)
	watch.Wait()
}

// flush writes the tables that the engine has in memory, unless it can't. It
// reports whether the engine can be closed.
func (s *Store) flush() bool {
	if s.failed() != nil {
		return true
	}
	written := make(chan (<-chan struct{}), 1)
	go func() {
		c, err := s.db.AsyncFlush()
		if err != nil {
			s.fail(err)
		}
		written <- c
	}()
	select {
	case c := <-written:
		select {
		case <-c:
		case <-s.reserve.stuck: // what the tables would hold is in the log
		case <-s.committer.broken:
		}
		return true
	case <-s.reserve.stuck:
	case <-s.committer.broken:
	}
	select {
	case <-written:
		return true
	case <-time.After(grace):
		return false
	}
}

// grace is how long an engine that can't write is waited for.
const grace = time.Second

var errHeld = fmt.Errorf("%w: the engine waits for its disk, and has the directory until the process ends", store.ErrUnavailable)

// failed returns why the engine can't go on, or nil.
func (s *Store) failed() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail notes that the engine can't go on.
func (s *Store) fail(err error) {
	err = fmt.Errorf("%w: the engine can't go on: %w", store.ErrUnavailable, brief{err})
	if s.giveUp(err) && s.opts.Fatal != nil {
		s.opts.Fatal(err)
	}
}

// giveUp is fail for one who tells it himself. It reports whether nobody did
// before.
func (s *Store) giveUp(err error) bool {
	if !s.failure.CompareAndSwap(nil, &err) {
		return false
	}
	close(s.committer.broken)
	return true
}
