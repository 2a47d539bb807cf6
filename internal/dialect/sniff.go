package dialect

import (
	"bytes"
	"fmt"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/foreign"
)

// A Protocol is what a connection speaks, as recognized by its first bytes.
type Protocol uint8

// The protocols that Sniff recognizes.
const (
	Unknown     Protocol = iota
	JSON                 // a bare sequence of JSON dictionaries
	Native               // a native session, which begins with a greeting in JSON
	Pickle               // a bare sequence of pickles
	MessagePack          // a bare sequence of MessagePack maps
	CBOR                 // a bare sequence of CBOR maps
	Forward              // Fluent Forward
	Framed               // frames of a 4-byte length and a dictionary
	Headed               // frames of a 2-byte length, a header in JSON, and a dictionary
	Columns              // frames of a length in columns of decimal digits, and a dictionary
	TLS
	HTTP // HTTP/1.1, HTTP/2, WebSocket
	protocols
)

var protocolNames = [protocols]string{
	"unknown", "JSON", "a native session", "pickle", "MessagePack", "CBOR",
	"Fluent Forward", "length-prefixed frames", "frames with a header in JSON", "frames with a decimal length", "TLS", "HTTP",
}

// String returns the protocol's name as error messages write it.
func (p Protocol) String() string {
	if p >= protocols {
		return protocolNames[Unknown]
	}
	return protocolNames[p]
}

// Format returns the name of the format of a bare sequence, or "". A greeting is itself a
// JSON dictionary, for callers that serve no sessions.
func (p Protocol) Format() string {
	switch p {
	case JSON, Native:
		return "json"
	case CBOR:
		return "cbor"
	case MessagePack:
		return "msgpack"
	case Pickle:
		return "pickle"
	default:
		return ""
	}
}

const (
	// maxSpace is the most white space before the first significant byte.
	maxSpace = 4 << 10
	// maxGreeting is the longest greeting of a native session, in bytes.
	maxGreeting = 8 << 10
)

// Sniff recognizes the protocol of a connection by its first bytes. It returns
// [codec.ErrIncomplete] if it needs more of them, and an *[fault.Error] if they begin
// nothing that is served. It consumes nothing: the dialect sees the same bytes again.
func Sniff(b []byte) (Protocol, error) { return sniff(b, false) }

// sniff is Sniff. whole says that no more bytes come.
func sniff(b []byte, whole bool) (Protocol, error) {
	space := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
	if space > maxSpace {
		return refuse(fmt.Sprintf("more than %d bytes of white space before the first dictionary", maxSpace), "")
	}
	b = b[space:]
	if len(b) == 0 {
		return Unknown, codec.ErrIncomplete
	}
	if b[0] < 0x80 {
		return sniffASCII(b, whole)
	}
	return sniffBinary(b, whole)
}

// sniffASCII handles first bytes below 0x80: text formats, the text protocols of pickle,
// lengths, TLS and HTTP.
func sniffASCII(b []byte, whole bool) (Protocol, error) {
	switch c := b[0]; {
	case c == '{':
		if len(b) > 1 && b[1] == 0 {
			if p, err := sniffLength(b, whole); err != nil {
				return p, err
			}
			return sniffForeign(b, whole)
		}
		return sniffBrace(b)
	case c == 0x1E: // RS, RFC 7464
		return JSON, nil
	case c == '[':
		return sniffBracket(b, whole)

	case c == '}': // protocol 1
		return Pickle, nil
	case c == '(': // protocol 0
		switch {
		case len(b) == 1 && !whole:
			return Unknown, codec.ErrIncomplete
		case len(b) > 1 && b[1] >= 0x80:
			return sniffForeign(b, whole)
		default:
			return Pickle, nil
		}
	case c == 'c': // an OrderedDict in either
		return sniffPrefix(b, whole, Pickle, foreign.OrderedDict)

	case c == 0x00, c == 0x01:
		return sniffFrame(b, whole)
	case c >= '0' && c <= '9':
		return sniffColumns(b, whole)

	case c == 0x16:
		return sniffPrefix(b, whole, TLS, "\x16\x03")
	default:
		return sniffMethod(b, whole)
	}
}

