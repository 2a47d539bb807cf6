package python

// arguments reads those of a call that has come as a whole. Its methods return
// false when they have failed.
type arguments struct {
	p   *parser
	buf []byte // up to the call's end
	i   int
}

func (a *arguments) space() {
	for a.i < len(a.buf)-1 && blanks(a.buf[a.i:a.i+1]) == 1 {
		a.i++
	}
}

func (a *arguments) fail(want string) bool {
	a.p.unexpected(a.buf, a.i, want)
	return false
}

// has reads text if it comes next. The last byte of buf is no part of it.
func (a *arguments) has(text string) bool {
	a.space()
	rest := a.buf[a.i : len(a.buf)-1]
	if len(rest) < len(text) || string(rest[:len(text)]) != text {
		return false
	}
	a.i += len(text)
	return true
}

func (a *arguments) want(text, what string) bool { return a.has(text) || a.fail(what) }

// atEnd reports whether the call ends here.
func (a *arguments) atEnd() bool {
	a.space()
	return a.i == len(a.buf)-1
}

func (a *arguments) end() bool { return a.atEnd() || a.fail("')'") }

// int reads an int of at most 18 digits.
func (a *arguments) int() (int64, bool) {
	negative := a.has("-")
	a.space()
	n, begin := int64(0), a.i
	for ; isDigit(a.buf[a.i]) && a.i-begin < 18; a.i++ {
		n = n*10 + int64(a.buf[a.i]-'0')
	}
	if a.i == begin {
		return 0, a.fail("an int")
	}
	if negative {
		n = -n
	}
	return n, true
}

// named reads an argument of that name, an int from least to most.
func (a *arguments) named(name string, least, most int64) (int64, bool) {
	if !a.want(name, name) {
		return 0, false
	}
	begin := a.i
	n, ok := a.int()
	if ok && (n < least || n > most) {
		a.i = begin
		return 0, a.fail("a number in range")
	}
	return n, ok
}

// text reads a string, or bytes, and returns its content, which is valid until
// the next one.
func (a *arguments) text(isBytes bool) ([]byte, bool) {
	a.space()
	p, want := a.p, "a string"
	if isBytes {
		want = "bytes"
	}
	quote, ok := p.prefix(a.buf, a.i)
	if !ok || p.str.bytes != isBytes {
		return nil, a.fail(want)
	}
	raw := p.str.raw
	p.str = literal{bytes: isBytes, raw: raw}
	switch end := p.string(a.buf, p.openPiece(quote)); end {
	case failed:
		return nil, false
	case incomplete:
		a.i = len(a.buf)
		return nil, a.fail("the string's closing quote")
	default:
		a.i = end
	}
	if p.str.own {
		return p.text, true
	}
	return a.buf[p.str.off : p.str.off+p.str.n], true
}

// numbers reads ints up to a named argument or the end.
func (a *arguments) numbers(into []*int) (n int, ok bool) {
	for !a.atEnd() && (isDigit(a.buf[a.i]) || a.buf[a.i] == '-') {
		if n == len(into) {
			return n, a.fail("a named argument or ')'")
		}
		v, ok := a.int()
		if !ok {
			return n, false
		}
		*into[n] = int(v)
		n++
		if !a.atEnd() && !a.want(",", "',' or ')'") {
			return n, false
		}
	}
	return n, true
}
