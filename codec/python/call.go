package python

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A word is what a name stands for.
type word uint8

const (
	noWord word = iota
	constant
	theOrderedDict
	theFrozenSet
	theTag
	// The calls of these are one token.
	theSet
	theByteArray
	theDecimal
	theUUID
	theDateTime
	theDate
	theTime
	theTimeDelta
	theExtension
	theSimpleValue
)

// wordOf returns what the name stands for.
func wordOf(name []byte) word {
	switch string(name) {
	case "True", "False", "None", "nan", "inf", "nanj", "infj", "undefined":
		return constant
	case "OrderedDict":
		return theOrderedDict
	case "frozenset":
		return theFrozenSet
	case "CBORTag":
		return theTag
	case "set":
		return theSet
	case "bytearray":
		return theByteArray
	case "Decimal":
		return theDecimal
	case "UUID":
		return theUUID
	case "datetime.datetime":
		return theDateTime
	case "datetime.date":
		return theDate
	case "datetime.time":
		return theTime
	case "datetime.timedelta":
		return theTimeDelta
	case "ExtType":
		return theExtension
	case "CBORSimpleValue":
		return theSimpleValue
	default:
		return noWord
	}
}

const maxName = 64 // bytes

// name reads a name, or the prefix of a string, that begins at p.tok and of which
// everything before i has been read.
func (p *parser) name(buf []byte, i int) int {
	for i < len(buf) && i-p.tok <= maxName && (isLetter(buf[i]) || isDigit(buf[i]) || buf[i] == '.') {
		i++
	}
	name := buf[p.tok:i]
	if i-p.tok <= maxName {
		if i == len(buf) {
			return p.stop(i)
		}
		if buf[i] == '\'' || buf[i] == '"' {
			begin := p.tok
			quote, ok := p.prefix(buf, begin)
			if !ok {
				return p.unexpected(buf, begin, "one of the prefixes r, b, rb and u in front of a string")
			}
			isBytes, raw := p.str.bytes, p.str.raw
			p.openString(quote)
			p.tok, p.str.bytes, p.str.raw = begin, isBytes, raw
			return quote
		}
		p.word = wordOf(name)
	} else {
		p.word = noWord
	}
	switch {
	case len(p.frames) == 0 && p.word != theOrderedDict:
		return p.unexpected(buf, p.tok, "a dictionary, which begins with '{' or OrderedDict")
	case p.word == noWord:
		return p.unknown(name)
	case p.word == constant:
		num := unsigned
		switch string(name) {
		case "True", "False":
			p.b.Bool(name[0] == 'T')
			num = notNumber
		case "None":
			p.b.Null()
			num = notNumber
		case "nan":
			p.b.Float(math.NaN())
		case "inf":
			p.b.Float(math.Inf(1))
		case "nanj":
			p.b.Complex(complex(0, math.NaN()))
		case "infj":
			p.b.Complex(complex(0, math.Inf(1)))
		default:
			at := p.b.OpenTagged(dict.CBORSimple)
			p.b.Int(dict.CBORUndefined)
			p.b.Null()
			p.b.Close(at, 2)
			num = notNumber
		}
		return p.built(i, num)
	}
	p.state = atCall
	return i
}

func (p *parser) unknown(name []byte) int {
	const most = 40
	if len(name) > most {
		name = append(name[:most:most], "…"...)
	}
	p.fail(codec.Malformed, p.tok, "want a value, got the name "+string(name))
	switch string(name) {
	case "true", "false", "null", "NaN", "Infinity":
		p.err.Hint = "this looks like JSON; use --from json"
	default:
		p.err.Hint = "only literals and what repr prints of the kinds in docs/formats.md are read, nothing is evaluated"
	}
	return failed
}

// callOf reads the parenthesis behind a name.
func (p *parser) callOf(buf []byte, i int) int {
	i = p.space(buf, i)
	if i < 0 || i == len(buf) {
		return p.pause(buf, i)
	}
	if buf[i] != '(' {
		return p.unexpected(buf, i, "'(' after the name")
	}
	switch p.word {
	case theOrderedDict:
		p.push(frame{kind: isOrdered})
	case theFrozenSet:
		p.push(frame{kind: isFrozen})
	case theTag:
		if p.depth++; p.depth > p.lim.Depth {
			p.depth--
			return p.tooDeep(i)
		}
		f := p.push(frame{kind: isTag, place: p.b.OpenTagged(dict.CBORTag)})
		p.keys.Open(&f.keys)
	default:
		p.tok, p.state = i, inCall
		p.nest = nesting{}
		return i
	}
	p.state = atValue
	return i + 1
}

// nesting is where in a call that is one token the parser stands.
type nesting struct {
	depth int
	quote byte // of the string in hand
	skip  bool // a backslash was read
}

