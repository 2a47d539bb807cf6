package json

import "bytes"

// Extended reports whether records that a scanner accepted may exceed RFC 8259, or contain
// what strict readers refuse: the words NaN, Infinity and -Infinity, and lone surrogates.
// It only searches the bytes, so records whose text contains such a word count, too.
func Extended(records []byte) bool {
	return bytes.Contains(records, []byte("NaN")) || bytes.Contains(records, []byte("Infinity")) || loneSurrogate(records)
}

// loneSurrogate reports whether there is what looks like an escaped surrogate
// without its other half.
func loneSurrogate(b []byte) bool {
	const escape = len(`\ud800`)
	for {
		i := bytes.Index(b, []byte(`\u`))
		if i < 0 {
			return false
		}
		switch b = b[i:]; {
		case half(b) == high && half(b[escape:]) == low:
			b = b[2*escape:]
		case half(b) != none:
			return true
		default:
			b = b[2:]
		}
	}
}

const (
	none = iota
	high
	low
)

// half returns which half of a surrogate pair an escape at the beginning of b represents.
func half(b []byte) int {
	switch {
	case len(b) < len(`\ud800`) || b[0] != '\\' || b[1] != 'u' || b[2]|0x20 != 'd' || b[3] < '8':
		return none
	case b[3] < 'A' || b[3]|0x20 <= 'b':
		return high
	default:
		return low
	}
}
