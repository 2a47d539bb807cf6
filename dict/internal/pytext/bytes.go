package pytext

import "slices"

// AppendBytes appends what repr returns for a bytes object.
func AppendBytes(dst, b []byte) []byte {
	quote := bytesQuote(b)
	return appendBytes(append(dst, 'b'), b, quote, quote)
}

// AppendByteArray appends what repr returns for a bytearray. Up to 3.14 that
// escapes apostrophes even within double quotes.
func AppendByteArray(dst, b []byte) []byte {
	dst = appendBytes(append(dst, "bytearray(b"...), b, bytesQuote(b), '\'')
	return append(dst, ')')
}

func bytesQuote(b []byte) byte {
	if contains(b, '\'') && !contains(b, '"') {
		return '"'
	}
	return '\''
}

// appendBytes appends b within quotes. escaped is the quote that gets a
// backslash; the double quote never needs one.
func appendBytes(dst, b []byte, quote, escaped byte) []byte {
	dst = slices.Grow(dst, len(b)+2)
	dst = append(dst, quote)
	for len(b) > 0 {
		switch c := b[0]; {
		case plain[c]:
			if len(b) >= 8 && notPlain(load64(b[:8])) == 0 {
				n := plainPrefix(b)
				dst = append(dst, b[:n]...)
				b = b[n:]
				continue
			}
			dst = append(dst, c)
		case c >= 0x80:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c == '\'' && escaped != '\'':
			dst = append(dst, c)
		default:
			dst = appendByteEscape(dst, c)
		}
		b = b[1:]
	}
	return append(dst, quote)
}
