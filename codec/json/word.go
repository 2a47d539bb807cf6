package json

import "math"

// literal reads the word that begins at i and returns where it ends,
// incomplete (with the state set) or failed.
func (p *parser) literal(buf []byte, i int) int {
	switch buf[i] {
	case 't':
		if end := p.match(buf, i, "true"); end != 0 {
			if end > 0 && p.b != nil {
				p.buildWord('t')
			}
			return end
		}
	case 'f':
		if end := p.match(buf, i, "false"); end != 0 {
			if end > 0 && p.b != nil {
				p.buildWord('f')
			}
			return end
		}
	case 'n':
		if end := p.match(buf, i, "null"); end != 0 {
			if end > 0 && p.b != nil {
				p.buildWord('n')
			}
			return end
		}
	case 'N':
		return p.word(buf, i, "NaN", math.NaN())
	case 'I':
		return p.word(buf, i, "Infinity", math.Inf(1))
	}
	return p.unexpected(buf, atValue, i, "a value")
}

// buildWord adds the bool or null whose first letter is c.
func (p *parser) buildWord(c byte) {
	if c == 'n' {
		p.b.Null()
		return
	}
	p.b.Bool(c == 't')
}

// word reads one of Python's three words for a float.
func (p *parser) word(buf []byte, i int, word string, v float64) int {
	end := p.match(buf, i, word)
	switch {
	case end == 0:
		return p.unexpected(buf, atValue, i, "a value")
	case end > 0:
		p.words = true
		if p.b != nil {
			p.b.Float(v)
		}
	}
	return end
}

// match returns where word ends, incomplete if it may still come, or 0.
func (p *parser) match(buf []byte, i int, word string) int {
	got := buf[i:min(i+len(word), len(buf))]
	switch {
	case string(got) == word:
		return i + len(word)
	case string(got) == word[:len(got)]:
		return p.stop(buf, atValue, i)
	default:
		return 0
	}
}
