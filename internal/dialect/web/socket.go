package web

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/websocket"
	"github.com/dictwire/dictwire/internal/wire"
)

const connectPath = "/v1/connect"

// connect upgrades the connection to a WebSocket, which [web.Open] then opens.
func (d *web) connect(w http.ResponseWriter, r *http.Request) error {
	bad := func(status int, text, hint string) error {
		return &problem{status: status, fault: &fault.Error{Code: fault.Unsupported, At: -1, Text: text, Hint: hint}}
	}
	if r.ProtoMajor > 1 {
		return bad(http.StatusBadRequest, "WebSocket is not served within HTTP/2", "connect with HTTP/1.1")
	}
	if r.Header.Get("Sec-Fetch-Site") != "" && r.Header.Get("Origin") == "" {
		return &problem{fault: &fault.Error{Code: fault.Forbidden, At: -1, Text: "the browser did not say which page sent the request"}}
	}
	token, err := d.tokenOf(r)
	if err != nil {
		return err
	}
	answer, err := websocket.Handshake(r, wire.ALPN)
	switch {
	case errors.Is(err, websocket.ErrVersion):
		w.Header().Set("Sec-WebSocket-Version", "13")
		return bad(http.StatusUpgradeRequired, "want version 13 of WebSocket", "")
	case errors.Is(err, websocket.ErrNoUpgrade):
		w.Header().Set("Upgrade", "websocket")
		return bad(http.StatusUpgradeRequired, connectPath+" is for WebSocket", "new WebSocket(url, \""+wire.ALPN+"\") connects")
	case err != nil:
		return bad(http.StatusBadRequest, err.Error(), "")
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(nc, answer); err != nil {
		return err
	}
	c := requestOf(r).conn
	came, _ := rw.Peek(rw.Reader.Buffered())
	dw := c.dw // the WebSocket keeps no more than that
	c.socket = &socket{token: token, conn: websocket.New(c.Conn, append([]byte(nil), came...), func(frame []byte) error {
		_, err := dw.Write(frame)
		return err
	})}
	return nil
}

// A socket is a WebSocket that a request has opened.
type socket struct {
	conn  *websocket.Conn
	token string // of the request
}

// open opens the native session in the WebSocket.
func (s *socket) open(ctx context.Context, d dialect.Dialect, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	c.Wrap(s.conn)
	return d.Open(ctx, c, tokened{in, s.token})
}

// A tokened intake uses the token of the HTTP request for sessions that name none, for
// programs that can set headers.
type tokened struct {
	dialect.Intake
	token string
}

// Open implements [dialect.Intake].
func (t tokened) Open(ctx context.Context, c dialect.Credentials) (dialect.Session, error) {
	if c.Token == "" {
		c.Token = t.token
	}
	return t.Intake.Open(ctx, c)
}
