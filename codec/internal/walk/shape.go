package walk

import (
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/shape"
)

// Repeat returns the end of the record at the beginning of buf, if no part of it has been read,
// it is of w's shape and good, and all of it has come. Otherwise it returns 0, and has done
// nothing. Limits other than the size are those that a record of the shape was within.
func (w *Walk) Repeat(u *Usual, buf []byte) (end int) {
	parts := w.shape.Parts
	if len(parts) == 0 || w.Pos > 0 || len(w.Frames) > 0 {
		return 0
	}
	buf = buf[:min(len(buf), w.Lim.RecordBytes)]
	if len(buf) < shape.Least {
		return 0
	}
	i := 0
	for k := range parts {
		s := &parts[k]
		if !s.Begins(shape.Word(buf, i)) || !s.Ends(buf, i) {
			return 0
		}
		if i += s.Size; i == len(buf) {
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
	w.shape.Hit()
	return i
}

// Learn counts a good record of usual pairs alone, of which the first key begins at first, and
// which was not of w's shape.
func (w *Walk) Learn(u *Usual, record []byte, first int) {
	if !w.shape.Miss() {
		return
	}
	from := 0
	for i := first; i < len(record); from = i {
		i += 1 + int(record[i]) - u.Text
		if !w.shape.Add(record[from:i]) {
			return
		}
		switch size := u.Size[record[i]]; size {
		case IsText:
			i += 2 + int(record[i+1])
		default:
			i += int(size &^ IsText)
		}
	}
}
