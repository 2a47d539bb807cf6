package simulate

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
)

// The reference clients are written from docs/protocol.md alone, as a second implementation
// besides the project's own client.

// A message is a message of a server.
type message struct {
	Dictwire  int             `json:"dictwire"`
	Next      json.RawMessage `json:"next"`
	Sum       string          `json:"sum"`
	Of        int             `json:"of"`
	Window    uint64          `json:"window"`
	Ack       *uint64         `json:"ack"`
	Rejected  *uint64         `json:"rejected"`
	Reply     *uint64         `json:"reply"`
	Length    int             `json:"length"`
	Code      string          `json:"code"`
	Error     string          `json:"error"`
	Retry     int             `json:"retry_ms"`
	At        json.RawMessage `json:"at"`
	Topic     string          `json:"topic"`
	Producer  string          `json:"producer"`
	First     uint64          `json:"first"`
	Format    string          `json:"format"`
	Lengths   []int           `json:"lengths"`
	Committed *string         `json:"committed"`
	End       *string         `json:"end"`
	Skipped   *gap            `json:"skipped"`
	Damaged   *gap            `json:"damaged"`
}

type gap struct{ From, To, Topic string }

func (m *message) number() (n uint64) { _ = json.Unmarshal(m.Next, &n); return n }
func (m *message) position() string   { return unquoted(m.Next) }

func unquoted(raw json.RawMessage) (s string) { _ = json.Unmarshal(raw, &s); return s }

// A refusal is an error from the server.
type refusal struct {
	code, text string
	next       uint64
	retry      time.Duration
}

func (r *refusal) Error() string { return r.code + ": " + r.text }

// A talk is a session's connection.
type talk struct {
	net.Conn
	r    *bufio.Reader
	said time.Time // when a test last said something
}

// spoke returns how many bytes were sent in each direction.
func (t *talk) spoke() [2]int64 {
	up, down := t.Conn.(*memnet.Conn).Written()
	return [2]int64{up, down}
}

// patience is how long a client waits for a message of the server.
const patience = 15 * time.Second

// begin connects and sends the greeting. The connection is closed when ctx ends.
func begin(ctx context.Context, h *memnet.Host, server, greeting string) (*talk, func(), error) {
	c, err := h.Dial(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, greeting+"\n"); err != nil {
		stop()
		c.Close()
		return nil, nil, err
	}
	return &talk{Conn: c, r: bufio.NewReaderSize(c, 4<<10)}, func() { stop(); c.Close() }, nil
}

// hear returns the server's next message; a refusal by the server is a *refusal error.
func (t *talk) hear() (*message, error) {
	_ = t.SetReadDeadline(time.Now().Add(patience))
	line, err := t.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(line, "\r\n") || strings.TrimSpace(line) != strings.TrimSuffix(line, "\n") {
		return nil, &violation{"a message is one line, ended by one LF: " + line}
	}
	m := &message{}
	if err := json.Unmarshal([]byte(line), m); err != nil {
		return nil, &violation{fmt.Sprintf("%v: %s", err, line)}
	}
	if m.Error != "" && m.Rejected == nil && m.Reply == nil && m.Damaged == nil {
		return nil, &refusal{m.Code, m.Error, m.number(), time.Duration(m.Retry) * time.Millisecond}
	}
	return m, nil
}

// A violation is something that a server must not do.
type violation struct{ text string }

func (v *violation) Error() string { return "the server broke the protocol: " + v.text }
