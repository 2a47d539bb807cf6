package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Reader reads the messages of a server.
type Reader struct {
	br   *bufio.Reader
	line []byte // the current line, if it did not fit into br's buffer
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{br: bufio.NewReaderSize(r, 16<<10)} }

// A MessageError says that a line is not a message.
type MessageError struct{ Err error }

func (e *MessageError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the line.
func (e *MessageError) Unwrap() error { return e.Err }

// Message reads the next message. The error is io.EOF if the server has closed the
// connection between messages, a *MessageError for a line that is not a message, or an
// error of the connection.
func (r *Reader) Message() (Message, error) {
	first, err := r.br.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] != '{' {
		first, _ = r.br.Peek(min(r.br.Buffered(), 24))
		if name := peerOf(first); name != "" {
			return nil, &MessageError{fmt.Errorf("it is %s", name)}
		}
		return nil, &MessageError{fmt.Errorf("a message begins with {, not with %q", first)}
	}
	line, err := r.readLine()
	if err != nil {
		return nil, err
	}
	m, err := ParseMessage(line)
	if err != nil {
		return nil, &MessageError{err}
	}
	return m, nil
}

// readLine reads a line, without its end. The result is valid until the next read.
func (r *Reader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		part, err := r.br.ReadSlice('\n')
		if err == nil && len(r.line) == 0 {
			return part[:len(part)-1], nil
		}
		if r.line = append(r.line, part...); len(r.line) > MaxLine {
			return nil, &MessageError{fmt.Errorf("a line of more than %d bytes", MaxLine)}
		}
		switch {
		case err == nil:
			return r.line[:len(r.line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(r.line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// Append appends the n bytes that follow a message to dst, which grows as they arrive.
func (r *Reader) Append(dst []byte, n uint64) ([]byte, error) {
	const piece = 1 << 20
	for n > 0 {
		from, want := len(dst), min(n, piece)
		dst = slices.Grow(dst, int(want))[:from+int(want)]
		if _, err := io.ReadFull(r.br, dst[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return dst[:from], err
		}
		n -= want
	}
	return dst, nil
}

// Skip skips the n bytes that follow a message.
func (r *Reader) Skip(n uint64) error {
	_, err := io.CopyN(io.Discard, r.br, int64(n))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
