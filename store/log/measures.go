package log

import (
	"context"
	"time"

	"github.com/dictwire/dictwire/internal/histogram"
	"github.com/dictwire/dictwire/store"
)

// measured is what a store measures about itself.
type measured struct{ appends, syncs, blocks histogram.Histogram }

// synced notes that a group is durable whose sync began at the given time.
func (m *measured) synced(s *Store, began time.Time) {
	if s.opts.Durability == store.Fsync {
		m.syncs.Add(int64(time.Since(began)))
	}
}

// Measures implements [store.Measurer].
func (s *Store) Measures(ctx context.Context) (store.Measures, error) {
	if err := s.enter(ctx); err != nil {
		return store.Measures{}, err
	}
	defer s.leave()
	m := store.Measures{
		Appends: s.measured.appends.Load(), Syncs: s.measured.syncs.Load(), Blocks: s.measured.blocks.Load(),
	}
	m.DiskBytes, m.FreeBytes = s.room()
	return m, nil
}

// Keeps implements [store.Keeper].
func (s *Store) Keeps(topic string) store.Keep { return s.opts.Keep(topic) }

// room returns how many bytes of the disk the store takes, and how many are free.
func (s *Store) room() (taken, free uint64) {
	taken = s.states.engine().Metrics().DiskSpaceUsage()
	for _, g := range s.segments.list() {
		taken += uint64(g.size.Load())
	}
	if u, err := s.fs.GetDiskUsage(s.dir); err == nil {
		free = u.AvailBytes
	}
	return taken, free
}