// plainCall reads a call whose parenthesis is at p.tok and of which everything
// before i has been read.
func (p *parser) plainCall(buf []byte, i int) int {
	n := &p.nest
	for ; i < len(buf); i++ {
		switch c := buf[i]; {
		case n.skip:
			n.skip = false
		case n.quote != 0:
			n.skip = c == '\\'
			if c == n.quote {
				n.quote = 0
			}
		case c == '\'' || c == '"':
			n.quote = c
		case c == '(':
			n.depth++
		case c == ')':
			if n.depth--; n.depth == 0 {
				a := arguments{p: p, buf: buf[:i+1], i: p.tok + 1}
				if !a.build(p.word) {
					return failed
				}
				return p.built(i+1, notNumber)
			}
		}
	}
	return p.stop(i)
}

// arguments reads those of a call that has come as a whole. Its methods return
// false when they have failed.
type arguments struct {
	p   *parser
	buf []byte // up to the call's end
	i   int
}

// build adds the value that the call makes.
func (a *arguments) build(w word) bool {
	b := &a.p.b
	switch w {
	case theSet:
		if !a.end() {
			return false
		}
		b.Close(b.Open(dict.KindSet), 0)
		return true
	case theByteArray:
		text, ok := a.text(true)
		if !ok || !a.end() {
			return false
		}
		b.OwnRef(dict.KindByteArray, append(b.Own(), text...))
		return true
	case theDecimal:
		return a.decimal()
	case theUUID:
		return a.uuid()
	case theExtension:
		at := b.OpenTagged(dict.MessagePackExt)
		code, ok := a.named("code=", -128, 127)
		if !ok || !a.want(",", "','") || !a.want("data=", "data=") {
			return false
		}
		data, ok := a.text(true)
		if !ok || !a.end() {
			return false
		}
		b.Int(code)
		b.OwnRef(dict.KindBytes, append(b.Own(), data...))
		b.Close(at, 2)
		return true
	case theSimpleValue:
		at := b.OpenTagged(dict.CBORSimple)
		value, ok := a.named("value=", 0, 255)
		if !ok || !a.end() {
			return false
		}
		b.Int(value)
		b.Null()
		b.Close(at, 2)
		return true
	default:
		return a.time(w)
	}
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

// decimal adds the Decimal of a string.
func (a *arguments) decimal() bool {
	begin := a.i
	text, ok := a.text(false)
	if !ok || !a.end() {
		return false
	}
	own, ok := a.p.appendDecimal(text)
	if !ok {
		a.i = begin
		return a.fail("the text of a decimal")
	}
	a.p.b.OwnRef(dict.KindDecimal, own)
	return true
}

// appendDecimal appends a decimal to the Builder's text, in its form there.
func (p *parser) appendDecimal(text []byte) (own []byte, ok bool) {
	own = p.b.Own()
	rest := text
	negative := len(rest) > 0 && rest[0] == '-'
	if negative {
		rest = rest[1:]
	}
	if len(rest) > 0 && !isDigit(rest[0]) {
		return append(own, text...), isWordOfDecimal(rest)
	}
	p.digits = p.digits[:0]
	var exp int64
	point := false
	i := 0
	for ; i < len(rest) && rest[i]|0x20 != 'e'; i++ {
		switch {
		case isDigit(rest[i]):
			p.digits = append(p.digits, rest[i])
			if point {
				exp--
			}
		case rest[i] == '.' && !point:
			point = true
		default:
			return own, false
		}
	}
	if i < len(rest) {
		e, ok := exponent(rest[i+1:])
		if !ok {
			return own, false
		}
		exp += e
	}
	if len(p.digits) == 0 {
		return own, false
	}
	own, err := dict.AppendDecimal(own, negative, p.digits, exp)
	return own, err == nil
}

// isWordOfDecimal reports whether text is Infinity, NaN or sNaN, the latter with
// any digits.
func isWordOfDecimal(text []byte) bool {
	if string(text) == "Infinity" {
		return true
	}
	if text[0] == 's' {
		text = text[1:]
	}
	if len(text) < 3 || string(text[:3]) != "NaN" {
		return false
	}
	for i, c := range text[3:] {
		if !isDigit(c) || i == 0 && c == '0' {
			return false
		}
	}
	return true
}

func exponent(text []byte) (e int64, ok bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative || len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 19 {
		return 0, false
	}
	for _, c := range text {
		if !isDigit(c) || e > (math.MaxInt64-9)/10 {
			return 0, false
		}
		e = e*10 + int64(c-'0')
	}
	if negative {
		e = -e
	}
	return e, e > -1<<62 && e < 1<<62
}

// uuid adds the UUID of a string.
func (a *arguments) uuid() bool {
	begin := a.i
	text, ok := a.text(false)
	if !ok || !a.end() {
		return false
	}
	own := a.p.b.Own()
	a.p.digits = a.p.digits[:0]
	for i, c := range text {
		if c != '-' {
			a.p.digits = append(a.p.digits, c)
		} else if i != 8 && i != 13 && i != 18 && i != 23 {
			ok = false
		}
	}
	own, err := hex.AppendDecode(own, a.p.digits)
	if !ok || err != nil || len(text) != 36 || len(a.p.digits) != 32 {
		a.i = begin
		return a.fail("a UUID of 32 hexadecimal digits and 4 dashes")
	}
	a.p.b.OwnRef(dict.KindUUID, own)
	return true
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

// time adds a date, time, datetime or timedelta.
func (a *arguments) time(w word) bool {
	var (
		d     dict.Date
		t     dict.TimeOfDay
		begin = a.i
		b     = &a.p.b
		err   error
	)
	switch w {
	case theTimeDelta:
		delta, ok := a.timeDelta()
		if !ok {
			return false
		}
		var v dict.Value
		if v, err = delta.Value(); err == nil {
			b.Add(v)
		}
	case theDate:
		if n, ok := a.numbers([]*int{&d.Year, &d.Month, &d.Day}); !ok || n < 3 || !a.atEnd() {
			return ok && a.fail("year, month and day")
		}
		var v dict.Value
		if v, err = d.Value(); err == nil {
			b.Add(v)
		}
	case theTime:
		if _, ok := a.numbers([]*int{&t.Hour, &t.Minute, &t.Second, &t.Microsecond}); !ok || !a.foldAndZone(&t) {
			return false
		}
		err = b.TimeOfDay(t)
	default:
		n, ok := a.numbers([]*int{&d.Year, &d.Month, &d.Day, &t.Hour, &t.Minute, &t.Second, &t.Microsecond})
		if !ok || n < 3 {
			return ok && a.fail("at least year, month and day")
		}
		if !a.foldAndZone(&t) {
			return false
		}
		err = b.DateTime(dict.DateTime{Date: d, TimeOfDay: t})
	}
	if err != nil {
		a.p.fail(codec.Malformed, begin, err.Error())
		return false
	}
	return true
}

// timeDelta reads a timedelta's arguments.
func (a *arguments) timeDelta() (t dict.TimeDelta, ok bool) {
	if _, ok := a.numbers([]*int{&t.Days, &t.Seconds, &t.Microseconds}); !ok {
		return t, false
	}
	for !a.atEnd() {
		part := &t.Days
		switch {
		case a.has("days="):
		case a.has("seconds="):
			part = &t.Seconds
		case a.has("microseconds="):
			part = &t.Microseconds
		default:
			return t, a.fail("days, seconds or microseconds")
		}
		n, ok := a.int()
		if !ok {
			return t, false
		}
		*part = int(n)
		if !a.atEnd() && !a.want(",", "',' or ')'") {
			return t, false
		}
	}
	return t, true
}

// foldAndZone reads a time's named arguments.
func (a *arguments) foldAndZone(t *dict.TimeOfDay) bool {
	for !a.atEnd() {
		switch {
		case a.has("fold="):
			n, ok := a.int()
			if !ok || n != 0 && n != 1 {
				return ok && a.fail("a fold of 0 or 1 before it")
			}
			t.Fold = n == 1
		case a.has("tzinfo="):
			zone, ok := a.zone()
			if !ok {
				return false
			}
			t.Zone = zone
		default:
			return a.fail("fold or tzinfo")
		}
		if !a.atEnd() && !a.want(",", "',' or ')'") {
			return false
		}
	}
	return true
}

// zone reads what stands behind tzinfo=.
func (a *arguments) zone() (z dict.Zone, ok bool) {
	switch {
	case a.has("datetime.timezone.utc"):
		return dict.UTC(), true
	case a.has("zoneinfo.ZoneInfo(") && a.want("key=", "key="):
		key, ok := a.text(false)
		if !ok || !a.want(")", "')'") {
			return z, false
		}
		return a.p.zones.get(false, 0, key), true
	case a.has("datetime.timezone("):
		if !a.want("datetime.timedelta(", "a timedelta") {
			return z, false
		}
		end := a.i
		for a.buf[end] != ')' { // the call's own ends buf
			end++
		}
		inner := arguments{p: a.p, buf: a.buf[:end+1], i: a.i}
		delta, ok := inner.timeDelta()
		if !ok {
			return z, false
		}
		a.i = min(end+1, len(a.buf)-1)
		const day = 24 * time.Hour
		if delta.Days < -1 || delta.Days > 1 || delta.Seconds < -86400 || delta.Seconds > 86400 ||
			delta.Microseconds < -1e6 || delta.Microseconds > 1e6 {
			return z, a.fail("an offset of less than a day before it")
		}
		offset := time.Duration(delta.Days)*day + time.Duration(delta.Seconds)*time.Second + time.Duration(delta.Microseconds)*time.Microsecond
		if a.has(")") {
			return dict.FixedZone(offset), true
		}
		if !a.want(",", "',' or ')'") {
			return z, false
		}
		name, ok := a.text(false)
		if !ok || !a.want(")", "')'") {
			return z, false
		}
		return a.p.zones.get(true, offset, name), true
	default:
		return z, a.fail("datetime.timezone or zoneinfo.ZoneInfo")
	}
}
