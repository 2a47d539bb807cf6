package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/dialecttest"
)

// A request with a key is taken when all of it has come, and nothing of it before,
// whatever happens to its connection; and a WebSocket's records are taken as they come.
func TestConversations(t *testing.T) {
	const head = "POST /v1/topics/t HTTP/1.1\r\nHost: server\r\nIdempotency-Key: k\r\n"
	body := `[{"a":1},` + "\n" + `{"a":2}]`
	var chunked strings.Builder
	for _, part := range []string{body[:3], body[3:11], body[11:]} {
		fmt.Fprintf(&chunked, "%x\r\n%s\r\n", len(part), part)
	}
	for name, send := range map[string]string{
		"a length": fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body),
		"chunks":   head + "Transfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dialecttest.Run(t, dialecttest.Conversation{
				Dialects: []dictwire.Dialect{web.Dialect}, Topic: "t",
				Send: send, Ends: []int{len(send), len(send)}, Records: []string{"{'a': 1}", "{'a': 2}"},
			})
		})
	}

	frame := func(opcode byte, text string) string { // with a mask that changes nothing
		return string([]byte{0x80 | opcode, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
	}
	send := "GET /v1/connect HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		frame(1, `{"dictwire":1,"topic":"t","format":"cbor"}`)
	first := send + frame(2, "\xa1\x61a\x01")
	last := first + frame(9, "are you there?") + frame(2, "\xa1\x61a\x02")
	t.Run("WebSocket", func(t *testing.T) {
		dialecttest.Run(t, dialecttest.Conversation{
			Dialects: []dictwire.Dialect{web.Dialect}, Topic: "t",
			Send: last, Ends: []int{len(first), len(last)}, Records: []string{"{'a': 1}", "{'a': 2}"},
		})
	})
}
