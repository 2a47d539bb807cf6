package cbor

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/dict"
)

// fail makes the parser's error. It returns failed. It and others that are rare are
// kept out of the functions that call them.
//
//go:noinline
func (p *parser) fail(buf []byte, code codec.Code, offset int, msg string) int {
	p.err = &codec.SyntaxError{Codec: name, Code: code, Offset: offset, Path: p.path(buf), Msg: msg}
	return failed
}

// unexpected fails because of what stands at i, where something else is wanted.
func (p *parser) unexpected(buf []byte, i int, want string) int {
	return p.fail(buf, codec.Malformed, i, "want "+want+", got "+describe(buf, i))
}

// truncated fails because buf is all that there is of the record.
func (p *parser) truncated(buf []byte) int {
	want := "a dictionary"
	switch {
	case p.chunks.open:
		want = "the string to go on or end"
	case p.pos < len(buf):
		want = "the rest of " + describe(buf, p.pos)
	case len(p.frames) > 0:
		switch f := &p.frames[len(p.frames)-1]; {
		case !f.isDict:
			want = "an item"
		case p.atKey:
			want = "a key"
		default:
			want = "a value"
		}
	}
	return p.fail(buf, codec.Truncated, len(buf), "want "+want+", got the end")
}

// describe names the item whose head stands at i.
func describe(buf []byte, i int) string {
	if i >= len(buf) {
		return "the end"
	}
	c := buf[i]
	info := c & 31
	k, arg, ok := readHead(buf, i)
	if !ok || c == simple<<5|24 && k <= len(buf) && arg < 32 {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	switch c >> 5 {
	case unsigned, negative:
		return "an integer"
	case byteString:
		return "bytes"
	case textString:
		return "a string"
	case array:
		return "a list"
	case mapping:
		return "a map"
	case tag:
		if k <= len(buf) {
			return "tag " + strconv.FormatUint(arg, 10)
		}
		return "a tag"
	}
	switch info {
	case simpleFalse, simpleTrue:
		return "a bool"
	case simpleNull:
		return "null"
	case 25, 26, 27:
		return "a float"
	case indefinite:
		return "a break"
	default:
		return "a simple value"
	}
}

// notADictionary fails because the record begins with something else.
func (p *parser) notADictionary(buf []byte, i int) int {
	p.frames = p.frames[:0]
	p.fail(buf, codec.NotADictionary, i, "want a dictionary, got "+describe(buf, i))
	p.err.Hint = `wrap it, as in {"value": …}`
	return failed
}

// refused fails because of a tag that belongs to an option of Python's cbor2.
func (p *parser) refused(buf []byte, i int, number uint64, what, option string) int {
	p.fail(buf, codec.Malformed, i, fmt.Sprintf("want a value, got tag %d (%s, which are not supported)", number, what))
	p.err.Hint = "encode without " + option
	return failed
}

// duplicate fails because f's last key, or the set's item v, came before.
func (p *parser) duplicate(buf []byte, f *frame, v dict.Value) {
	what, at := "key", int(f.keyAt)
	if f.isSet() {
		what, at = "set's item", int(f.keyEnd)
	}
	p.fail(buf, codec.DuplicateKey, at, "the "+what+" "+quote(v)+" comes twice")
}

// quote returns a key as messages name it.
func quote(v dict.Value) string {
	if text, ok := v.TextBytes(); ok {
		return strconv.Quote(string(text))
	}
	return v.String()
}

// unhashable fails because f's last key, or the set's item, can't be one.
func (p *parser) unhashable(buf []byte, f *frame, err error) {
	at := int(f.keyAt)
	if f.isSet() {
		at = int(f.keyEnd)
	}
	kind := "value"
	if hash, ok := err.(*dict.HashError); ok { //nolint:errorlint // Hashable wraps nothing
		kind = hash.Kind.String()
	}
	p.fail(buf, codec.Malformed, at, "want a key or a set's item that is hashable, got a "+kind)
}

// badUTF8 fails because of the first byte of buf[i:end] that is not UTF-8.
func (p *parser) badUTF8(buf []byte, i, end int) int {
	for {
		r, size := utf8.DecodeRune(buf[i:end])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		i += size
	}
	p.fail(buf, codec.Malformed, i, fmt.Sprintf("want UTF-8, got byte 0x%02x", buf[i]))
	p.err.Hint = "encode the text as UTF-8; what has lone surrogates stands behind tag 273, as bytes"
	return failed
}

// path names the value in hand by the keys and indices that lead to it.
func (p *parser) path(buf []byte) string {
	var path fault.Path
	for i := range p.frames {
		switch f := &p.frames[i]; {
		case f.kind == dict.KindTagged:
		case !f.isDict:
			path.Index(f.n())
		case f.inKey || p.atKey && i == len(p.frames)-1 || f.n() == 0: // a key, which names no value yet
			return path.String()
		default:
			path.Key(keyText(buf[f.keyAt:f.keyEnd]))
		}
	}
	return path.String()
}

// keyText returns the text of a key, or the repr of one that is no string.
func keyText(key []byte) []byte {
	record := append(append([]byte{mapping<<5 | 1}, key...), simple<<5|simpleNull)
	d, err := Codec{}.Decode(record, codec.Limits{RecordBytes: -1, Items: -1})
	if err != nil {
		return []byte("?") // it has been read
	}
	for k := range d.All() {
		if text, ok := k.TextBytes(); ok {
			return text
		}
		return []byte(k.String())
	}
	return nil
}
