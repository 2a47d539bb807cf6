package forward

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// Options configure an endpoint whose connections begin with the handshake.
type Options struct {
	// SharedKey must be known to clients.
	SharedKey string

	// Users maps the names of users to passwords. If it is not empty, clients must log
	// in.
	Users map[string]string

	// Hostname is the server's name. Clients refuse a server with their own name.
	Hostname string
}

// SecureName is the name of the dialect with the handshake.
const SecureName = "forward-secure"

// Kind returns the dialect with the handshake. The server speaks first, so an endpoint
// can have no other dialect.
func (o *Options) Kind() dialect.Kind {
	return dialect.Kind{
		Name: SecureName, Greets: dialect.Forward,
		New: func(c dialect.Config) dialect.Dialect { return &forward{c, o} },
	}
}

// errSilent ends a connection without a handshake on which nothing was said, such as a
// health check.
var errSilent = errors.New("forward: nothing was said")

// saltBytes is the length of the handshake's random strings.
const saltBytes = 16

// handshake checks that a client knows the shared key and, if there are users, a
// password. It returns the user, or "".
func (o *Options) handshake(ctx context.Context, c *dialect.Conn) (user string, err error) {
	nonce, auth := make([]byte, saltBytes), []byte(nil)
	_, _ = rand.Read(nonce) // it never fails
	if len(o.Users) > 0 {
		auth = make([]byte, saltBytes)
		_, _ = rand.Read(auth)
	}
	hello := dict.Of("nonce", dict.Bytes(nonce), "auth", dict.Bytes(auth), "keepalive", true)
	out, err := msgpack.Codec{}.Append([]byte("\x92\xa4HELO"), hello)
	if err != nil {
		return "", err
	}
	if _, err := c.Write(out); err != nil {
		return "", err
	}
	c.Greet(true)
	ping, size, err := ping(ctx, c)
	c.Greet(false)
	if err != nil {
		return "", err
	}
	reason := o.refuse(ping, nonce, auth)
	pong := []byte("\x95\xa4PONG")
	if reason != "" {
		pong = appendText(append(pong, 0xc2), reason)
		_, err := c.Write(appendText(appendText(pong, ""), ""))
		return "", errors.Join(err, c.Flush(), handshakeError{&fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the handshake failed: " + reason}})
	}
	pong = appendText(append(pong, 0xc3), "")
	pong = appendText(appendText(pong, o.Hostname), digest(ping.salt, []byte(o.Hostname), nonce, []byte(o.SharedKey)))
	c.Discard(size)
	_, err = c.Write(pong)
	return string(ping.user), err
}

// A handshakeError is a refusal that the peer was told by a PONG.
type handshakeError struct{ cause *fault.Error }

func (e handshakeError) Error() string { return e.cause.Error() }

// A pinged is the content of a client's PING.
type pinged struct{ host, salt, digest, user, password []byte }

// maxPing is the longest PING, in bytes.
const maxPing = 4 << 10

// ping waits for a client's PING.
func ping(ctx context.Context, c *dialect.Conn) (p pinged, size int, err error) {
	w := newWalker()
	for {
		buf := c.Buffered()
		whole, err := w.walk(buf)
		switch {
		case whole && err == nil:
			cut := &cutter{rest: buf[:w.at]}
			if n := cut.enter(isArray, "PING"); n != 6 || string(cut.text("PING")) != "PING" {
				cut.fail("PING with 5 values")
			}
			for _, to := range []*[]byte{&p.host, &p.salt, &p.digest, &p.user, &p.password} {
				*to = cut.text("strings in PING")
			}
			if cut.err == nil {
				return p, w.at, nil
			}
			err = cut.err
		case err == nil && w.at > maxPing:
			err = fmt.Errorf("PING has more than %d bytes", maxPing)
		case err == nil:
			switch err := c.More(ctx, len(buf) > 0, nil); {
			case err == io.EOF && len(buf) == 0:
				return p, 0, errSilent
			case err == io.EOF:
				return p, 0, &fault.Error{Code: fault.Truncated, At: -1, Text: "the connection ended within PING"}
			case err != nil:
				return p, 0, err
			}
			continue
		}
		return p, 0, &fault.Error{
			Code: fault.Unauthenticated, At: -1, Err: err,
			Text: fmt.Sprintf("this endpoint wants the handshake of Fluent Forward: %v", err),
			Hint: "give the client the shared key",
		}
	}
}

// refuse returns why a client is refused, or "".
func (o *Options) refuse(p pinged, nonce, auth []byte) string {
	if !same(p.digest, digest(p.salt, p.host, nonce, []byte(o.SharedKey))) {
		return "shared_key mismatch"
	}
	if len(o.Users) == 0 {
		return ""
	}
	password, known := o.Users[string(p.user)]
	if right := same(p.password, digest(auth, p.user, []byte(password))); !right || !known {
		return "username/password mismatch"
	}
	return ""
}

// digest returns the SHA-512 of all parts, in hexadecimal.
func digest(all ...[]byte) string {
	h := sha512.New()
	for _, b := range all {
		_, _ = h.Write(b) // it never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

func same(a []byte, b string) bool { return subtle.ConstantTimeCompare(a, []byte(b)) == 1 }

// appendText appends a string of at most 255 bytes.
func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(dst, 0xd9, byte(len(s))), s...)
}
