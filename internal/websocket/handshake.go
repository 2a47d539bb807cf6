package websocket

import (
	"crypto/sha1" //nolint:gosec // as RFC 6455 wants it
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Why a request is no handshake.
var (
	// ErrVersion means that it is one of another version.
	ErrVersion = errors.New("websocket: not version 13")

	// ErrNoUpgrade means that it asks for no WebSocket.
	ErrNoUpgrade = errors.New("websocket: no upgrade is asked for")
)

// Handshake returns the answer to a client's handshake (RFC 6455, section 4.2), which is
// written as it is. The protocol is answered where the client offers any, of which it
// must be one.
func Handshake(r *http.Request, protocol string) (answer string, err error) {
	key := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet, !r.ProtoAtLeast(1, 1), !hasToken(r, "Connection", "upgrade"), !hasToken(r, "Upgrade", "websocket"):
		return "", ErrNoUpgrade
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "", ErrVersion
	case len(key) != 1 || !isKey(key[0]):
		return "", errors.New("want one Sec-WebSocket-Key of 16 bytes in base64")
	case r.ContentLength != 0:
		return "", errors.New("a handshake has no body")
	}
	sum := sha1.Sum([]byte(key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as RFC 6455 wants it
	answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if len(r.Header.Values("Sec-WebSocket-Protocol")) > 0 {
		if !hasToken(r, "Sec-WebSocket-Protocol", protocol) {
			return "", fmt.Errorf("the Sec-WebSocket-Protocol served here is %s", protocol)
		}
		answer += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	return answer + "\r\n", nil
}

func isKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	return err == nil && len(b) == 16
}

// hasToken reports whether a header that is a list has a word, in upper case or lower.
func hasToken(r *http.Request, header, token string) bool {
	for _, line := range r.Header.Values(header) {
		for word := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(word), token) {
				return true
			}
		}
	}
	return false
}