// sniffBinary handles first bytes from 0x80 on: binary formats, Fluent Forward, and text
// after a byte order mark.
func sniffBinary(b []byte, whole bool) (Protocol, error) {
	switch c := b[0]; {
	case (c == 0x80 || c >= 0x82 && c <= 0x8F || c >= 0xA2 && c <= 0xB7) && mayBeZeros(b):
		return sniffZeros(b, whole)
	case c == 0x80:
		switch {
		case len(b) >= 2 && b[1] >= 2 && b[1] <= 5: // PROTO 2 to 5
			return Pickle, nil
		case len(b) >= 2 || whole:
			return MessagePack, nil
		default:
			return Unknown, codec.ErrIncomplete
		}

	case c <= 0x8F, c == 0xDE, c == 0xDF: // fixmap, map 16, map 32
		return MessagePack, nil
	case c <= 0x9F: // fixarray
		return sniffForward(b, 1, c >= 0x92 && c <= 0x94, whole)
	case c == 0xDC: // array 16
		return sniffForward(b, 3, true, whole)
	case c == 0xDD: // array 32
		return sniffForward(b, 5, true, whole)

	case c == 0xAC: // a map of 12 pairs, or Java
		if k, err := foreign.Of(b, whole); err != nil || k.Name != "" {
			return sniffForeign(b, whole)
		}
		return CBOR, nil
	case c <= 0xBB, c == 0xBF: // map, indefinite map
		return CBOR, nil
	case c == 0xC0: // nothing, in MessagePack: the heartbeat of Fluent Forward
		switch {
		case len(b) == 1 && !whole:
			return Unknown, codec.ErrIncomplete
		case len(b) == 1 || b[1] == 0xC0 || b[1] >= 0x92 && b[1] <= 0x94 || b[1] == 0xDC || b[1] == 0xDD:
			return Forward, nil
		}
		return unnamed(b, whole, cborTag)
	case c == 0xD9: // tag 55799: self-described CBOR
		if len(b) >= 2 && b[1] != 0xD9 || len(b) >= 3 && b[2] != 0xF7 {
			return unnamed(b, whole, cborTag)
		}
		return prefix(b, CBOR, "\xD9\xD9\xF7")
	case c >= 0xC0 && c <= 0xDB: // other tags
		return unnamed(b, whole, cborTag)

	case c == 0xEF:
		return sniffMark(b, whole)
	default:
		return sniffForeign(b, whole)
	}
}

const cborTag = "a CBOR tag in front of the first dictionary; only 55799 may stand there"

