package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A lineReader reads a text line by line, in bounded memory.
type lineReader struct {
	name string // of the file, for errors
	r    *bufio.Reader
	most int // most bytes of a line; negative: no limit
	line int // the number of the last line
	buf  []byte
}

func newLineReader(name string, r io.Reader, lim codec.Limits) *lineReader {
	return &lineReader{name: name, r: bufio.NewReaderSize(r, 64<<10), most: lim.Effective().RecordBytes}
}

// next returns the next line without its end. It is valid until the next call. A line
// that is too long is skipped and returned as a *recordError.
func (l *lineReader) next(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l.buf = l.buf[:0]
	l.line++
	for size := 0; ; {
		part, err := l.r.ReadSlice('\n')
		if size += len(part); l.most < 0 || size <= l.most+len("\r\n") {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && size == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, readError(l.name, err)
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(l.buf, []byte("\n")), []byte("\r"))
		if l.most >= 0 && (size > l.most+len("\r\n") || len(line) > l.most) {
			return nil, l.fault("text", fault.TooLarge, fmt.Sprintf("a line of more than %d bytes; --max-record raises the limit", l.most))
		}
		return line, nil
	}
}

// fault returns an error for the last line.
func (l *lineReader) fault(format string, code fault.Code, msg string) error {
	return &recordError{
		where:       fmt.Sprintf("%s:%d:1", l.name, l.line),
		SyntaxError: &codec.SyntaxError{Codec: format, Code: code, Msg: msg},
	}
}

// rawLines returns the source of a text. A line that is a dictionary in c's format
// becomes that dictionary. Any other line becomes the value of the key "line". Blank
// lines are skipped.
func rawLines(name string, r io.Reader, c codec.Codec, lim codec.Limits) source {
	l := newLineReader(name, r, lim)
	return func(ctx context.Context) (*dict.Dict, error) {
		for {
			line, err := l.next(ctx)
			if err != nil {
				return nil, err
			}
			if l.line == 1 {
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			}
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			line = bytes.Clone(line) // the dictionary refers to it
			if d, err := c.Decode(line, lim); err == nil {
				return d, nil
			}
			return dict.Of("line", escaped(line)), nil
		}
	}
}

// escaped replaces bytes that are not UTF-8 by lone surrogates, like Python's
// surrogateescape, so that nothing is lost.
func escaped(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out []byte
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out = append(out, b[:n]...)
			b = b[n:]
			continue
		}
		out = append(out, 0xed, 0xb0|b[0]>>6, 0x80|b[0]&0x3f) // U+DC80 to U+DCFF
		b = b[1:]
	}
	return string(out)
}

// readError returns an error for a file that can't be read.
func readError(name string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // without the name, which precedes it
	}
	return fmt.Errorf("%s: %w", name, err)
}
