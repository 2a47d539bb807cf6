package dialect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
)

// certificate returns a self-made certificate.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// counted counts the bytes that pass.
type counted struct {
	net.Conn
	up, down int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.up += n
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.down += n
	return n, err
}

// overTLS runs a server and a client on one connection, which the server has sniffed,
// wrapped in TLS and sniffed again.
func overTLS(t *testing.T, server func(t *testing.T, c *dialect.Conn), client func(t *testing.T, c *tls.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
			defer far.Close()
			client(t, c)
		}()
		c := dialect.NewConn(near, newRules())
		if p, err := c.Sniff(t.Context(), nil); p != dialect.TLS || err != nil {
			t.Fatalf("sniffed %v, %v", p, err)
		}
		count := &counted{Conn: c.Hijack()}
		secure := tls.Server(count, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Wrap(secure)
		server(t, c)
		if count.up < 100 || count.down < 100 {
			t.Errorf("%d and %d bytes went through what wraps", count.up, count.down)
		}
		_ = c.Abort()
		<-done
	})
}

// In TLS, a connection is sniffed, read and answered as without, and its offsets are those
// inside TLS.
func TestWrap(t *testing.T) {
	overTLS(t, func(t *testing.T, c *dialect.Conn) {
		if p, err := c.Sniff(t.Context(), nil); p != dialect.JSON || err != nil {
			t.Fatalf("sniffed %v, %v", p, err)
		}
		if got := string(c.Buffered()); got != `{"a":1}` || c.Offset() != 0 {
			t.Errorf("%q came, from %d on", got, c.Offset())
		}
		c.Discard(7)
		if err := c.More(t.Context(), false, nil); err != nil || string(c.Buffered()) != `{"b":2}` || c.Offset() != 7 {
			t.Errorf("%v, %q from %d on", err, c.Buffered(), c.Offset())
		}
		c.Discard(7)
		_, err := c.Write([]byte("heard\n"))
		if err := errors.Join(err, c.Flush()); err != nil {
			t.Error(err)
		}
		c.Drain()
		if err := c.More(t.Context(), false, nil); !errors.Is(err, dialect.ErrDrained) {
			t.Errorf("More = %v, of a server that drains", err)
		}
	}, func(t *testing.T, c *tls.Conn) {
		_, _ = io.WriteString(c, `{"a":1}`)
		time.Sleep(3 * time.Second) // the server's reads time out more than once
		_, _ = io.WriteString(c, `{"b":2}`)
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "heard\n" {
			t.Errorf("%q, %v", b, err)
		}
		_, _ = io.ReadAll(c)
	})
}

// The patience with a slow reader is below TLS, since a write that timed out would leave
// TLS unusable. A peer that reads none of its replies is cut off.
func TestWrapPatience(t *testing.T) {
	const size = 1 << 20
	overTLS(t, func(t *testing.T, c *dialect.Conn) {
		if err := c.Own().Send([]byte("head"), dialect.Data{Bytes: make([]byte, size)}); err != nil {
			t.Errorf("Send = %v", err)
		}
		if err := c.Own().Send([]byte("tail")); err != nil {
			t.Errorf("Send = %v", err)
		}
	}, func(t *testing.T, c *tls.Conn) {
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // six times as long as a reply may wait
		b := make([]byte, size+8)
		if _, err := io.ReadFull(c, b); err != nil || string(b[:4]) != "head" || string(b[size+4:]) != "tail" {
			t.Errorf("%q … %q, %v", b[:4], b[size+4:], err)
		}
	})
	overTLS(t, func(t *testing.T, c *dialect.Conn) {
		began := time.Now()
		_, err := c.Write(make([]byte, size))
		if err = errors.Join(err, c.Flush()); err == nil || time.Since(began) > 15*time.Second {
			t.Errorf("Flush = %v after %v", err, time.Since(began))
		}
	}, func(t *testing.T, c *tls.Conn) {
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}

// The same holds for a wrapped connection that is hijacked, as by HTTP in TLS.
func TestHijackWrapped(t *testing.T) {
	const size = 1 << 20
	overTLS(t, func(t *testing.T, c *dialect.Conn) {
		if p, err := c.Sniff(t.Context(), nil); p != dialect.HTTP || err != nil {
			t.Fatalf("sniffed %v, %v", p, err)
		}
		nc := c.Hijack()
		if n, err := nc.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}, func(t *testing.T, c *tls.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		time.Sleep(time.Minute)
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Error(err)
		}
	})
}

// A hijacked connection has the bytes that had arrived, is left alone when the server
// drains, and ends with the connection.
func TestHijack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() { _, _ = io.WriteString(far, "GET / HTTP/1.1\r\n\r\n") }()
		c := dialect.NewConn(near, newRules())
		if p, err := c.Sniff(t.Context(), nil); p != dialect.HTTP || err != nil {
			t.Fatalf("sniffed %v, %v", p, err)
		}
		nc := c.Hijack()
		c.Drain()
		b := make([]byte, 18)
		if _, err := io.ReadFull(nc, b); err != nil || string(b) != "GET / HTTP/1.1\r\n\r\n" {
			t.Errorf("%q, %v", b, err)
		}
		select {
		case <-c.Ending():
		default:
			t.Error("nobody says that the server drains")
		}
		go func() {
			time.Sleep(time.Second)
			c.End(errors.New("enough"))
		}()
		_ = nc.SetDeadline(time.Now().Add(time.Hour))
		if _, err := nc.Read(b); err == nil {
			t.Error("it can be read after its end")
		}
		_ = nc.SetReadDeadline(time.Now().Add(time.Hour)) // which does not revive it
		if _, err := nc.Read(b); err == nil {
			t.Error("it can be read after its end")
		}
		_ = c.Abort()
	})
}
