package msgpack

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/dict"
)

// fail makes the parser's error. It returns failed.
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
	case p.pos < len(buf):
		want = "the rest of " + describe(buf, p.pos)
	case len(p.frames) > 0:
		switch f := &p.frames[len(p.frames)-1]; {
		case f.kind != dict.KindDict:
			want = "an item"
		case f.value:
			want = "a value"
		default:
			want = "a key"
		}
	}
	return p.fail(buf, codec.Truncated, len(buf), "want "+want+", got the end")
}

// describe names the item whose head stands at i.
func describe(buf []byte, i int) string {
	if i >= len(buf) {
		return "the end"
	}
	switch classOf(buf[i]) {
	case ofNull:
		return "nil"
	case ofBool:
		return "a bool"
	case ofInt:
		return "an integer"
	case ofFloat:
		return "a float"
	case ofStr:
		return "a string"
	case ofBin:
		return "bytes"
	case ofExt:
		return "an extension"
	case ofArray:
		return "an array"
	case ofMap:
		return "a map"
	default:
		return fmt.Sprintf("byte 0x%02x", buf[i])
	}
}

// notADictionary fails because the record begins with something else.
func (p *parser) notADictionary(buf []byte, i int) int {
	if classOf(buf[i]) == ofNothing {
		return p.unexpected(buf, i, "a dictionary")
	}
	p.fail(buf, codec.NotADictionary, i, "want a dictionary, got "+describe(buf, i))
	p.err.Hint = `wrap it, as in {"value": …}`
	return failed
}

func (p *parser) tooLarge() int {
	return p.fail(nil, codec.TooLarge, p.lim.RecordBytes, fault.Bytes(p.lim.RecordBytes))
}

func (p *parser) tooManyDigits(buf []byte, i int) int {
	return p.fail(buf, codec.OverLimit, i, fault.Digits(p.lim.Digits))
}

// duplicate fails because f's last key came before.
func (p *parser) duplicate(buf []byte, f *frame, v dict.Value) {
	key := v.String()
	if text, ok := v.TextBytes(); ok {
		key = strconv.Quote(string(text))
	}
	p.fail(buf, codec.DuplicateKey, int(f.keyAt), "the key "+key+" comes twice")
}

// unhashable fails because f's last key can't be one.
func (p *parser) unhashable(buf []byte, f *frame, err error) {
	kind := "value"
	if hash, ok := err.(*dict.HashError); ok { //nolint:errorlint // Hashable wraps nothing
		kind = hash.Kind.String()
	}
	p.fail(buf, codec.Malformed, int(f.keyAt), "want a key that is hashable, got a "+kind)
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
	p.err.Hint = "write bytes as bin, as Python's msgpack does with use_bin_type=True"
	return failed
}

// path names the value in hand by the keys and indices that lead to it.
func (p *parser) path(buf []byte) string {
	var path fault.Path
	for i := range p.frames {
		switch f := &p.frames[i]; {
		case f.kind != dict.KindDict:
			path.Index(int(f.n))
		case f.value && int(f.keyEnd) <= len(buf):
			path.Key(keyText(buf[f.keyAt:f.keyEnd]))
		default: // a key, which names no value yet
			return path.String()
		}
	}
	return path.String()
}

// keyText returns the text of a key, or the repr of one that is no string.
func keyText(key []byte) []byte {
	record := append(append([]byte{fixmap | 1}, key...), null)
	d, err := Codec{}.Decode(record, codec.Limits{RecordBytes: -1, Items: -1, Depth: -1, Digits: -1})
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
