package filter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/internal/dialect"
)

// The messages between the server and a worker. Lengths and numbers are varints.
//
//	server   length expression
//	worker   0 | 1 offset+1 length text             accepted, or refused
//	server   length format, n, n × length, records  and so on
//	worker   0 n, n × (kind [length JSON])           for each record, in order: its results
//	         | 1 length text                        or the error of the expression
const (
	well  = 0
	wrong = 1
)

const (
	// MaxExpression is the longest expression, in bytes.
	MaxExpression = 4 << 10

	maxResults     = 1000    // results of one record
	maxResultBytes = 1 << 20 // bytes of JSON of one record's results
	maxText        = 1 << 10 // bytes of an error
	maxFormat      = 32      // bytes of a format's name
	maxChunk       = 1 << 20 // records in a message
	maxRecord      = 2 << 30 // bytes

	ioBuffer = 64 << 10 // bytes
)

// errWire means that the other end violates the protocol.
var errWire = errors.New("filter: protocol violation")

func appendText[T string | []byte](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// readNumber reads a number of at most most.
func readNumber(r *bufio.Reader, most uint64) (int, error) {
	n, err := binary.ReadUvarint(r)
	if err == nil && n > most {
		err = fmt.Errorf("%w: %d", errWire, n)
	}
	return int(n), err
}

// readText appends a text of at most most bytes.
func readText(dst []byte, r *bufio.Reader, most uint64) ([]byte, error) {
	n, err := readNumber(r, most)
	if err != nil {
		return dst, err
	}
	return readAll(dst, r, n)
}

func readAll(dst []byte, r *bufio.Reader, n int) ([]byte, error) {
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	_, err := io.ReadFull(r, dst[at:])
	return dst, err
}

// appendFiltered appends the results of a record.
func appendFiltered(dst []byte, f dialect.Filtered) []byte {
	if f.Failed != "" {
		return appendText(append(dst, wrong), f.Failed)
	}
	dst = binary.AppendUvarint(append(dst, well), uint64(len(f.Results)))
	for _, made := range f.Results {
		dst = append(dst, byte(made.Kind))
		if made.Kind != dialect.Selected {
			dst = appendText(dst, made.JSON)
		}
	}
	return dst
}

// readFiltered reads the results of a record into f, whose memory it reuses. It appends
// their texts to buf.
func readFiltered(f *dialect.Filtered, buf []byte, r *bufio.Reader) (_ []byte, err error) {
	f.Results, f.Failed = f.Results[:0], ""
	is, err := r.ReadByte()
	if err != nil {
		return buf, err
	}
	if is == wrong {
		buf, err = readText(buf, r, maxText)
		f.Failed = string(buf)
		return buf, err
	}
	n, err := readNumber(r, maxResults)
	if err != nil {
		return buf, err
	}
	for range n {
		kind, err := r.ReadByte()
		if err != nil {
			return buf, err
		}
		made := dialect.Result{Kind: dialect.ResultKind(kind)}
		switch made.Kind {
		case dialect.Selected:
		case dialect.Dictionary, dialect.Scalar:
			from := len(buf)
			if buf, err = readText(buf, r, uint64(maxResultBytes-len(buf))); err != nil {
				return buf, err
			}
			made.JSON = buf[from:len(buf):len(buf)]
		default:
			return buf, errWire
		}
		f.Results = append(f.Results, made)
	}
	return buf, nil
}
