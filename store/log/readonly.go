package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/dictwire/dictwire/store"
)

// viewTries is how often a store that seems damaged is opened again. Another process may
// be changing it, which looks like damage; real damage is found every time.
const viewTries = 5

// openReadOnly opens the store that a snapshot holds.
func openReadOnly(ctx context.Context, dir string, o Options) (*Store, error) {
	var told []string
	for try := 1; ; try++ {
		s := newStore(dir, o)
		err := s.view()
		var now []string
		for _, d := range s.damages {
			now = append(now, d.Text)
		}
		if err != nil {
			now = append(now, err.Error())
		}
		if len(now) > 0 && !slices.Equal(now, told) && try < viewTries && ctx.Err() == nil {
			told = now
			_ = s.release() // nothing was written
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("store: open %s: %w", dir, errors.Join(err, s.release()))
		}
		if s.half.Load() && !o.Import {
			return nil, fmt.Errorf("store: open %s: %w", dir, errors.Join(store.ErrHalf, s.release()))
		}
		s.tellDamage()
		return s, nil
	}
}

// view opens the store as it is, without the steps by which an opening continues a log.
func (s *Store) view() error {
	sn, err := takeSnapshot(s.opts.FS, s.dir)
	if err != nil {
		return cause(err)
	}
	s.fs, s.lock, s.snapshot = sn, sn, sn
	s.adapt()
	r := &recovery{s: s, exp: 1, at: 1}
	if err := r.list(); err != nil {
		return err
	}
	if err := r.readHeads(); err != nil {
		return err
	}
	if r.fresh {
		return os.ErrNotExist
	}
	r, applied, rebuild, err := s.survey(r)
	if err != nil {
		return err
	}
	h, _, err := r.begin()
	if err != nil {
		return err
	}
	s.begin(h, r.time)
	for _, g := range r.live {
		s.segments.add(g)
	}
	s.topics.head.Store(h.Next)
	s.missing = r.missing
	if err := s.know(r, applied, rebuild); err != nil {
		return err
	}
	s.damages = append(s.damages[:len(s.damages):len(s.damages)], s.hidden...)
	s.failure.Store(&ErrReadOnly)
	return nil
}
