package peer

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A Message is any message of a server.
type Message struct {
	Next json.RawMessage `json:"next"` // a number, or a reader's position

	// In a writer's session.
	Sum        string  `json:"sum"`
	Of         int     `json:"of"`
	Durability string  `json:"durability"`
	Ack        *uint64 `json:"ack"`
	Rejected   uint64  `json:"rejected"`
	Code       string  `json:"code"`
	Error      string  `json:"error"`

	// In a reader's session.
	Topic    string `json:"topic"`
	Producer string `json:"producer"`
	First    uint64 `json:"first"`
	Lengths  []int  `json:"lengths"`
	End      string `json:"end"`
}

// A Session is one connection.
type Session struct {
	net.Conn
	R *bufio.Reader
}

// A Pass is how sessions authenticate.
type Pass struct {
	TLS   *tls.Config // nil for none
	Token string
}

// Shown is the pass that all sessions use. Set it before the first one.
var Shown Pass

// Greet connects and sends a greeting. The session's deadline is in a minute, unless
// another one is set.
func Greet(addr, format string, args ...any) (*Session, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if Shown.TLS != nil {
		nc = tls.Client(nc, Shown.TLS)
	}
	return GreetOver(nc, format, args...)
}

// GreetOver is Greet over an existing connection, which it closes if it fails.
func GreetOver(nc net.Conn, format string, args ...any) (*Session, error) {
	nc.SetDeadline(time.Now().Add(time.Minute))
	greeting := fmt.Sprintf(format+"\n", args...)
	if Shown.Token != "" {
		greeting = strings.Replace(greeting, `{"dictwire":1,`, fmt.Sprintf(`{"dictwire":1,"token":%q,`, Shown.Token), 1)
	}
	if _, err := io.WriteString(nc, greeting); err != nil {
		nc.Close()
		return nil, err
	}
	return &Session{nc, bufio.NewReaderSize(nc, 64<<10)}, nil
}

// Next reads a message.
func (s *Session) Next() (m Message, err error) {
	line, err := s.R.ReadBytes('\n')
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, Fault("%s: %v", line, err)
	}
	return m, nil
}

// A BrokenError means that the server broke a promise. Other errors are what a killed
// server does to a connection.
type BrokenError struct{ text string }

func (b *BrokenError) Error() string { return b.text }

// Fault returns a BrokenError.
func Fault(format string, args ...any) error { return &BrokenError{fmt.Sprintf(format, args...)} }

// A Record is a record that was read back.
type Record struct {
	Topic, Producer string
	Number          uint64
	Bytes           []byte
}

// ReadBack reads all records of a subscription from a position on, and returns the position
// of the end. more is added to the greeting.
func ReadBack(addr, subscribe, from, more string, each func(Record) error) (end string, err error) {
	s, err := Greet(addr, `{"dictwire":1,"subscribe":%q,"from":%q%s}`, subscribe, from, more)
	if err != nil {
		return "", err
	}
	defer s.Close()
	for {
		m, err := s.Next()
		if err != nil {
			return "", err
		}
		if m.Code != "" || m.End == "" && m.Next == nil {
			return "", Fault("reading, and told %s: %s", m.Code, m.Error)
		}
		if m.End != "" {
			return m.End, nil
		}
		for i, n := range m.Lengths {
			r := Record{Topic: m.Topic, Producer: m.Producer, Number: m.First + uint64(i), Bytes: make([]byte, n)}
			if _, err := io.ReadFull(s.R, r.Bytes); err != nil {
				return "", err
			}
			if err := each(r); err != nil {
				return "", err
			}
		}
	}
}
