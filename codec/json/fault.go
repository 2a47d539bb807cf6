package json

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/wording"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/jsontext"
)

// fail makes the parser's error. It returns failed.
func (p *parser) fail(buf []byte, code fault.Code, offset int, msg string) int {
	p.err = &codec.SyntaxError{Codec: name, Code: code, Offset: offset, Path: p.path(buf), Msg: msg}
	return failed
}

// unexpected fails in the given state because the bytes at i are not what is expected.
func (p *parser) unexpected(buf []byte, in state, i int, want string) int {
	p.state = in
	p.fail(buf, fault.Malformed, i, "want "+want+", got "+wording.Char(buf, i))
	rest := string(buf[i:min(i+5, len(buf))])
	switch before := bytes.TrimRight(buf[:i], " \t\r\n"); {
	case isPythonic(rest):
		p.err.Hint = "this looks like a Python literal; send json.dumps(dictionary), not str(dictionary)"
	case bytes.HasSuffix(before, []byte{','}) && rest != "" && (rest[0] == '}' || rest[0] == ']'):
		p.err.Hint = "JSON has no trailing comma"
	}
	return failed
}

// isPythonic reports whether s, in the place of a value or key, begins as Python spells
// one.
func isPythonic(s string) bool {
	for _, word := range []string{"'", "True", "False", "None"} {
		if s != "" && (strings.HasPrefix(s, word) || strings.HasPrefix(word, s)) {
			return true
		}
	}
	return false
}

// truncated fails because buf is all that there is of the record.
func (p *parser) truncated(buf []byte) {
	switch {
	case p.state == atStart && p.pos < len(buf):
		p.notADictionary(buf, p.pos, true) // a word
		return
	case p.state == inNumber && len(p.frames) > 0:
		// It was only looked at for its end. What has come may be wrong already.
		p.state, p.pos = atValue, p.tok
		if p.run(buf) == failed {
			return
		}
	}
	p.unexpected(buf, p.state, len(buf), p.wanted())
	p.err.Code = fault.Truncated
}

// wanted says what run waits for when it answers incomplete.
func (p *parser) wanted() string {
	switch p.state {
	case atStart:
		return "a dictionary"
	case atKeyOrEnd:
		return "a key or '}'"
	case atKey:
		return "a key"
	case inKey, inString:
		return "the string's closing quote"
	case atColon:
		return "':' after the key"
	case atItemOrEnd:
		return "a value or ']'"
	case atValue:
		return "a value"
	default:
		if len(p.frames) > 0 && p.frames[len(p.frames)-1].isDict {
			return "',' or '}'"
		}
		return "',' or ']'"
	}
}

// notADictionary fails because the record begins differently, at i. whole says that nothing
// more follows.
func (p *parser) notADictionary(buf []byte, i int, whole bool) int {
	var what string
	switch c := buf[i]; {
	case c == '[':
		what = "a list"
	case c == '"':
		what = "a string"
	case c == '-' || c-'0' <= 9:
		what = "a number"
	default:
		rest := string(buf[i:min(i+maxWord+1, len(buf))])
		for _, w := range words {
			switch {
			case strings.HasPrefix(rest, w.text) && (len(rest) > len(w.text) || whole):
				if len(rest) == len(w.text) || !isWord(rest[len(w.text)]) {
					what = w.is
				}
			case strings.HasPrefix(w.text, rest) && !whole:
				return p.stop(buf, atStart, i)
			}
		}
	}
	if what == "" {
		return p.unexpected(buf, atStart, i, "a dictionary, which begins with '{'")
	}
	p.state = atStart
	p.frames = p.frames[:0]
	p.fail(buf, fault.NotADictionary, i, "want a dictionary, got "+what)
	p.err.Hint = `wrap it, as in {"value": …}`
	return failed
}

// words are words that people write for a value, and what that is.
var words = []struct{ text, is string }{
	{"true", "a bool"}, {"false", "a bool"}, {"null", "null"}, {"NaN", "a number"}, {"Infinity", "a number"},
}

const maxWord = len("Infinity")

func isWord(c byte) bool {
	return c-'0' <= 9 || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

// duplicate fails because the key that ends at end came before.
func (p *parser) duplicate(buf []byte, end int) int {
	key, _ := jsontext.Unescape(nil, buf[p.tok:end])
	p.state = inKey
	p.fail(buf, fault.DuplicateKey, p.tok-1, "the key "+strconv.Quote(string(key))+" comes twice")
	p.err.Hint = "json.KeepLast keeps the last value, as Python's json.loads does"
	return failed
}

// badUTF8 fails because of the first byte from i on that is not UTF-8.
func (p *parser) badUTF8(buf []byte, in state, i int) int {
	p.state = in
	i += wording.NotUTF8(buf[i:])
	p.fail(buf, fault.Malformed, i, fmt.Sprintf("want UTF-8, got byte 0x%02x", buf[i]))
	p.err.Hint = "encode the text as UTF-8 before it is sent"
	return failed
}

func (p *parser) tooLarge(buf []byte) int {
	return p.fail(buf, fault.TooLarge, p.lim.RecordBytes, wording.Bytes(p.lim.RecordBytes))
}

// path names the value in hand by the keys and indices that lead to it.
func (p *parser) path(buf []byte) string {
	var path wording.Path
	inFault := p.state == atKeyOrEnd || p.state == atKey || p.state == inKey || p.state == atColon // a key, which names no value yet
	for i := range p.frames {
		f := &p.frames[i]
		var inner *keyset.Frame
		if i+1 < len(p.frames) {
			inner = &p.frames[i+1].keys
		}
		switch {
		case inFault && inner == nil:
		case !f.isDict:
			path.Index(int(f.n))
		case f.n > 0:
			path.Key(p.keys.Last(&f.keys, inner, buf))
		}
	}
	return path.String()
}
