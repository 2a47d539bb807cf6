package disk

import (
	"context"
	"fmt"
	"time"

	"github.com/dictwire/dictwire/spool"

	"github.com/dictwire/dictwire/internal/storedir"
)

// lookEvery is how often the free space of the disk is read.
const lookEvery = time.Second

// A disk is the free space of the disk when it was last read.
type disk struct {
	looked time.Time
	full   error
}

// full returns an error if there is no room for n more bytes, and when to look again if room may
// appear without a Settle. s.mu is held.
func (s *Spool) full(size int64) (again time.Duration, err error) {
	if size > s.opts.MaxBytes-s.bytes {
		return 0, fmt.Errorf("%w: it holds %d bytes of %d", spool.ErrFull, s.bytes, s.opts.MaxBytes)
	}
	now := s.opts.Now()
	if age := now.Sub(s.oldest); !s.oldest.IsZero() && age > s.opts.MaxAge {
		return 0, fmt.Errorf("%w: its oldest record waits for %v, and %v is the limit", spool.ErrFull, age, s.opts.MaxAge)
	}
	if d := now.Sub(s.disk.looked); d < 0 || d >= lookEvery {
		s.disk = disk{now, s.look()}
	}
	return lookEvery, s.disk.full
}

// look returns an error if the disk has less free space than the reserve.
func (s *Spool) look() error {
	u, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil || u.AvailBytes >= s.least {
		return nil //nolint:nilerr // without a reserve if the file system can't report free space
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve", spool.ErrFull, u.AvailBytes>>20, s.least>>20)
}

// setReserve computes the reserve of free disk space.
func (s *Spool) setReserve() error {
	u, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil {
		return nil //nolint:nilerr // without a reserve if the file system can't report free space
	}
	s.least, err = storedir.Reserve(s.opts.Reserve, 64<<20, u.TotalBytes, 0)
	return err
}

// wait waits until there may be more room, or until a time-out unless that is 0. s.mu is held
// before and after, but not meanwhile.
func (s *Spool) wait(ctx context.Context, again time.Duration) {
	var tick <-chan time.Time
	if again > 0 {
		timer := time.NewTimer(again)
		defer timer.Stop()
		tick = timer.C
	}
	room := s.room
	s.waiting++
	s.mu.Unlock()
	select {
	case <-room:
	case <-tick:
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.waiting--
}

// moreRoom wakes the calls that wait for room. s.mu is held.
func (s *Spool) moreRoom() {
	close(s.room)
	s.room = make(chan struct{})
}
