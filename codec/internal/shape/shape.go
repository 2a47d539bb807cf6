// Package shape recognizes records that differ from earlier ones in their scalars alone, for
// codecs.
package shape

import "unsafe"

// A Shape is a good record without its scalars: the bytes before each of them, and after the
// last, if there are any. A record that has the same bytes there, and good scalars between
// them, is good: its keys are different, and it is nested no deeper.
type Shape struct {
	Parts []Part
	Flat  bool // a dictionary of scalars, each part of which has one key, except the last

	score int  // how well it has done
	rest  int  // how many more records that begin like it are not compared with it
	pause int  // how many the next time
	used  bool // since a place was last looked for
}

// Shapes are the shapes of recent records, each with a beginning of its own. The zero Shapes
// has none.
type Shapes struct {
	all    []Shape
	found  int  // what Find has found, counted from 1
	misses int  // records that began like no shape, since the last one was kept
	wait   int  // how many there must be, more than firstWait, before the next one is
	vain   bool // the last one could not be kept
}

const (
	maxShapes = 4
	maxParts  = 32 // in a shape

	firstScore = 3
	bestScore  = 8
	missed     = 2 // what a miss takes off the score, to which a hit adds one
	firstPause = 16
	firstWait  = 4
	longest    = 1024 // wait and pause
)

// Find returns the shape that buf begins like, or nil if there is none, or it has done badly.
// no is a byte that begins no scalar.
func (s *Shapes) Find(buf []byte, no byte) *Shape {
	s.found = 0
	if len(buf) < Least {
		return nil
	}
	word := Word(buf, 0)
	for k := range s.all {
		f := &s.all[k]
		if p := &f.Parts[0]; p.Begins(word) && p.Ends(buf, 0) && int(p.Size) < len(buf) && buf[p.Size] != no {
			s.found = k + 1
			if f.rest > 0 {
				return nil
			}
			return f
		}
	}
	return nil
}

// Hit notes that a record was of the shape.
func (f *Shape) Hit() { f.score, f.used = min(f.score+1, bestScore), true }

// Miss notes that a record began like f, and was of another shape.
func (f *Shape) Miss() {
	if f.score -= missed; f.score < 0 {
		f.tire()
	}
}

func (f *Shape) tire() { f.rest, f.pause = f.pause, min(2*f.pause, longest) }

// Learn counts a good record that was of no shape. It returns nil, or a shape to which the
// record's parts are to be added before Learned is called.
func (s *Shapes) Learn() *Shape {
	if s.found > 0 {
		f := &s.all[s.found-1]
		if f.rest--; f.rest != 0 {
			f.rest = max(f.rest, 0)
			return nil
		}
		f.Parts = f.Parts[:0]
		return f
	}
	if s.misses++; s.misses < firstWait+s.wait {
		return nil
	}
	s.misses = 0
	return s.place()
}

// Learned ends what Learn has begun. ok says that all parts were added, flat that only a flat
// shape is of use.
func (s *Shapes) Learned(f *Shape, ok, flat bool) {
	switch {
	case len(f.Parts) == 0, flat && !f.Flat: // there may be no part by which it is found
		last := &s.all[len(s.all)-1]
		*f, *last = *last, *f
		s.all = s.all[:len(s.all)-1]
		s.vain = true
	case ok:
		f.score, f.rest = firstScore, 0
	default:
		f.tire()
	}
}

// place returns a new shape in the place of those that were not used, or nil if all were.
func (s *Shapes) place() *Shape {
	n := 0
	for k := range s.all {
		if s.all[k].used {
			s.all[n], s.all[k] = s.all[k], s.all[n]
			s.all[n].used = false
			n++
		}
	}
	if n == len(s.all) && !s.vain {
		s.wait = 0
	} else {
		s.wait = min(2*s.wait+firstWait, longest)
	}
	s.vain = false
	if n == maxShapes {
		s.all = s.all[:n]
		return nil
	}
	if n < cap(s.all) {
		s.all = s.all[:n+1]
	} else {
		s.all = append(s.all, Shape{})
	}
	s.all[n] = Shape{Parts: s.all[n].Parts[:0], pause: firstPause}
	return &s.all[n]
}

// Add adds a part, of which size bytes from key on are the text of a key, if f is Flat. It
// reports whether a shape may have so many of such a size.
func (f *Shape) Add(text []byte, key, size int) bool {
	if len(text) > maxPart || len(f.Parts) == maxParts {
		return false
	}
	p := newPart(text)
	p.Key, p.KeySize = uint8(key), uint8(size)
	f.Parts = append(f.Parts, p)
	return true
}

// Scratch returns the bytes of memory that s uses.
func (s *Shapes) Scratch() int {
	all := s.all[:cap(s.all)]
	n := len(all) * int(unsafe.Sizeof(Shape{}))
	for k := range all {
		n += cap(all[k].Parts) * int(unsafe.Sizeof(Part{}))
	}
	return n
}
