package json

// Extended reports whether a dictionary that Next has found since the last call has what
// RFC 8259 lacks, NaN or an infinity, or what strict readers refuse, half a surrogate pair.
// See [codec.Extender].
func (s *scanner) Extended() bool {
	e := s.extended
	s.extended = false
	return e
}

// extended reports whether the record in hand is such a one.
func (p *parser) extended() bool { return p.words || p.halves > 0 }

// surrogate counts the halves of surrogate pairs that lack the other one: i is where an
// escape begins that may be one of them.
func (p *parser) surrogate(buf []byte, i int) {
	switch half(buf[i:]) {
	case high:
		p.halves++
		p.pair = i + len(`\ud800`)
	case low:
		if p.pair != i {
			p.halves++
		} else {
			p.halves--
		}
	}
}

const (
	none = iota
	high
	low
)

// half returns which half of a surrogate pair the escape \uXXXX at the beginning of b is.
func half(b []byte) int {
	switch {
	case b[2]|0x20 != 'd' || b[3] < '8':
		return none
	case b[3] < 'A' || b[3]|0x20 <= 'b':
		return high
	default:
		return low
	}
}
