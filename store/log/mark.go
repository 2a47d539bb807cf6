package log

import "encoding/json"

// A mark is the end of the active segment at the time of a checkpoint. An opening after a
// crash reads on from there, since the states include everything before it.
//
// It lies before the last frame that the checkpoint includes, so that a segment which was
// replaced is noticed. Damage before the mark is found when it is read, as in a sealed
// segment.
type mark struct {
	sealed              // describes what comes before the frame as if the segment ended there
	Frees  []uint64     `json:"frees,omitempty"` // what the frames before say about older segments
	Notes  []*rewriting `json:"notes,omitempty"`

	last said // what the frame itself says about them
}

// keyMark is the key of the mark among the states.
const keyMark = "mmark"

// pass moves the mark past the current frame of the active segment. g.mu and states.mu
// are held.
func (k *mark) pass(g *segment, m *commit) {
	if k.Number != g.Number {
		*k = mark{sealed: g.sealed}
	} else {
		k.Frees, k.Notes = append(k.Frees, k.last.frees...), append(k.Notes, k.last.notes...)
	}
	k.Last, k.End, k.Size, k.last = m.place.seq-1, m.place.pos, m.off, m.says
}

// encode returns the mark for the states. It returns nil if the mark is not that of the
// given frame, or would save nothing.
func (k *mark) encode(seq uint64) []byte {
	if k.Last+1 != seq || k.Last < k.First {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // it holds only numbers and strings
	}
	return b
}

// loadMark returns the mark of the checkpoint up to a frame, or nil.
func (st *states) loadMark(applied uint64) (*mark, error) {
	v, err := st.get(keyMark)
	if err != nil || v.data == nil || v.seq != applied {
		return nil, err
	}
	k := &mark{}
	if err := json.Unmarshal(v.data, k); err != nil {
		return nil, unavailable(errState)
	}
	return k, nil
}

// isOf reports whether the mark belongs to a segment.
func (k *mark) isOf(g *segment) bool {
	return k != nil && k.Number == g.Number && k.Salt == g.Salt && k.Start == g.Start && g.Revision == 0
}

// event returns an event for everything before the mark.
func (k *mark) event() event {
	return event{
		seq: k.Last, more: k.Last - k.First, pos: k.Position, to: k.End, time: k.Time,
		off: k.Start, end: k.Size, says: len(k.Frees)+len(k.Notes) > 0,
	}
}
