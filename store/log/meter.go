package log

// A meter tells how far a long work has come: see Options.Progress. Nil tells nobody.
type meter struct {
	tell        func(done, total uint64)
	done, total uint64 // bytes
}

// meter returns what tells of a work of so many bytes.
func (s *Store) meter(total uint64) *meter {
	if s.opts.Progress == nil {
		return nil
	}
	return &meter{tell: s.opts.Progress, total: total}
}

// add takes note that so many bytes more are done.
func (m *meter) add(n uint64) {
	if m == nil {
		return
	}
	m.done += n
	m.tell(min(m.done, m.total), m.total)
}

// Write implements [io.Writer]: it counts.
func (m *meter) Write(p []byte) (int, error) {
	m.add(uint64(len(p)))
	return len(p), nil
}
