package bench

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/dictwire/dictwire/internal/wire"
)

// A native is a session of dictwire with a producer of its own. A bare one sends a sequence
// without a greeting.
type native struct {
	nc    net.Conn
	in    *wire.Reader
	buf   []byte
	acked uint64
}

func openNative(nc net.Conn, o *Options, _ int) (conn, error) {
	s := &native{nc: nc, in: wire.NewReader(nc)}
	if o.Bare {
		return s, nil
	}
	g := wire.Greeting{
		Version: wire.Version, Topic: o.Topic, Format: o.Records.Format, Token: o.Token, Producer: "bench-" + rand.Text(),
	}
	if _, err := nc.Write(g.Append(nil)); err != nil {
		return nil, err
	}
	return s, s.welcome()
}

func (s *native) welcome() error {
	m, err := s.in.Message()
	switch m := m.(type) {
	case wire.Welcome, wire.Ready: // to a writer, to a reader
		return nil
	case wire.Error:
		return m.Fault
	default:
		return errors.Join(err, fmt.Errorf("the server answers %T", m))
	}
}

func (s *native) send(records [][]byte) error {
	s.buf = s.buf[:0]
	for _, r := range records {
		s.buf = append(s.buf, r...)
	}
	_, err := s.nc.Write(s.buf)
	return err
}

func (s *native) settle() (settled, refused int, err error) {
	for {
		m, err := s.in.Message()
		if err != nil {
			return 0, 0, err
		}
		switch m := m.(type) {
		case wire.Ack:
			if m.Number == s.acked { // a sign of life
				continue
			}
			settled = int(m.Number - s.acked)
			s.acked = m.Number
			return settled, refused, nil
		case wire.Rejected:
			refused++
		case wire.Reply:
			if err := s.in.Skip(m.Length); err != nil {
				return 0, 0, err
			}
		case wire.Error:
			return 0, 0, m.Fault
		default:
			return 0, 0, fmt.Errorf("the server says %T", m)
		}
	}
}

// end waits until the server has read everything and closes the connection.
func (s *native) end() error {
	if half, ok := s.nc.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	}
	for {
		m, err := s.in.Message()
		switch m := m.(type) {
		case nil:
			if err == io.EOF {
				return nil
			}
			return err
		case wire.Error:
			return m.Fault
		}
	}
}
