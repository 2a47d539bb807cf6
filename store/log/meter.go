package log

// A meter reports the progress of long work: see Options.Progress. A nil meter does
// nothing.
type meter struct {
	tell        func(done, total uint64)
	done, total uint64 // bytes
}

// meter returns a meter for work on the given number of bytes.
func (s *Store) meter(total uint64) *meter {
	if s.opts.Progress == nil {
		return nil
	}
	return &meter{tell: s.opts.Progress, total: total}
}

// add reports that n more bytes are done.
func (m *meter) add(n uint64) {
	if m == nil {
		return
	}
	m.done += n
	m.tell(min(m.done, m.total), m.total)
}

// Write implements [io.Writer]: it counts p as done.
func (m *meter) Write(p []byte) (int, error) {
	m.add(uint64(len(p)))
	return len(p), nil
}
