package log

import "encoding/json"

// A mark is how far the active segment went when a checkpoint was made: an opening
// after a crash reads on from there, since the states have what comes before.
//
// It stands before the last frame that the checkpoint has, so that a segment that is not
// what it was is missed. Damage before the mark is found as that of any sealed segment
// is, by whoever reads it.
type mark struct {
	sealed              // what comes before the frame, as if that were all
	Frees  []uint64     `json:"frees,omitempty"` // what it says of older segments
	Notes  []*rewriting `json:"notes,omitempty"`

	last said // what the frame says of them
}

// keyMark is the key of the mark among the states.
const keyMark = "mmark"

// pass moves the mark to the next frame of the active segment. g.mu and states.mu are
// held.
func (k *mark) pass(g *segment, m *commit) {
	if k.Number != g.Number {
		*k = mark{sealed: g.sealed}
	} else {
		k.Frees, k.Notes = append(k.Frees, k.last.frees...), append(k.Notes, k.last.notes...)
	}
	k.Last, k.End, k.Size, k.last = m.place.seq-1, m.place.pos, m.off, m.says
}

// encode returns the mark as the states hold it, nil where it is not that of a frame, or
// would save nothing.
func (k *mark) encode(seq uint64) []byte {
	if k.Last+1 != seq || k.Last < k.First {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // numbers and strings
	}
	return b
}

// loadMark returns the mark of the checkpoint that has all frames up to one, nil where
// there is none.
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

// isOf reports whether a mark is one of a segment.
func (k *mark) isOf(g *segment) bool {
	return k != nil && k.Number == g.Number && k.Salt == g.Salt && k.Start == g.Start && g.Revision == 0
}

// event returns what comes before the mark.
func (k *mark) event() event {
	return event{
		seq: k.Last, more: k.Last - k.First, pos: k.Position, to: k.End, time: k.Time,
		off: k.Start, end: k.Size, says: len(k.Frees)+len(k.Notes) > 0,
	}
}
