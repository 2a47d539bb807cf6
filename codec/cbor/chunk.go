package cbor

import (
	"math"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// chunks are the string of indefinite length that is open, whose content so far
// is Walk.Text.
type chunks struct {
	open  bool
	major byte
	tag   uint64 // in front of it, or noTag
	at    int    // offset of its head, or of its tag if there is one
}

const noTag = math.MaxUint64

// beginChunks begins the string of indefinite length at i.
func (p *parser) beginChunks(major byte, tag uint64, i int) {
	p.chunks = chunks{open: true, major: major, tag: tag, at: i}
	p.Text = p.Text[:0]
}

// chunk continues in the string of indefinite length whose next chunk begins at i.
func (p *parser) chunk(buf []byte, i int) int {
	c := &p.chunks
	for {
		if i >= len(buf) {
			return p.Stop(buf, i, i+1)
		}
		if buf[i] == brk {
			break
		}
		if buf[i]>>5 != c.major || buf[i]&31 == indefinite {
			return p.Unexpected(buf, i, "a chunk of the string")
		}
		k, size := p.argument(buf, i)
		if k < 0 {
			return k
		}
		if size > uint64(len(buf)-k) {
			return p.Short(buf, i, k, size)
		}
		from := k
		k += int(size)
		if c.major == textString && !utf8.Valid(buf[from:k]) {
			return p.BadUTF8(buf, from, k)
		}
		p.Text = append(p.Text, buf[from:k]...)
		i = k
	}
	c.open = false
	switch {
	case c.tag != noTag:
		if !p.stringTag(buf, c.at, c.tag, p.Text) {
			return walk.Failed
		}
	case p.B != nil && c.major == textString:
		p.B.OwnText(append(p.B.Own(), p.Text...), false)
	case p.B != nil:
		p.B.OwnRef(dict.KindBytes, append(p.B.Own(), p.Text...))
	}
	return i + 1
}
