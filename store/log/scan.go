package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A scanner reads the frames of a segment in order. If there is no valid frame, it
// searches for the next one.
//
//	for sc.next() {
//		if sc.damage != nil { … } else { … sc.frame … }
//	}
//	err := sc.err
type scanner struct {
	off    int64 // of the frame or the damage
	frame  frame
	damage *hole // an unreadable part, in place of a frame
	err    error // of the file

	seq  uint64 // of the next frame, if it is intact
	pos  uint64 // of the next block
	time int64  // of the last frame
	gaps bool   // frames may be missing, since the segment was rewritten

	file   vfs.File
	seed   uint32
	at     int64 // the next frame's offset
	limit  int64
	window []byte // bytes read, beginning at base
	base   int64
	held   bool  // a frame was found after damage, which is reported first
	heads  bool  // bodies are not verified
	lost   *hole // the whole segment, if there is no file
	room   int   // bytes to read at a time, and the largest frame; 0: no limit
	want   int   // the size of a frame that is larger than room
}

// A hole is an unreadable part of a segment.
type hole struct {
	off, end    int64
	first, last uint64 // sequence numbers of the lost frames
	from, to    uint64 // positions that may be lost
	err         error
	known       bool // the frame's header is intact, and says what is lost
}

const scanBytes = 256 << 10

// scan opens a segment to read its frames between two offsets.
func (s *Store) scan(g *segment, from, limit int64) (*scanner, error) {
	if g.Lost != "" {
		return &scanner{lost: &hole{first: g.First, last: g.Last, from: g.Position, to: g.End, err: errors.New(g.Lost)}}, nil
	}
	f, err := s.fs.Open(s.path(g.name()))
	if err != nil {
		return nil, err
	}
	return &scanner{
		file: f, seed: g.seed, at: from, limit: limit, gaps: g.Revision > 0,
		seq: g.First, pos: g.Position, time: g.Time,
	}, nil
}

// close closes the segment. The bytes of its frames become invalid.
func (sc *scanner) close() {
	if sc.file != nil {
		_ = sc.file.Close()
	}
	sc.keepWindow()
}

// windows holds spare windows of scanners.
var windows = sync.Pool{New: func() any {
	b := make([]byte, scanBytes)
	return &b
}}

// keepWindow gives the window to windows.
func (sc *scanner) keepWindow() {
	if w := sc.window[:cap(sc.window)]; len(w) == scanBytes {
		windows.Put(&w)
	}
	sc.window = nil
}

// next advances to the next frame or damage, and reports whether there is one.
func (sc *scanner) next() bool {
	sc.damage, sc.lost, sc.want = sc.lost, nil, 0
	if sc.damage != nil {
		return true
	}
	if sc.held {
		sc.held = false
		return sc.accept()
	}
	from, found := sc.at, false
	for sc.err == nil && sc.at < sc.limit {
		if found = sc.try(); found {
			break
		}
		if sc.want > 0 {
			sc.at = from
			return false
		}
		sc.skip()
	}
	if found && sc.at == from && (sc.frame.seq == sc.seq || sc.gaps) {
		return sc.accept()
	}
	if sc.err != nil || from >= sc.limit {
		return false
	}
	sc.damage = &hole{off: from, end: min(sc.at, sc.limit), first: sc.seq, from: sc.pos, err: errFrame}
	sc.off = from
	if found {
		sc.held = true
		sc.damage.last, sc.damage.to = sc.frame.seq-1, sc.frame.pos
	}
	return true
}

// accept accepts the frame that was found. If its body is damaged, it reports damage
// instead.
func (sc *scanner) accept() bool {
	f := &sc.frame
	sc.off = sc.at
	sc.at += int64(f.size)
	sc.seq, sc.pos, sc.time = f.seq+1, f.end(), f.time
	if d := f.hole(); d != nil {
		d.off, d.end = sc.off, sc.at
		sc.seq, sc.pos, sc.damage = d.last+1, d.to, d
		return true
	}
	if sc.heads {
		return true
	}
	if err := f.checkBody(); err != nil {
		sc.damage = &hole{off: sc.off, end: sc.at, first: f.seq, last: f.seq, from: f.pos, to: f.end(), err: err, known: true}
	}
	return true
}

