package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/dictwire/dictwire/internal/dialect"
)

// A masked connection masks its bytes, like a WebSocket.
type masked struct{ net.Conn }

const mask = 0x55

func (m masked) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	for i := range p[:n] {
		p[i] ^= mask
	}
	return n, err
}

func (m masked) Write(p []byte) (int, error) { return m.Conn.Write(unmasked(p)) }

func unmasked(p []byte) []byte {
	q := make([]byte, len(p))
	for i, c := range p {
		q[i] = c ^ mask
	}
	return q
}

// masks is a dialect of JSON in masked bytes after a four-byte header, which answers with
// the number of settled records.
type masks struct {
	dialect.Config
	ended *atomic.Int32
}

func (d masks) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	c.Discard(4)
	c.Wrap(masked{c.Hijack()})
	session, err := in.Open(ctx, dialect.Credentials{})
	if err != nil {
		return nil, err
	}
	w, err := session.Write(ctx, dialect.WriteRequest{Dialect: "masks", Topic: "masked"})
	if err != nil {
		return nil, err
	}
	return masking{c, w, dialect.NewSequence(c, d.Codecs["json"], d.Limits())}, nil
}

// A masking serves a connection of masks.
type masking struct {
	c *dialect.Conn
	w dialect.Writer
	q *dialect.Sequence
}

func (m masking) Serve(ctx context.Context) error {
	return m.q.Each(ctx, func(b *dialect.WriteBatch) error {
		settled, err := m.w.Take(ctx, b, nil)
		_, writing := m.c.Write([]byte{byte(settled.Records)})
		return errors.Join(err, writing)
	})
}

func (m masking) Close(err error) error {
	m.w.Close()
	return err
}

func (d masks) Shutdown(context.Context) error {
	d.ended.Add(1)
	return nil
}

// A server speaks an additional dialect: it is made once, serves its protocol on all
// connections in addition to the others, and is shut down with the server.
func TestDialects(t *testing.T) {
	var made, ended atomic.Int32
	s := &Server{Topic: "default", Dialects: []dialect.Kind{{
		Name: "masks", Protocols: []dialect.Protocol{dialect.Forward},
		New: func(c dialect.Config) dialect.Dialect {
			made.Add(1)
			return masks{c, &ended}
		},
	}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(Endpoint{Listener: l, Dialects: []string{"masks"}}) }()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(append([]byte{0x92, 0xa3, 0, 0}, unmasked([]byte(`{"a":1}{"a":2}`))...))
		_ = c.(*net.TCPConn).CloseWrite()
		told, err := io.ReadAll(c)
		sum := 0
		for _, n := range unmasked(told) {
			sum += int(n)
		}
		if err != nil || sum != 2 {
			t.Errorf("told %v, %v", unmasked(told), err)
		}
		_ = c.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
	if made.Load() != 1 || ended.Load() != 1 || s.Stats().Records != 6 {
		t.Errorf("made %d times, shut down %d times, %d records", made.Load(), ended.Load(), s.Stats().Records)
	}
}
