// Package websocket is the server's side of WebSocket (RFC 6455), as a connection whose
// bytes are what the client's messages hold.
//
//	0                   1                   2                   3
//	FIN RSV1-3 opcode │ MASK length (7 bits) │ length (0, 2 or 8 bytes) │ mask (4) │ payload
//
// A line feed follows each text message that does not end in one, so that lines are
// messages. Other bounds of messages mean nothing: what is in a message, and in which,
// is the reader's to know. There are no extensions, and so no compression.
//
// A read may time out, anywhere in a frame, and goes on at the next one. Between reads
// nothing is kept but a frame's header.
package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/fault"
)

// Opcodes of frames (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	fin    = 0x80 // the frame is a message's last
	masked = 0x80

	maxControl = 125 // bytes that a control frame holds
)

// Codes with which a connection is closed (RFC 6455, section 7.4.1).
const (
	StatusNormal       = 1000
	StatusGoingAway    = 1001
	StatusProtocol     = 1002
	StatusInvalid      = 1007
	StatusPolicy       = 1008
	StatusTooLarge     = 1009
	StatusInternal     = 1011
	StatusTryAgain     = 1013
	statusNoneReceived = 1005
)

// maxEmpty is how many frames that bring nothing a peer may send in a second: pings,
// pongs, and parts of messages without a byte.
const maxEmpty = 200

// A Conn is the server's end of a WebSocket. Reads belong to one goroutine.
type Conn struct {
	net.Conn // carries the frames

	say     func(frame []byte) error
	pending []byte // came before; read first

	head    [14]byte // of the frame in hand
	has     int      // bytes of head that have come
	left    int64    // bytes of the payload that are to come
	payload bool     // the header is whole
	at      int      // bytes of the payload that have come, modulo 4
	control []byte   // what has come of a control frame
	text    utf8Text // the message in hand, where it is text
	op      byte     // of the message in hand; 0: there is none
	last    byte     // the last byte of the message in hand; 0: there is none
	lf      bool     // a line feed is to be read next

	second time.Time // when the frames were counted from that bring nothing
	empty  int       // such frames since

	err    error // of all reads from now on; io.EOF where the peer has closed
	code   uint16
	reason string
	closed bool // the close frame was sent
}

// New returns the server's end of a WebSocket whose frames nc carries, after pending.
// say writes a frame, between others, and may wait.
func New(nc net.Conn, pending []byte, say func(frame []byte) error) *Conn {
	return &Conn{Conn: nc, pending: pending, say: say}
}

// AppendHeader appends the header of a message of n bytes, all of which follow it.
func (c *Conn) AppendHeader(dst []byte, text bool, n int) []byte {
	op := byte(opBinary)
	if text {
		op = opText
	}
	return appendHeader(dst, op, n)
}

