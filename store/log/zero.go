package log

import "github.com/dictwire/dictwire/store"

// A zeroer writes zeros into the successor while the active segment fills. Syncing small
// groups over written space is faster, since the file system need not note which parts of
// the file were written. It keeps pace with the active segment, so that there is no burst
// of zeros when a segment is sealed, and a store with little traffic writes none. A file
// system that copies on write never writes over them, so there are none.
type zeroer struct {
	g     *segment
	at    int64      // the end of the zeros
	asked int64      // the wanted end; the committer's
	upTo  chan int64 // of capacity 1
	done  chan error // of capacity 1: the result
}

// zeroStep is how many bytes are written and synced at a time.
const zeroStep = 1 << 20

func newZeroer(g *segment) *zeroer {
	z := &zeroer{g: g, at: g.Start, asked: g.Start, upTo: make(chan int64, 1), done: make(chan error, 1)}
	go func() {
		var err error
		for to := range z.upTo {
			if err == nil {
				err = z.zero(to)
			}
		}
		z.done <- err
	}()
	return z
}

// zero writes zeros up to an offset, durably.
func (z *zeroer) zero(to int64) error {
	if z.at >= to {
		return nil
	}
	zeros := make([]byte, min(to-z.at, 256<<10))
	for z.at < to {
		n, err := z.g.file.WriteAt(zeros[:min(int64(len(zeros)), to-z.at)], z.at)
		if err != nil {
			return err
		}
		z.at += int64(n)
	}
	return z.g.file.SyncData()
}

// stop ends the goroutine and waits for it.
func (z *zeroer) stop() error {
	close(z.upTo)
	return <-z.done
}

// zeroAhead asks for zeros in the successor, in proportion to how full the active segment
// is beyond a quarter. Large groups don't need them.
func (s *Store) zeroAhead() {
	c := &s.committer
	z, size := c.successor.zeros, c.successor.room-c.successor.Start
	if z == nil || s.copies || s.opts.Durability == store.OS || c.large() {
		return
	}
	full := float64(c.off-c.active.Start) / float64(c.active.room-c.active.Start)
	if full < 0.25 {
		return
	}
	step := min(zeroStep, size/4)
	steps := int64((full-0.25)/0.75*float64(size))/step + 1
	to := z.g.Start + min(steps*step, size)
	if to <= z.asked {
		return
	}
	select {
	case z.upTo <- to:
		z.asked = to
	default: // the zeroer has not reached the last target yet
	}
}
