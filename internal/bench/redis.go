package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
)

// A redis adds each record to a stream, with one command per record.
type redis struct {
	nc   net.Conn
	in   *bufio.Reader
	head []byte
	buf  []byte
}

func openRedis(nc net.Conn, o *Options, _ int) (conn, error) {
	return &redis{
		nc: nc, in: bufio.NewReaderSize(nc, 64<<10),
		head: fmt.Appendf(nil, "*5\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$1\r\n*\r\n$1\r\nd\r\n$", len(o.Topic), o.Topic),
	}, nil
}

func (c *redis) send(records [][]byte) error {
	c.buf = appendSized(c.buf[:0], c.head, records)
	_, err := c.nc.Write(c.buf)
	return err
}

// appendSized appends records as Redis and NATS frame them: each after a header that ends
// with its length.
func appendSized(dst, head []byte, records [][]byte) []byte {
	for _, r := range records {
		dst = append(dst, head...)
		dst = strconv.AppendInt(dst, int64(len(r)), 10)
		dst = append(append(append(dst, "\r\n"...), r...), "\r\n"...)
	}
	return dst
}

// settle reads all answers that have arrived.
func (c *redis) settle() (settled, refused int, err error) {
	for settled == 0 || c.in.Buffered() > 0 {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		switch line[0] {
		case '$': // the ID
			n, err := strconv.Atoi(string(bytes.TrimSuffix(line[1:], []byte("\r\n"))))
			if err == nil {
				_, err = io.CopyN(io.Discard, c.in, int64(n)+2)
			}
			if err != nil {
				return 0, 0, err
			}
		default:
			return 0, 0, fmt.Errorf("the server answers %q", line)
		}
		settled++
	}
	return settled, 0, nil
}

func (c *redis) end() error { return nil }