func appendHeader(dst []byte, op byte, n int) []byte {
	dst = append(dst, fin|op)
	switch {
	case n <= maxControl:
		return append(dst, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// Read reads what messages hold. It returns io.EOF where the peer has closed the
// WebSocket, and an *[fault.Error] where that breaks a rule. It may return nothing.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case c.err != nil && c.err != io.EOF && c.closed:
		return c.Conn.Read(p) // which nobody wants
	case len(p) == 0:
		return 0, nil
	case c.lf:
		c.lf = false
		p[0] = '\n'
		return 1, nil
	case c.err != nil:
		return 0, c.err
	}
	var (
		n   int
		err error
	)
	if len(c.pending) > 0 {
		n = copy(p, c.pending)
		if c.pending = c.pending[n:]; len(c.pending) == 0 {
			c.pending = nil
		}
	} else if n, err = c.Conn.Read(p); n > 0 {
		err = nil // it comes again
	}
	var got int
	got, c.err = c.take(p[:n])
	if got > 0 || err != nil {
		return got, err
	}
	return 0, c.err
}

// take takes in bytes of frames, and leaves what messages hold at their beginning. It
// returns how much that is.
func (c *Conn) take(b []byte) (n int, err error) {
	for i := 0; i < len(b); {
		if !c.payload {
			k := copy(c.head[c.has:c.wants()], b[i:])
			c.has += k
			i += k
			if err := c.begin(); err != nil {
				return n, err
			}
			if !c.payload || c.left > 0 {
				continue
			}
		}
		if c.lf && n < i { // a header lies between
			c.lf = false
			b[n] = '\n'
			n++
		}
		part := b[i : i+int(min(c.left, int64(len(b)-i)))]
		c.unmask(part)
		c.left -= int64(len(part))
		i += len(part)
		if c.isControl() {
			c.control = append(c.control, part...)
		} else if len(part) > 0 {
			c.last = part[len(part)-1]
			if c.op == opText && !c.text.add(part) {
				return n, c.fail(StatusInvalid, "text that is not UTF-8")
			}
			n += copy(b[n:], part)
		}
		if c.left == 0 {
			if err := c.end(); err != nil {
				return n, err
			}
		}
	}
	if c.lf && n < len(b) {
		c.lf = false
		b[n] = '\n'
		n++
	}
	return n, nil
}

// wants returns how many bytes the header in hand has, as far as that is known.
func (c *Conn) wants() int {
	if c.has < 2 {
		return 2
	}
	switch c.head[1] &^ masked {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	default:
		return 2 + 4
	}
}

// isControl reports whether the frame in hand is a control frame.
func (c *Conn) isControl() bool { return c.head[0]&0x8 != 0 }

// begin begins the frame in hand, where its header is whole, and returns a fault where
// that breaks a rule.
func (c *Conn) begin() error {
	if c.has < 2 {
		return nil
	}
	op, short := c.head[0]&0xf, c.head[1]&^masked
	switch {
	case c.head[0]&0x70 != 0:
		return c.fail(StatusProtocol, "a frame with a reserved bit, though no extension was agreed upon")
	case op != opContinuation && op != opText && op != opBinary && op != opClose && op != opPing && op != opPong:
		return c.fail(StatusProtocol, fmt.Sprintf("a frame with the reserved opcode %d", op))
	case c.head[1]&masked == 0:
		return c.fail(StatusProtocol, "a client's frame that is not masked")
	case c.isControl() && (c.head[0]&fin == 0 || short > maxControl):
		return c.fail(StatusProtocol, "a control frame in parts, or of more than 125 bytes")
	case op == opContinuation && c.op == 0:
		return c.fail(StatusProtocol, "the next part of a message that has not begun")
	case (op == opText || op == opBinary) && c.op != 0:
		return c.fail(StatusProtocol, "a message within another one")
	case c.has < c.wants():
		return nil
	}
	length := uint64(short)
	switch short {
	case 126:
		length = uint64(binary.BigEndian.Uint16(c.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(c.head[2:])
	}
	switch {
	case length > math.MaxInt64:
		return c.fail(StatusProtocol, "a frame of more than 2^63-1 bytes")
	case short == 126 && length <= maxControl, short == 127 && length <= math.MaxUint16:
		return c.fail(StatusProtocol, "a length that is written longer than it need be")
	}
	if op == opText || op == opBinary {
		c.op, c.last, c.text = op, 0, utf8Text{}
	}
	c.left, c.at, c.payload = int64(length), 0, true
	if c.isControl() || length == 0 {
		return c.bringsNothing()
	}
	return nil
}

// bringsNothing counts a frame that brings nothing.
func (c *Conn) bringsNothing() error {
	now := time.Now()
	if now.Sub(c.second) >= time.Second {
		c.second, c.empty = now, 0
	}
	if c.empty++; c.empty > maxEmpty {
		c.code, c.reason = StatusPolicy, string(fault.Rate)
		return &fault.Error{Code: fault.Rate, At: -1, Text: fmt.Sprintf("more than %d frames in a second that bring nothing", maxEmpty)}
	}
	return nil
}

// end ends the frame in hand.
func (c *Conn) end() error {
	c.has, c.payload = 0, false
	if c.isControl() {
		payload := c.control
		c.control = nil
		switch c.head[0] & 0xf {
		case opPing:
			return c.say(append(appendHeader(nil, opPong, len(payload)), payload...))
		case opClose:
			return c.ended(payload)
		}
		return nil
	}
	if c.head[0]&fin == 0 {
		return nil
	}
	if c.op == opText {
		if !c.text.ends() {
			return c.fail(StatusInvalid, "text that is not UTF-8")
		}
		c.lf = c.last != 0 && c.last != '\n'
	}
	c.op = 0
	return nil
}

// ended notes that the peer has closed the WebSocket.
func (c *Conn) ended(payload []byte) error {
	code := uint16(statusNoneReceived)
	switch {
	case len(payload) == 1:
		return c.fail(StatusProtocol, "a close frame of one byte")
	case len(payload) >= 2:
		code = binary.BigEndian.Uint16(payload)
		if code < 1000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 || code >= 5000 {
			return c.fail(StatusProtocol, fmt.Sprintf("a close frame with the code %d", code))
		}
		if !utf8.Valid(payload[2:]) {
			return c.fail(StatusInvalid, "a close frame with a reason that is not UTF-8")
		}
	}
	if c.code == 0 {
		c.code = code
	}
	return io.EOF
}

// fail notes why the WebSocket is to be closed, and returns the fault.
func (c *Conn) fail(code uint16, text string) error {
	c.code, c.reason = code, string(fault.Malformed)
	return &fault.Error{Code: fault.Malformed, At: -1, Text: "WebSocket: " + text}
}

// unmask takes the mask off the next bytes of the payload.
func (c *Conn) unmask(b []byte) {
	var mask [8]byte
	from := c.wants() - 4
	for i := range mask {
		mask[i] = c.head[from+(c.at+i)&3]
	}
	c.at = (c.at + len(b)) & 3
	word := binary.LittleEndian.Uint64(mask[:])
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i]
	}
}

// Failed says for which fault CloseWrite closes the WebSocket, unless the peer has closed it
// or broken a rule.
func (c *Conn) Failed(f *fault.Error) {
	if c.code != 0 {
		return
	}
	c.code, c.reason = StatusPolicy, string(f.Code)
	if code, ok := closeCodes[f.Code]; ok {
		c.code = code
	}
}

// closeCodes maps faults to the codes that close a WebSocket. For others it is
// [StatusPolicy].
var closeCodes = map[fault.Code]uint16{
	fault.Shutdown:    StatusGoingAway,
	fault.TooLarge:    StatusTooLarge,
	fault.Internal:    StatusInternal,
	fault.Unavailable: StatusTryAgain,
}

// CloseWrite sends the close frame. What still comes can be read.
func (c *Conn) CloseWrite() error {
	c.closed = true
	var payload []byte
	if c.code == 0 {
		c.code = StatusNormal
	}
	if c.code != statusNoneReceived {
		payload = append(binary.BigEndian.AppendUint16(nil, c.code), c.reason...)
	}
	_, err := c.Write(append(appendHeader(nil, opClose, len(payload)), payload...))
	return err
}

// A utf8Text is text that comes in parts.
type utf8Text struct {
	cut [utf8.UTFMax]byte // a character that has begun
	n   int               // bytes of it
}

// add adds a part, and reports whether the text may be UTF-8.
func (t *utf8Text) add(b []byte) bool {
	for t.n > 0 && len(b) > 0 {
		t.cut[t.n] = b[0]
		t.n++
		b = b[1:]
		if utf8.FullRune(t.cut[:t.n]) {
			if r, _ := utf8.DecodeRune(t.cut[:t.n]); r == utf8.RuneError && string(t.cut[:t.n]) != "\uFFFD" {
				return false
			}
			t.n = 0
		}
	}
	whole := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if at := len(b) - i; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				whole = at
			}
			break
		}
	}
	t.n += copy(t.cut[t.n:], b[whole:])
	return utf8.Valid(b[:whole])
}

// ends reports whether the text may end here.
func (t *utf8Text) ends() bool { return t.n == 0 }
