package python

import (
	"math"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A word is the meaning of a name.
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

// wordOf returns the meaning of a name.
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

// name reads a name, or the prefix of a string, that begins at p.tok; everything before i
// has been read already.
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
	p.fail(fault.Malformed, p.tok, "want a value, got the name "+string(name))
	switch string(name) {
	case "true", "false", "null", "NaN", "Infinity":
		p.err.Hint = "this looks like JSON; use json.Codec"
	default:
		p.err.Hint = "only literals and what repr prints of the kinds in docs/formats.md are read, nothing is evaluated"
	}
	return failed
}
