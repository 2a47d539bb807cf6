package terminal

import "bytes"

// indentation of a level of JSON.
const indentation = "  "

// AppendJSON appends a JSON text, which is valid, for people: with a space after each
// comma and colon or, with indent, each value on a line of its own; and in colours. What a
// terminal would obey is escaped.
func AppendJSON(dst, in []byte, indent, color bool) []byte {
	var (
		open  []byte // the brackets that are open
		isKey bool   // the next string is one
	)
	line := func() {
		if !indent {
			return
		}
		dst = append(dst, '\n')
		for range open {
			dst = append(dst, indentation...)
		}
	}
	for i := 0; i < len(in); {
		c := in[i]
		i++
		switch c {
		case ' ', '\t', '\n', '\r':
		case '{', '[':
			dst = append(dst, c)
			if i < len(in) && (in[i] == '}' || in[i] == ']') {
				dst = append(dst, in[i])
				i++
				continue
			}
			open, isKey = append(open, c), c == '{'
			line()
		case '}', ']':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
			line()
			dst = append(dst, c)
		case ',':
			dst = append(dst, c)
			isKey = len(open) > 0 && open[len(open)-1] == '{'
			if !indent {
				dst = append(dst, ' ')
			}
			line()
		case ':':
			dst = append(dst, ':', ' ')
			isKey = false
		default:
			end := endOfScalar(in, i-1)
			dst = styleOf(c, isKey).Append(dst, Escaped(in[i-1:end]), color)
			i = end
		}
	}
	return dst
}

// endOfScalar returns where a string, number or literal ends that begins at i.
func endOfScalar(in []byte, i int) int {
	if in[i] != '"' {
		if n := bytes.IndexAny(in[i:], ",:]} \t\r\n"); n > 0 {
			return i + n
		}
		return len(in)
	}
	for i++; i < len(in); i++ {
		switch in[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(in)
}

func styleOf(first byte, isKey bool) Style {
	switch {
	case isKey:
		return key
	case first == '"':
		return text
	case first == 't' || first == 'f' || first == 'n':
		return literal
	default:
		return number
	}
}
