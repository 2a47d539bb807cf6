package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/foreign"
)

// A sequence reads the records of a file or pipe, in bounded memory.
type sequence struct {
	name    string // of the file, for errors
	r       io.Reader
	codec   codec.Codec
	limits  codec.Limits
	scanner codec.Scanner

	buf     []byte
	begin   int   // where scanning continues
	offset  int64 // of buf[begin] in the file
	line    int   // of buf[begin], from 1
	column  int   // bytes before buf[begin] in its line
	checked bool  // the file is known to be of the right kind
	ended   bool  // r is at its end
	broken  error // why no more can be read
}

func newSequence(name string, r io.Reader, c codec.Codec, lim codec.Limits) *sequence {
	s := &sequence{name: name, r: r, codec: c, limits: lim, scanner: c.NewScanner(lim), line: 1}
	s.scanner.Resume()
	return s
}

// dict returns the next dictionary, and errors as next does.
func (s *sequence) dict(ctx context.Context) (*dict.Dict, error) {
	record, err := s.next(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.codec.Decode(record, s.limits)
	var bad *codec.SyntaxError
	if errors.As(err, &bad) { // the scanner does not check everything
		return nil, &recordError{where: fmt.Sprintf("%s, record at byte %d", s.name, s.offset-int64(len(record))), SyntaxError: bad}
	}
	return d, err
}

// next returns the next record, which is valid until the next call; io.EOF at the end; or
// a *recordError, after which next continues with the following record.
func (s *sequence) next(ctx context.Context) ([]byte, error) {
	if s.broken == nil && !s.checked {
		s.broken = s.check(ctx)
	}
	if s.broken != nil {
		return nil, s.broken
	}
	for {
		start, end, err := s.scanner.Next(s.buf[s.begin:])
		if s.ended && errors.Is(err, codec.ErrIncomplete) {
			s.advance(start)
			start, end, err = s.scanner.End(s.buf[s.begin:])
		}
		var bad *codec.SyntaxError
		switch {
		case err == nil:
			s.advance(start)
			record := s.buf[s.begin : s.begin+end-start]
			s.advance(end - start)
			return record, nil
		case errors.As(err, &bad):
			s.advance(start)
			err := s.fault(bad, s.buf[s.begin:])
			s.advance(end - start)
			if bad.Final {
				s.broken = io.EOF
			}
			return nil, err
		case err == io.EOF:
			s.broken = err
			return nil, err
		}
		s.advance(start)
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	}
}

// check reads enough to find out whether the file is something other than records in the
// wanted format.
func (s *sequence) check(ctx context.Context) error {
	for {
		k, err := foreign.File(s.codec.Name(), s.buf, s.ended)
		if err == nil && (k.Name == "" || k.Lines) && s.isTable() {
			k = foreign.CSV
		}
		switch {
		case errors.Is(err, codec.ErrIncomplete):
			if err := s.read(ctx); err != nil {
				return err
			}
			continue
		case k.Format != "":
			k.Hint = "--from " + k.Format + " reads it"
		case k == foreign.CSV:
			k.Hint = "--from csv reads it"
		case k.Lines:
			k.Hint = "--raw-lines " + strings.Replace(k.Hint, "wrap each", "wraps each", 1)
		}
		if s.checked = true; k.Name == "" {
			return nil
		}
		return hintError{fmt.Errorf("%s: this looks like %s, not %s", s.name, k.Name, s.codec.Name()), k.Hint}
	}
}

// isTable reports whether the file's name says that it is CSV, and its first byte does
// not contradict that.
func (s *sequence) isTable() bool {
	switch filepath.Ext(strings.TrimSuffix(strings.TrimSuffix(s.name, ".gz"), ".zst")) {
	case ".csv", ".tsv", ".tab":
	default:
		return false
	}
	first := bytes.TrimLeft(bytes.TrimPrefix(s.buf, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(first) > 0 && first[0] >= ' ' && first[0] < 0x7f && first[0] != '{' && first[0] != '['
}

// read reads more of the file.
func (s *sequence) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if s.begin > 0 {
		s.buf = append(s.buf[:0], s.buf[s.begin:]...)
		s.begin = 0
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(make([]byte, 0, max(64<<10, 2*cap(s.buf))), s.buf...)
	}
	n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if err == io.EOF {
		s.ended = true
		return nil
	}
	if err != nil {
		s.broken = readError(s.name, err)
		return s.broken
	}
	return nil
}

// advance skips n bytes.
func (s *sequence) advance(n int) {
	s.line, s.column = place(s.buf[s.begin:s.begin+n], s.line, s.column)
	s.begin += n
	s.offset += int64(n)
}

// place returns the line and column after b, which begins at the given ones.
func place(b []byte, line, column int) (int, int) {
	if last := bytes.LastIndexByte(b, '\n'); last >= 0 {
		return line + bytes.Count(b, []byte{'\n'}), len(b) - last - 1
	}
	return line, column + len(b)
}

// A recordError is a bad record of a file.
type recordError struct {
	where string // file:line:column of the fault, or where the record begins
	*codec.SyntaxError
}

func (e *recordError) Error() string { return e.where + ": " + e.SyntaxError.Error() }
func (e *recordError) Unwrap() error { return e.SyntaxError }

// fault returns an error for the bad record at the beginning of rest.
func (s *sequence) fault(bad *codec.SyntaxError, rest []byte) error {
	if s.codec.Terminator() == "" { // a binary format
		return &recordError{where: fmt.Sprintf("%s, record at byte %d", s.name, s.offset), SyntaxError: bad}
	}
	line, column := place(rest[:min(bad.Offset, len(rest))], s.line, s.column)
	return &recordError{where: fmt.Sprintf("%s:%d:%d", s.name, line, column+1), SyntaxError: bad}
}
