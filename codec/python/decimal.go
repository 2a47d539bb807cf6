package python

import (
	"math"

	"github.com/dictwire/dictwire/dict"
)

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
