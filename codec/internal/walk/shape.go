package walk

import (
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/dict"
)

// Repeat returns the end of the record at the beginning of buf, if no part of it has been read,
// it is of one of w's shapes and good, and all of it has come. Otherwise it returns 0, and has
// done nothing. Limits other than the size are those that a record of the shape was within.
func (w *Walk) Repeat(u *Usual, buf []byte) (end int) {
	if w.Pos > 0 || len(w.Frames) > 0 {
		return 0
	}
	buf = buf[:min(len(buf), w.Lim.RecordBytes)]
	f := w.shapes.Find(buf, u.No)
	if f == nil {
		return 0
	}
	if w.B != nil && (!f.Flat || !w.Fits() || 2*len(f.Parts) > w.Lim.Items) {
		return 0
	}
	if end = repeat(u, f.Parts, buf); end == 0 {
		f.Miss()
		return 0
	}
	if w.B != nil {
		w.buildRepeated(u, f.Parts, buf)
	}
	f.Hit()
	return end
}

// repeat is Repeat for one shape.
func repeat(u *Usual, parts []shape.Part, buf []byte) (end int) {
	i := 0
	for k := range parts {
		s := &parts[k]
		if !s.Begins(shape.Word(buf, i)) || !s.Ends(buf, i) {
			return 0
		}
		if i += int(s.Size); i == len(buf) {
			return 0
		}
		size := int(u.Size[buf[i]])
		if size < IsText {
			if i += size; size == 0 || i > len(buf) {
				return 0
			}
			continue
		}
		size -= IsText
		from := i + 1
		if size == 0 && from < len(buf) {
			size = 2 + int(buf[from])
			from++
		}
		i += size
		if size == 0 || i > len(buf) {
			return 0
		}
		if n := i - from; n <= 8 && shape.Word(buf, from)&Highs&(1<<(8*uint(n))-1) == 0 {
			continue
		}
		if !ASCII(buf, from, i) && !utf8.Valid(buf[from:i]) {
			return 0
		}
	}
	return i
}

// buildRepeated builds a record for which repeat has returned an end.
func (w *Walk) buildRepeated(u *Usual, parts []shape.Part, buf []byte) {
	place := w.B.Open(dict.KindDict)
	i := 0
	for k := range parts {
		s := &parts[k]
		w.B.Text(i+int(s.Key), int(s.KeySize))
		i += int(s.Size)
		switch size := int(u.Size[buf[i]]); {
		case size < IsText:
			u.Build(w.B, buf, i)
			i += size
		case size > IsText:
			size -= IsText
			w.B.Text(i+1, size-1)
			i += size
		default:
			size = int(buf[i+1])
			w.B.Text(i+2, size)
			i += 2 + size
		}
	}
	w.B.Close(place, len(parts))
}

// Learn counts a good record that was of no shape.
func (w *Walk) Learn(u *Usual, record []byte) {
	if f := w.shapes.Learn(); f != nil {
		w.shapes.Learned(f, w.Fits() && u.outline(f, record), w.B != nil)
	}
}

// outline adds the parts of a good record to f. It returns false if it has items that are not
// usual, too many or too large parts, or does not end with a scalar.
func (u *Usual) outline(f *shape.Shape, record []byte) bool {
	type level struct {
		left int // items
		dict bool
	}
	var (
		open [8]level
		n    int // of them
		from int
		key  int // its text's size
	)
	f.Flat = true
	for i := 0; i < len(record); {
		for n > 0 && open[n-1].left == 0 {
			n--
		}
		c := record[i]
		if n > 0 {
			open[n-1].left--
			if open[n-1].dict && open[n-1].left&1 == 1 { // a key
				size := int(c) - u.Text
				if uint(size-1) >= uint(u.Long-1) {
					return false
				}
				i += 1 + size
				key = size
				continue
			}
		}
		switch pairs, items := int(c)-u.Map, int(c)-u.List; {
		case n < len(open) && uint(pairs) < uint(u.Few):
			open[n] = level{2 * pairs, true}
			f.Flat = n == 0
			n++
			i++
			continue
		case n > 0 && n < len(open) && uint(items) < uint(u.Few):
			f.Flat = false
			open[n] = level{left: items}
			n++
			i++
			continue
		}
		size := int(u.Size[c])
		if size == 0 || n == 0 || !f.Add(record[from:i], i-from-key, key) {
			return false
		}
		if size == IsText {
			i += 2 + int(record[i+1])
		} else {
			i += size &^ IsText
		}
		from = i
	}
	return from == len(record)
}
