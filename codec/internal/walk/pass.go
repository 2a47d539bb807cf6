package walk

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/line"
	"github.com/dictwire/dictwire/fault"
)

// A Head is what an item begins with, as far as it takes to pass over the item.
type Head struct {
	Size  int     // of the head, in bytes; it may be more than have come. 0: no item begins so
	Body  uint64  // bytes that come after it
	Items uint64  // items that come after it
	Of    Endless // what comes after it up to a break
	Chunk Endless // Bytes or Text, if it may be a chunk of them
	Break bool    // it is the end of something endless
	List  bool    // it begins a list
}

// Endless is what an item says no length of.
type Endless uint8

// The content of an item of indefinite length.
const (
	Bounded Endless = iota // it says its length
	Items
	Pairs
	Bytes // chunks, which are byte strings
	Text  // chunks, which are strings
)

// A pass goes over the items of a bad record to its end. The lengths of all items are
// known, whatever is wrong with their content.
type pass struct {
	body   uint64  // bytes of the item in hand that are still to come
	levels []level // open items
}

// A level is items that follow each other.
type level struct {
	left uint64  // how many, where they are not endless
	of   Endless // or what they are
	odd  bool    // a key has come, and its value has not
}

const (
	maxLevels = 4096    // of what says no length
	maxItems  = 1 << 48 // that are waited for
)

// run continues with buf. It returns how much of it belongs to the record, as far as that
// is known, and whether the record has ended there.
func (p *pass) run(f Format, buf []byte) (n int, o line.Outcome) {
	for {
		if p.body > uint64(len(buf)-n) {
			p.body -= uint64(len(buf) - n)
			return len(buf), line.More
		}
		n += int(p.body)
		p.body = 0
		for len(p.levels) > 0 && p.levels[len(p.levels)-1].ended() {
			p.levels = p.levels[:len(p.levels)-1]
		}
		if len(p.levels) == 0 {
			return n, line.Found
		}
		if n == len(buf) {
			return n, line.More
		}
		switch h := f.Head(buf, n); {
		case h.Size == 0:
			return n, line.None
		case h.Size > len(buf)-n:
			return n, line.More
		case !p.item(h):
			return n, line.None
		default:
			n += h.Size
		}
	}
}

func (l *level) ended() bool { return l.of == Bounded && l.left == 0 }

// item counts an item, and reports whether it is allowed there.
func (p *pass) item(h Head) bool {
	l := &p.levels[len(p.levels)-1]
	switch {
	case h.Break:
		if l.of == Bounded || l.odd {
			return false
		}
		*l = level{} // which has ended
		return true
	case l.of == Bounded:
		l.left--
	case l.of == Pairs:
		l.odd = !l.odd
	case l.of != Items && l.of != h.Chunk:
		return false
	}
	p.body = h.Body
	switch {
	case h.Of != Bounded:
		p.levels = append(p.levels, level{of: h.Of})
	case l.of == Bounded && h.Items < maxItems:
		l.left += h.Items // as good as a level of their own
	case h.Items > 0:
		p.levels = append(p.levels, level{left: h.Items})
	}
	return len(p.levels) <= maxLevels && l.left < maxItems && h.Items < maxItems
}

// Resume makes a scanner continue after a bad record. See [codec.Scanner].
func (w *Walk) Resume() { w.resumes = true }

// Passing reports whether a bad record has not ended.
func (w *Walk) Passing() bool { return w.passing }

// Pass continues over the bad record, and returns what Next does, without an error if the
// record has ended at start.
func (w *Walk) Pass(buf []byte) (start, end int, err error) {
	n, o := w.pass.run(w.format, buf)
	w.passing = o == line.More
	switch o {
	case line.More:
		return n, n, codec.ErrIncomplete
	case line.None:
		return 0, len(buf), line.Late(w.format.Name(), n, w.describe(buf, n))
	default:
		return n, n, nil
	}
}

// bad returns the error of the bad record that begins with buf, and its end as far as that
// is known.
func (w *Walk) bad(buf []byte) (end int, _ error) {
	w.reset()
	err := w.Err
	if !w.resumes {
		err.Final = true
		return len(buf), err
	}
	if err.Code == fault.NotADictionary && !w.format.Head(buf, 0).List {
		line.Ends(err) // a byte of text is an integer, too: this is hardly a sequence any more
		return len(buf), err
	}
	w.pass = pass{levels: append(w.pass.levels[:0], level{left: 1})}
	end, o := w.pass.run(w.format, buf)
	w.passing = o == line.More && end > 0
	switch {
	case o == line.None, end == 0 && err.Code == fault.Truncated:
		line.Ends(err)
		return len(buf), err
	case end == 0: // its head has not come whole; then it fails again
		return 0, codec.ErrIncomplete
	default:
		return end, err
	}
}