// methods are what HTTP clients send first. Any other method is recognized by its whole
// request line.
var methods = []string{"GET /", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE ", "PATCH ", "TRACE ", "PRI * "}

// sniffMethod distinguishes HTTP, by its method, from other text.
func sniffMethod(b []byte, whole bool) (Protocol, error) {
	for _, m := range methods {
		if p, err := prefix(b, HTTP, m); err == codec.ErrIncomplete || p == HTTP {
			return p, err
		}
	}
	return sniffForeign(b, whole)
}

// sniffColumns distinguishes a length in columns of decimal digits from other text.
func sniffColumns(b []byte, whole bool) (Protocol, error) {
	switch width, undecided := ColumnWidth(b); {
	case width > 0:
		return Columns, nil
	case undecided && !whole:
		return Unknown, codec.ErrIncomplete
	}
	return sniffForeign(b, whole)
}

// sniffZeros distinguishes a map in MessagePack or CBOR from a length of several bytes. A
// map that begins like that would have the key 0 twice.
func sniffZeros(b []byte, whole bool) (Protocol, error) {
	if len(b) < 4 && !whole {
		return Unknown, codec.ErrIncomplete
	}
	if p, err := sniffLength(b, whole); err != nil {
		return p, err
	}
	if b[0] >= 0xA0 {
		return CBOR, nil
	}
	return MessagePack, nil
}

// sniffBrace distinguishes a greeting from other JSON: its first key is "dictwire" and the
// value is an integer.
func sniffBrace(b []byte) (Protocol, error) {
	if len(b) > 1 && b[1] == '\'' {
		return Unknown, &fault.Error{
			Code: fault.Malformed,
			Text: "this is a Python literal, not JSON; " + nothingTaken,
			Hint: "send json.dumps(dictionary); dictwire convert reads literals",
		}
	}
	undecided := func() (Protocol, error) {
		if len(b) > maxGreeting {
			return JSON, nil
		}
		return Unknown, codec.ErrIncomplete
	}
	const key = `"dictwire"`
	rest := bytes.TrimLeft(b[1:], " \t\r\n")
	if len(rest) < len(key) {
		if string(rest) == key[:len(rest)] {
			return undecided()
		}
		return JSON, nil
	}
	if string(rest[:len(key)]) != key {
		return JSON, nil
	}
	rest = bytes.TrimLeft(rest[len(key):], " \t\r\n")
	if len(rest) == 0 {
		return undecided()
	}
	if rest[0] != ':' {
		return JSON, nil
	}
	number := bytes.TrimPrefix(bytes.TrimLeft(rest[1:], " \t\r\n"), []byte{'-'})
	behind := bytes.TrimLeft(number, "0123456789")
	switch {
	case len(behind) == 0:
		return undecided()
	case len(behind) == len(number), behind[0] == '.', behind[0]|0x20 == 'e':
		return JSON, nil
	default:
		return Native, nil
	}
}

// sniffBracket distinguishes an array of dictionaries from other arrays, and from text.
func sniffBracket(b []byte, whole bool) (Protocol, error) {
	switch foreign.Array(b, whole) {
	case foreign.OfDictionaries:
		return JSON, nil
	case foreign.OfOthers:
		switch is, undecided := forwardInJSON(b); {
		case is:
			return refuse("this looks like Fluent Forward in JSON, which is not served", "send it in MessagePack")
		case undecided && !whole:
			return Unknown, codec.ErrIncomplete
		}
		return Unknown, &fault.Error{
			Code: fault.NotADictionary,
			Text: "want a dictionary, got a JSON list of something else; " + nothingTaken,
			Hint: `wrap it, as in {"value": …}`,
		}
	case foreign.NoArray:
		return sniffForeign(b, whole)
	default:
		return Unknown, codec.ErrIncomplete
	}
}

// maxTag is how many bytes are searched for the end of a tag.
const maxTag = 512

// forwardInJSON reports whether an array begins with a tag, and a time or entries.
func forwardInJSON(b []byte) (is, undecided bool) {
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) == 0 || b[0] != '"' {
		return false, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return false, len(b) < maxTag
	}
	b = bytes.TrimLeft(b[end+2:], " \t\r\n")
	if len(b) == 0 || b[0] != ',' {
		return false, len(b) == 0
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	return len(b) > 0 && (b[0] == '[' || b[0] >= '0' && b[0] <= '9'), len(b) == 0
}

// sniffForward distinguishes Fluent Forward, an array that begins with a string (the tag),
// from other MessagePack arrays. The first element is at i.
func sniffForward(b []byte, i int, fits, whole bool) (Protocol, error) {
	if fits && len(b) <= i {
		return Unknown, codec.ErrIncomplete
	}
	if fits && (b[i] >= 0xA0 && b[i] <= 0xBF || b[i] >= 0xD9 && b[i] <= 0xDB) {
		return Forward, nil
	}
	return unnamed(b, whole, fmt.Sprintf("byte 0x%02x begins no dictionary in any format (in MessagePack and CBOR, it begins an array)", b[0]))
}

// sniffMark distinguishes JSON after a byte order mark from other text.
func sniffMark(b []byte, whole bool) (Protocol, error) {
	const mark = "\xEF\xBB\xBF"
	if p, err := prefix(b, JSON, mark); err != nil {
		return p, err
	}
	rest := bytes.TrimLeft(b[len(mark):], " \t\r\n")
	switch {
	case len(rest) == 0 && !whole && len(b) <= maxSpace:
		return Unknown, codec.ErrIncomplete
	case len(rest) == 0, bytes.IndexByte([]byte("{[\x1e"), rest[0]) >= 0:
		return JSON, nil
	}
	if k, err := foreign.Of(rest, whole); err != nil || k.Name != "" {
		return sniffForeign(rest, whole)
	}
	return JSON, nil
}

// sniffForeign refuses what is none of the protocols, and names it if it is recognized.
func sniffForeign(b []byte, whole bool) (Protocol, error) {
	p, err := sniffForeignName(b, whole)
	switch {
	case err != nil || p != Unknown:
		return p, err
	case b[0] < 0x20 || b[0] >= 0x7F:
		return unnamed(b, whole, fmt.Sprintf("byte 0x%02x begins no dictionary in any format", b[0]))
	case bytes.IndexByte(b, '\n') > 0 && bytes.IndexByte(b, 0) < 0: // a line of text
		return refuse(fmt.Sprintf("%q begins no dictionary in any format", b[0]), "")
	default:
		return unnamed(b, whole, fmt.Sprintf("%q begins no dictionary in any format", b[0]))
	}
}

// sniffForeignName refuses input of a known kind. It returns Unknown, nil for any other.
func sniffForeignName(b []byte, whole bool) (Protocol, error) {
	k, err := foreign.Of(b, whole)
	switch {
	case err != nil:
		return Unknown, err
	case k == foreign.HTTP:
		return HTTP, nil
	case k.Name != "":
		return refuse("this looks like "+k.Name+", which is not served", k.Hint)
	default:
		return Unknown, nil
	}
}

// unnamed refuses input of no known kind, unless it is a length of a known kind.
func unnamed(b []byte, whole bool, text string) (Protocol, error) {
	if p, err := sniffLength(b, whole); err != nil {
		return p, err
	}
	return refuse(text, "")
}

// sniffPrefix recognizes p, which begins with s.
func sniffPrefix(b []byte, whole bool, p Protocol, s string) (Protocol, error) {
	if is, err := prefix(b, p, s); is == p || err == codec.ErrIncomplete {
		return is, err
	}
	return sniffForeign(b, whole)
}

// prefix returns p if b begins with s, and ErrIncomplete while b is a part of s.
func prefix(b []byte, p Protocol, s string) (Protocol, error) {
	switch {
	case len(b) >= len(s) && string(b[:len(s)]) == s:
		return p, nil
	case len(b) < len(s) && string(b) == s[:len(b)]:
		return Unknown, codec.ErrIncomplete
	default:
		return refuse(fmt.Sprintf("byte 0x%02x begins no dictionary in any format", b[0]), "")
	}
}

// nothingTaken ends every refusal of a whole connection.
const nothingTaken = "nothing of this connection was taken"

func refuse(text, hint string) (Protocol, error) {
	return Unknown, &fault.Error{Code: fault.Unsupported, Text: text + "; " + nothingTaken, Hint: hint}
}

// Refused returns the refusal of a protocol that is not served. elsewhere says that it is
// served, but not at this endpoint.
func Refused(p Protocol, elsewhere bool) *fault.Error {
	if elsewhere {
		return &fault.Error{
			Code: fault.Unsupported,
			Text: fmt.Sprintf("this is %s, which is not served at this address; %s", p, nothingTaken),
		}
	}
	return &fault.Error{
		Code: fault.Unsupported,
		Text: fmt.Sprintf("this is %s, which this server does not speak yet; %s", p, nothingTaken),
		Hint: "send a bare sequence of JSON, CBOR, MessagePack or pickle, or a native session",
	}
}
