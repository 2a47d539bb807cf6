package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// A nats publishes each record to a subject; with acknowledgements, to that of a JetStream
// stream.
type nats struct {
	nc   net.Conn
	in   *bufio.Reader
	bare bool
	head []byte
	buf  []byte

	writing sync.Mutex // answers to pings are written as well
}

func openNATS(nc net.Conn, o *Options, i int) (conn, error) {
	c := &nats{nc: nc, bare: o.Bare, in: bufio.NewReaderSize(nc, 64<<10)}
	if line, err := c.in.ReadString('\n'); err != nil {
		return nil, err
	} else if !strings.HasPrefix(line, "INFO ") {
		return nil, fmt.Errorf("the server says %q", line)
	}
	inbox := "_INBOX." + rand.Text()
	if _, err := fmt.Fprintf(nc, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"go\",\"version\":\"1\",\"protocol\":1}\r\nSUB %s 1\r\n", inbox); err != nil {
		return nil, err
	}
	if !o.Bare && i == 0 {
		about, err := json.Marshal(map[string]any{"name": o.Topic, "subjects": []string{o.Topic}, "storage": "file"})
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(nc, "PUB $JS.API.STREAM.CREATE.%s %s %d\r\n%s\r\n", o.Topic, inbox, len(about), about); err != nil {
			return nil, err
		}
		if err := c.await("MSG"); err != nil {
			return nil, err
		}
	}
	c.head = fmt.Appendf(nil, "PUB %s ", o.Topic)
	if !o.Bare {
		c.head = fmt.Appendf(c.head, "%s ", inbox)
	}
	return c, c.flush()
}

// flush returns once the server has read everything.
func (c *nats) flush() error {
	if _, err := io.WriteString(c.nc, "PING\r\n"); err != nil {
		return err
	}
	return c.await("PONG")
}

// await reads messages up to one of a kind.
func (c *nats) await(kind string) error {
	for {
		if got, err := c.next(); err != nil || got == kind {
			return err
		}
	}
}

func (c *nats) send(records [][]byte) error {
	c.buf = appendSized(c.buf[:0], c.head, records)
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.nc.Write(c.buf)
	return err
}

// next reads one message of the protocol and returns its kind. It answers a ping, and
// returns what the server refuses as an error.
func (c *nats) next() (kind string, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")):
		fields := bytes.Fields(line)
		n, err := strconv.Atoi(string(fields[len(fields)-1]))
		if err != nil || n < 0 || n > 1<<20 {
			return "", fmt.Errorf("the server says %q", line)
		}
		m := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, m); err != nil {
			return "", err
		}
		if bytes.Contains(m, []byte(`"error"`)) {
			return "", fmt.Errorf("the server says %s", bytes.TrimSpace(m))
		}
		return "MSG", nil
	case string(line) == "PING\r\n":
		c.writing.Lock()
		defer c.writing.Unlock()
		_, err := io.WriteString(c.nc, "PONG\r\n")
		return "PING", err
	case string(line) == "PONG\r\n":
		return "PONG", nil
	case line[0] == '-':
		return "", fmt.Errorf("the server says %q", line)
	}
	return "", nil // such as INFO
}

// settle counts the acknowledgements among the messages that have arrived. The last of
// them may be something else, such as a ping, after which no acknowledgement need follow.
func (c *nats) settle() (settled, refused int, err error) {
	for settled == 0 || c.in.Buffered() > 0 {
		kind, err := c.next()
		if err != nil {
			return 0, 0, err
		}
		if kind == "MSG" {
			settled++
		}
	}
	return settled, 0, nil
}

func (c *nats) end() error {
	if c.bare {
		return c.flush()
	}
	return nil
}
