package python

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// fail makes the parser's error. It returns failed.
func (p *parser) fail(code fault.Code, offset int, msg string) int {
	p.err = &codec.SyntaxError{Codec: name, Code: code, Offset: offset, Path: p.path(), Msg: msg}
	return failed
}

// unexpected fails because the bytes at i are not what is expected.
func (p *parser) unexpected(buf []byte, i int, want string) int {
	p.fail(fault.Malformed, i, "want "+want+", got "+wording.Char(buf, i))
	if i < len(buf) && buf[i] == '#' {
		p.err.Hint = "comments are not read"
	}
	return failed
}

// truncated fails because buf is all that there is of the record.
func (p *parser) truncated(buf []byte) int {
	p.unexpected(buf, len(buf), p.wanted())
	p.err.Code = fault.Truncated
	return failed
}

// wanted says what run waits for when it answers incomplete.
func (p *parser) wanted() string {
	switch p.state {
	case atStart:
		return "a dictionary"
	case atValue:
		return p.top().wants()
	case inString:
		return "the string's closing quote"
	case atCall:
		return "'(' after the name"
	case inCall:
		return "')' at the end of the call"
	case afterString, afterValue:
		if len(p.frames) > 0 {
			return p.top().wantsBehind()
		}
		return "the end"
	default:
		return "the value to go on"
	}
}

// wants returns what is allowed in the place of f's next value.
func (f *frame) wants() string {
	switch {
	case f.begun:
		return "a value"
	case f.kind == isList:
		return "a value or ']'"
	case f.kind == isTuple:
		return "a value or ')'"
	case f.kind == isDict:
		return "a key or '}'"
	case f.kind == isBrace || f.kind == isSet:
		return "a value or '}'"
	case f.kind == isPairs:
		return "a key and its value in parentheses, or ']'"
	case f.kind == isPair && f.n > 0:
		return "')'"
	case f.kind == isFrozen:
		return "a set or ')'"
	case f.kind == isOrdered:
		return "a dictionary or ')'"
	case f.kind >= isSign:
		return "a number"
	default:
		return "a value"
	}
}

// wantsBehind returns what may follow a value in f.
func (f *frame) wantsBehind() string {
	switch {
	case f.kind == isList || f.kind == isPairs:
		return "',' or ']'"
	case f.kind == isTuple, f.kind == isPair && f.begun:
		return "',' or ')'"
	case f.kind == isDict && !f.begun:
		return "':' after the key"
	case f.kind == isBrace && f.n == 0:
		return "':', ',' or '}'"
	case f.kind == isPair, f.kind == isTag && f.n == 0:
		return "','"
	case f.kind == isOrdered || f.kind == isFrozen || f.kind == isTag:
		return "')'"
	default:
		return "',' or '}'"
	}
}

// notADictionary fails because the record begins differently.
func (p *parser) notADictionary(buf []byte, i int) int {
	var what string
	switch c := buf[i]; {
	case c == '[':
		what = "a list"
	case c == '(':
		what = "a tuple"
	case c == '"' || c == '\'':
		what = "a string"
	case c == '-' || isDigit(c):
		what = "a number"
	default:
		return p.unexpected(buf, i, "a dictionary, which begins with '{' or OrderedDict")
	}
	p.fail(fault.NotADictionary, i, "want a dictionary, got "+what)
	p.err.Hint = `wrap it, as in {'value': …}`
	return failed
}

// duplicate fails because the key at the given place came before.
func (p *parser) duplicate(place int) int {
	key := dict.AppendRepr(nil, p.b.At(place), dict.DefaultPython)
	const most = 100
	if len(key) > most {
		key = append(key[:most:most], "…"...)
	}
	p.fail(fault.DuplicateKey, p.tok, "the key "+string(key)+" comes twice")
	p.err.Hint = "Python keeps the last value; send a dictionary that was made, not one that was typed"
	return failed
}

// path names the value in hand by the keys and indices that lead to it.
func (p *parser) path() string {
	var path wording.Path
	for i := range p.frames {
		switch f := &p.frames[i]; f.kind {
		case isList, isTuple, isBrace, isSet:
			path.Index(int(f.n))
		case isDict, isPair:
			if f.begun {
				key := p.b.At(f.key)
				text, ok := key.TextBytes()
				if !ok {
					text = dict.AppendRepr(nil, key, dict.DefaultPython)
				}
				path.Key(text)
			}
		default: // no step of the path
		}
	}
	return path.String()
}

// tooDeep fails because of the container that begins at i.
func (p *parser) tooDeep(i int) int { return p.fail(fault.TooDeep, i, wording.Levels(p.lim.Depth)) }
