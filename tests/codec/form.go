// Package form is a codec written outside dictwire: it is a module of its own, and can't
// import anything internal.
package form

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Codec encodes dictionaries of strings as form values, as browsers post them, one per
// line.
type Codec struct{}

func (Codec) Name() string       { return "form" }
func (Codec) MediaType() string  { return "application/x-www-form-urlencoded" }
func (Codec) Terminator() string { return "\n" }

func (Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	begin := dst
	for k, v := range d.All() {
		key, isText := k.Text()
		text, ok := v.Text()
		if !isText || !ok {
			return begin, &codec.LossError{Codec: "form", Path: "/" + key, Kind: v.Kind()}
		}
		if len(dst) > len(begin) {
			dst = append(dst, '&')
		}
		dst = append(dst, url.QueryEscape(key)+"="+url.QueryEscape(text)...)
	}
	return dst, nil
}

func (Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	d := new(dict.Dict)
	bad := func(code fault.Code, msg string) error {
		return &codec.SyntaxError{Codec: "form", Code: code, Msg: msg}
	}
	if most := lim.Effective().RecordBytes; len(src) > most {
		return nil, bad(fault.TooLarge, fmt.Sprintf("want at most %d bytes", most))
	}
	for pair := range strings.SplitSeq(string(src), "&") {
		key, value, _ := strings.Cut(pair, "=")
		k, err := url.QueryUnescape(key)
		v, valueErr := url.QueryUnescape(value)
		if key == "" || errors.Join(err, valueErr) != nil {
			return nil, bad(fault.Malformed, "want key=value, with %XX for what is no letter")
		}
		if _, twice := d.Get(k); twice {
			return nil, bad(fault.DuplicateKey, "a key twice")
		}
		d.Set(k, dict.String(v))
	}
	return d, nil
}

func (Codec) NewScanner(lim codec.Limits) codec.Scanner { return &scanner{lim} }

type scanner struct{ lim codec.Limits }

func (s *scanner) Next(buf []byte) (start, end int, err error) {
	for start < len(buf) && buf[start] == '\n' {
		start++
	}
	n := bytes.IndexByte(buf[start:], '\n')
	if most := s.lim.Effective().RecordBytes; n < 0 && len(buf)-start <= most {
		return start, start, codec.ErrIncomplete
	} else if n < 0 {
		n = len(buf) - start
	}
	_, err = Codec{}.Decode(buf[start:start+n], s.lim)
	return start, start + n, err
}

func (s *scanner) End(buf []byte) (start, end int, err error) {
	if len(bytes.Trim(buf, "\n")) == 0 {
		return len(buf), len(buf), io.EOF
	}
	return s.Next(append(bytes.Clone(buf), '\n'))
}

func (s *scanner) Resume()      {}
func (s *scanner) Scratch() int { return 0 }
func (s *scanner) Release()     {}
