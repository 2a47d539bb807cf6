package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// A postgres inserts records into a table as jsonb: each send is one transaction of
// INSERTs, or one COPY. It speaks protocol 3.0 to a server that trusts the address, as user
// postgres.
type postgres struct {
	nc   net.Conn
	in   *bufio.Reader
	copy bool
	text string // the data of the COPY
	buf  []byte
	sent chan int
}

func openPostgres(nc net.Conn, o *Options, i int) (conn, error) {
	c := &postgres{nc: nc, in: bufio.NewReader(nc), copy: strings.HasSuffix(o.Target.Name, "copy"), sent: make(chan int, o.InFlight)}
	const start = "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	c.buf = append(binary.BigEndian.AppendUint32(nil, uint32(len(start)+4)), start...)
	if err := c.ask(); err != nil {
		return nil, err
	}
	table := `"` + strings.ReplaceAll(o.Topic, `"`, `""`) + `"`
	c.text = "COPY " + table + " (d) FROM STDIN\x00"
	c.buf = c.buf[:0]
	if i == 0 {
		c.add('Q', "CREATE TABLE IF NOT EXISTS ", table, " (id bigint GENERATED ALWAYS AS IDENTITY, d jsonb)\x00")
		if err := c.ask(); err != nil {
			return nil, err
		}
		c.buf = c.buf[:0]
	}
	c.add('P', "i\x00INSERT INTO ", table, " (d) VALUES ($1)\x00\x00\x00")
	c.add('S')
	return c, c.ask()
}

// add appends a message.
func (c *postgres) add(kind byte, parts ...string) {
	at := len(c.buf)
	c.buf = append(c.buf, kind, 0, 0, 0, 0)
	for _, p := range parts {
		c.buf = append(c.buf, p...)
	}
	c.sized(at)
}

// sized fills in the length of the message that begins at at.
func (c *postgres) sized(at int) {
	binary.BigEndian.PutUint32(c.buf[at+1:], uint32(len(c.buf)-at-1))
}

// ask sends the buffered messages, and waits until they are done.
func (c *postgres) ask() error {
	if _, err := c.nc.Write(c.buf); err != nil {
		return err
	}
	return c.ready()
}

// ready waits until the server is ready for a query.
func (c *postgres) ready() (err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > 1<<20 {
			return fmt.Errorf("a message of %d bytes", n)
		}
		switch head[0] {
		case 'Z':
			_, skip := io.CopyN(io.Discard, c.in, n)
			return errors.Join(err, skip)
		case 'E', 'R':
			m := make([]byte, n)
			if _, err := io.ReadFull(c.in, m); err != nil {
				return err
			}
			if head[0] == 'E' {
				err = fmt.Errorf("the server says %q", m)
			} else if binary.BigEndian.Uint32(m) != 0 {
				return errors.New("the server wants a password: only one that trusts the address is served")
			}
		default:
			if _, err := io.CopyN(io.Discard, c.in, n); err != nil {
				return err
			}
		}
		if head[0] == 'E' && c.text == "" {
			return err // nothing follows during start-up
		}
	}
}

func (c *postgres) send(records [][]byte) error {
	c.buf = c.buf[:0]
	if c.copy {
		c.add('Q', c.text)
		for _, r := range records {
			at := len(c.buf)
			c.buf = append(c.buf, 'd', 0, 0, 0, 0)
			for _, b := range r {
				if b == '\\' {
					c.buf = append(c.buf, '\\')
				}
				c.buf = append(c.buf, b)
			}
			c.buf = append(c.buf, '\n')
			c.sized(at)
		}
		c.add('c')
	} else {
		for _, r := range records {
			at := len(c.buf)
			c.buf = append(c.buf, "B\x00\x00\x00\x00\x00i\x00\x00\x00\x00\x01"...)
			c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(r)))
			c.buf = append(append(c.buf, r...), 0, 0)
			c.sized(at)
			c.buf = append(c.buf, "E\x00\x00\x00\x09\x00\x00\x00\x00\x00"...)
		}
		c.add('S')
	}
	c.sent <- len(records)
	_, err := c.nc.Write(c.buf)
	return err
}

func (c *postgres) settle() (settled, refused int, err error) {
	if err := c.ready(); err != nil {
		return 0, 0, err
	}
	return <-c.sent, 0, nil
}

func (c *postgres) end() error { return nil }
