package log

import "github.com/dictwire/dictwire/store"

// A zeroer writes zeros into the space of the successor while the active segment fills:
// a sync of small groups then need not note which parts of the file were written. It
// keeps in step, so that there is no burst of them when a segment is sealed, and a store
// that takes little writes none.
type zeroer struct {
	g     *segment
	at    int64      // up to where there are zeros
	asked int64      // up to where there are to be; the committer's
	upTo  chan int64 // of capacity 1
	done  chan error // of capacity 1: what came of it
}

// zeroStep is how much is written and synced at a time, in bytes.
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

// stop ends the goroutine, and returns once nothing is written any more.
func (z *zeroer) stop() error {
	close(z.upTo)
	return <-z.done
}

// zeroAhead asks for as many zeros in the successor as fit how full the active segment
// is, from a quarter on. Large groups don't need them.
func (s *Store) zeroAhead() {
	c := &s.committer
	z, size := c.successor.zeros, c.successor.room-c.successor.Start
	if z == nil || s.opts.Durability == store.OS || c.large() {
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
	default: // it has not come to what it was asked before
	}
}