// raw returns the bytes of the frame.
func (sc *scanner) raw() []byte {
	from := sc.off - sc.base
	return sc.window[from : from+int64(sc.frame.size)]
}

// try decodes the frame at sc.at, and reports whether there is one.
func (sc *scanner) try() bool {
	b := sc.bytes(frameHeader)
	size := frameSize(b, sc.limit-sc.at)
	if size == 0 {
		return false
	}
	// Bytes that are not a frame have a random length. Check the number before reading so
	// much.
	if seq := binary.LittleEndian.Uint64(b[16:]); seq < sc.seq || !sc.gaps && seq-sc.seq > uint64(sc.limit)/frameHeader {
		return false
	}
	if sc.room > 0 && size > sc.room {
		sc.want = size
		return false
	}
	b = sc.bytes(size)
	return len(b) == size && sc.frame.decode(b, sc.seed, sc.at) == nil
}

var zeros [512]byte

// skip advances to the next offset at which a frame may begin.
func (sc *scanner) skip() {
	sc.at += frameAlign
	// Space allocated ahead is zero.
	for sc.at < sc.limit && sc.err == nil {
		if len(sc.bytes(frameHeader)) < frameHeader {
			break
		}
		b := sc.window[int(sc.at-sc.base):]
		for len(b) >= len(zeros) && bytes.Equal(b[:len(zeros)], zeros[:]) {
			b = b[len(zeros):]
			sc.at += int64(len(zeros))
		}
		for len(b) >= frameAlign && binary.LittleEndian.Uint64(b) == 0 {
			b = b[frameAlign:]
			sc.at += frameAlign
		}
		if len(b) >= frameHeader || sc.at+frameHeader > sc.limit {
			break
		}
	}
	if sc.at+frameHeader > sc.limit || len(sc.bytes(frameHeader)) < frameHeader {
		sc.at = sc.limit
	}
}

// bytes returns n bytes at sc.at, or fewer at the end of the file.
func (sc *scanner) bytes(n int) []byte {
	if k := sc.at - sc.base; k >= 0 && k+int64(n) <= int64(len(sc.window)) {
		return sc.window[k : k+int64(n)]
	}
	size := scanBytes
	if sc.room > 0 {
		size = min(size, sc.room)
	}
	want := min(int64(max(n, size)), sc.limit-sc.at)
	if int64(cap(sc.window)) < want || cap(sc.window) > max(n, size) {
		sc.keepWindow()
		if size == scanBytes && want <= scanBytes {
			sc.window = *windows.Get().(*[]byte)
		} else {
			sc.window = make([]byte, want)
		}
	}
	sc.window, sc.base = sc.window[:want], sc.at
	k, err := sc.file.ReadAt(sc.window, sc.at)
	if err != nil && !errors.Is(err, io.EOF) {
		sc.err = fmt.Errorf("read %d bytes at %d: %w", want, sc.at, err)
	}
	sc.window = sc.window[:k]
	if k == 0 {
		sc.at = sc.limit
	}
	return sc.window[:min(n, k)]
}

// append appends the hole as a frame of a rewritten segment stores it: the number of lost
// frames and positions, counted from the frame's own, and the error's text.
func (d *hole) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, d.last+1-d.first)
	dst = binary.AppendUvarint(dst, d.to-d.from)
	return append(dst, d.err.Error()...)
}

// hole returns the hole that the frame stores, or nil if it is another kind of frame.
func (f *frame) hole() *hole {
	if len(f.items) != 1 || f.items[0].kind != kindHole {
		return nil
	}
	d := decoder{rest: f.items[0].data}
	frames, positions := d.uvarint(), d.uvarint()
	if d.bad {
		return nil
	}
	return &hole{first: f.seq, last: f.seq + frames - 1, from: f.pos, to: f.pos + positions, err: errors.New(string(d.rest))}
}
