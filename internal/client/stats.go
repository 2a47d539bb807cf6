package client

// Stats are a client's counters: see the public ClientStats.
type Stats struct {
	Sessions     int64
	Broken       int64
	Pending      int64
	PendingBytes int64
	Lost         int64
	Topics       map[string]TopicStats
}

// TopicStats are counters of a topic.
type TopicStats struct {
	Settled  int64
	Bytes    int64
	Rejected int64
	Pending  int64
}

// Stats returns the client's counters.
func (c *Client) Stats() Stats {
	st := Stats{
		Sessions: c.open.Load(), Broken: c.broken.Load(), Lost: c.lost.Load(), Topics: make(map[string]TopicStats),
	}
	for _, s := range c.all(nil) {
		s.mu.Lock()
		st.Topics[s.topic] = TopicStats{
			Settled: s.settledRecords, Bytes: s.settledBytes, Rejected: s.rejections, Pending: int64(s.held.records),
		}
		s.mu.Unlock()
	}
	st.Pending, st.PendingBytes = c.window.records.Load(), c.window.bytes.Load()
	return st
}
