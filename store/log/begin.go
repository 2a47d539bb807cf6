package log

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
)

// leap is how far positions jump ahead when it is not known which were used.
const leap = 1 << 32

// begin decides how the log continues.
func (r *recovery) begin() (h *header, again []raw, err error) {
	s, last := r.s, r.exp-1
	h = &header{Number: r.next + 1, Opening: r.next + 1, Salt: random(), Generation: r.gen + 1, Base: last}
	if r.newest == nil {
		h.Log, h.Position, h.Next = fmt.Sprintf("%016x", random()), 1, 1
		return h, nil, nil
	}
	h.Log, h.Gaps, h.Damage = r.newest.Log, r.newest.Gaps, r.newest.Damage
	for _, d := range r.damages {
		if !slices.Contains(h.Damage, d) {
			h.Damage = append(h.Damage, d)
		}
	}
	h.Tag, h.Time = r.newest.Tag, r.time
	if len(r.damages) > 0 {
		h.Base = max(r.promise, last)
	} else if r.promise < last && !s.opts.ReadOnly {
		h.Base = r.promise
	}
	h.Synced = h.Base
	h.Next = max(r.pos, r.at)
	open := slices.ContainsFunc(r.damages, func(d Damage) bool { return d.To == 0 })
	if open || !s.opts.ReadOnly && (!r.closed || len(r.damages) > 0 || h.Next > r.at) {
		h.Next += leap
		h.Gaps = append(h.Gaps, gap{r.at, h.Next})
		h.Gaps = h.Gaps[max(0, len(h.Gaps)-maxGaps):]
	}
	for i := range h.Damage {
		if d := &h.Damage[i]; d.To == 0 {
			d.To = h.Next
		}
	}
	if s.opts.Salvage && !s.opts.ReadOnly {
		h.Damage = nil
	}
	for _, f := range r.found {
		if again, err = r.seal(f, h, again); err != nil {
			return nil, nil, err
		}
	}
	if lost := h.Base; len(r.damages) > 0 && lost > last {
		r.live = append(r.live, newSegment(sealed{
			First: last + 1, Last: lost, Position: r.at, End: h.Next, Time: r.time,
			Lost: fmt.Sprintf("frames %d to %d are missing", last+1, lost),
		}))
	}
	h.Again, h.Position = uint64(len(again)), h.Next
	if len(again) > 0 {
		h.Position = again[0].pos
	}
	for _, g := range r.live {
		h.Live = append(h.Live, g.sealed)
	}
	return h, again, nil
}

// maxGaps is the most gaps in a header.
const maxGaps = 256

// seal seals a segment that was found, up to the base of the new opening. It returns the
// frames after that, which are to be written again.
func (r *recovery) seal(f found, h *header, again []raw) ([]raw, error) {
	if f.lost != nil {
		r.live = append(r.live, newSegment(*f.lost))
	}
	l := f.g.sealed
	l.Last, l.Size, l.End, l.Time = 0, l.Start, l.Position, r.time
	for i, e := range f.events {
		if i == 0 {
			l.Time = e.time
		}
		if e.seq <= h.Base {
			l.Last, l.Size, l.End = e.seq, e.end, e.to
			continue
		}
		b, err := r.bytes(f.g, e)
		if err != nil {
			return nil, err
		}
		again = append(again, raw{e.pos, b})
	}
	if l.Last > 0 {
		r.live = append(r.live, newSegment(l))
	}
	return again, nil
}

// A raw is the bytes of a frame.
type raw struct {
	pos uint64
	b   []byte
}

// bytes reads the bytes of a frame.
func (r *recovery) bytes(g *segment, e event) ([]byte, error) {
	f, err := r.s.fs.Open(r.s.path(g.name()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, e.end-e.off)
	_, err = f.ReadAt(b, e.off)
	return b, err
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) >> 1
}
