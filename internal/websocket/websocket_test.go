package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dictwire/dictwire/fault"
)

// frame returns a client's frame: the first byte, and the masked payload.
func frame(first byte, payload string) string {
	b := appendHeader(nil, 0, len(payload))
	b[0], b[1] = first, b[1]|masked
	b = append(b, 0x37, 0xfa, 0x21, 0x3d)
	for i := range len(payload) {
		b = append(b, payload[i]^"\x37\xfa\x21\x3d"[i&3])
	}
	return string(b)
}

// wire is a connection with given bytes.
type wire struct {
	net.Conn
	io.Reader
	wrote bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)  { return w.Reader.Read(p) }
func (w *wire) Write(p []byte) (int, error) { return w.wrote.Write(p) }

// read reads the content of frames, with the reader that way makes for them, and a buffer
// of a given size.
func read(way func(io.Reader) io.Reader, size int, frames string) (got, said string, err error) {
	w := &wire{Reader: way(strings.NewReader(frames))}
	var pongs bytes.Buffer
	c := New(w, nil, func(frame []byte) error {
		pongs.Write(frame)
		return nil
	})
	var all []byte
	buf := make([]byte, size)
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			_ = c.CloseWrite()
			return string(all), pongs.String() + w.wrote.String(), err
		}
	}
}

func whole(r io.Reader) io.Reader { return r }

// Messages are read wherever their frames are split.
func TestRead(t *testing.T) {
	const (
		text, binaryOp, ping, pong, closes = fin | opText, fin | opBinary, fin | opPing, fin | opPong, fin | opClose
		goodbye                            = "\x03\xe8bye"
	)
	long := strings.Repeat("0123456789abcde", 5000)
	closed := func(code uint16, reason string) string {
		payload := string(binary.BigEndian.AppendUint16(nil, code)) + reason
		return string(appendHeader(nil, opClose, len(payload))) + payload
	}
	for name, c := range map[string]struct {
		frames string
		got    string
		said   string
		err    string // "" for the end
	}{
		"text":                         {frame(text, `{"a":1}`), "{\"a\":1}\n", closed(1000, ""), ""},
		"a line":                       {frame(text, "{\"a\":1}\n"), "{\"a\":1}\n", closed(1000, ""), ""},
		"two":                          {frame(text, "a") + frame(text, "b"), "a\nb\n", closed(1000, ""), ""},
		"nothing":                      {frame(text, ""), "", closed(1000, ""), ""},
		"binary":                       {frame(binaryOp, "a") + frame(binaryOp, "b"), "ab", closed(1000, ""), ""},
		"long":                         {frame(text, long[:200]) + frame(binaryOp, long), long[:200] + "\n" + long, closed(1000, ""), ""},
		"in parts":                     {frame(opText, "a") + frame(0, "b") + frame(fin, "c"), "abc\n", closed(1000, ""), ""},
		"in parts, the last empty":     {frame(opText, "a") + frame(0, "") + frame(fin, ""), "a\n", closed(1000, ""), ""},
		"pings between the parts":      {frame(opText, "a") + frame(ping, "x") + frame(0, "b") + frame(pong, "y") + frame(fin, "c"), "abc\n", "\x8a\x01x" + closed(1000, ""), ""},
		"a character in parts":         {frame(opText, "\xe2") + frame(0, "\x82") + frame(fin, "\xac"), "€\n", closed(1000, ""), ""},
		"closed":                       {frame(text, "a") + frame(closes, goodbye) + frame(text, "b"), "a\n", closed(1000, ""), ""},
		"closed without a code":        {frame(closes, ""), "", "\x88\x00", ""},
		"closed by one's own code":     {frame(closes, "\x0f\xa0"), "", closed(4000, ""), ""},
		"closed by a code of one byte": {frame(closes, "\x03"), "", closed(1002, "malformed"), "one byte"},
		"closed by a reserved code":    {frame(closes, "\x03\xed"), "", closed(1002, "malformed"), "code 1005"},
		"closed by bytes":              {frame(closes, "\x03\xe8\xff"), "", closed(1007, "malformed"), "not UTF-8"},
		"not masked":                   {"\x81\x01a", "", closed(1002, "malformed"), "not masked"},
		"a reserved bit":               {frame(text|0x40, "a"), "", closed(1002, "malformed"), "reserved bit"},
		"a reserved opcode":            {frame(fin|3, "a"), "", closed(1002, "malformed"), "opcode 3"},
		"a ping in parts":              {frame(opPing, "a"), "", closed(1002, "malformed"), "in parts"},
		"a long ping":                  {frame(ping, long[:126]), "", closed(1002, "malformed"), "more than 125"},
		"a next part of nothing":       {frame(fin, "a"), "", closed(1002, "malformed"), "has not begun"},
		"a message within":             {frame(opText, "a") + frame(text, "b"), "a", closed(1002, "malformed"), "within another"},
		"a long length":                {"\x81\xfe\x00\x01mask" + "a", "", closed(1002, "malformed"), "longer than"},
		"a longer length":              {"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xffmask" + "a", "", closed(1002, "malformed"), "longer than"},
		"a negative length":            {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask" + "a", "", closed(1002, "malformed"), "2^63"},
		"a huge frame, cut off":        {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00" + "ab", "ab", closed(1000, ""), ""},
		"text that is none":            {frame(text, "a\xff"), "", closed(1007, "malformed"), "not UTF-8"},
		"a surrogate":                  {frame(text, "\xed\xa0\x80"), "", closed(1007, "malformed"), "not UTF-8"},
		"a character cut off":          {frame(text, "a\xe2\x82"), "a", closed(1007, "malformed"), "not UTF-8"},
		"a character cut by a part":    {frame(opText, "\xe2") + frame(fin, "x"), "", closed(1007, "malformed"), "not UTF-8"},
		"a flood of pings":             {strings.Repeat(frame(pong, "x"), 300), "", closed(1008, "rate"), "bring nothing"},
		"a flood of parts":             {frame(opText, "a") + strings.Repeat(frame(0, ""), 300), "a", closed(1008, "rate"), "bring nothing"},
	} {
		for way, wrap := range map[string]func(io.Reader) io.Reader{"whole": whole, "by bytes": iotest.OneByteReader, "by halves": iotest.HalfReader} {
			for _, size := range []int{1, 7, 64, 4096} {
				got, said, err := read(wrap, size, c.frames)
				isFault := errors.As(err, new(*fault.Error))
				if isFault != (c.err != "") || isFault && !strings.Contains(err.Error(), c.err) || !isFault && err != io.EOF {
					t.Errorf("%s, %s, %d: %v", name, way, size, err)
				}
				if c.err != "" && strings.HasPrefix(got, c.got) { // bytes before the fault may have been read
					got = c.got
				}
				if strings.TrimSuffix(got, "\uFFFD") != c.got || said != c.said {
					t.Errorf("%s, %s, %d: got %.100q, said %q\nwant %.100q, said %q", name, way, size, got, said, c.got, c.said)
				}
			}
		}
	}
}

// After a fault, further bytes are read and ignored, so that the peer can read the close
// frame.
func TestDrains(t *testing.T) {
	w := &wire{Reader: strings.NewReader("\x81\x01a" + "rest of it")}
	c := New(w, nil, nil)
	buf := make([]byte, 3)
	_, first := c.Read(buf)
	_, again := c.Read(buf)
	if first == nil || first != again {
		t.Errorf("%v, then %v", first, again)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) != len("rest of it") {
		t.Errorf("%q, %v", rest, err)
	}
}

// Earlier bytes are read first.
func TestPending(t *testing.T) {
	all := frame(fin|opText, "ab") + frame(fin|opText, "c")
	for i := range len(all) {
		c := New(&wire{Reader: strings.NewReader(all[i:])}, []byte(all[:i]), nil)
		var got []byte
		for buf := make([]byte, 5); ; {
			n, err := c.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				break
			}
		}
		if string(got) != "ab\nc\n" {
			t.Errorf("cut at %d: %q", i, got)
		}
	}
}

// Any input is read the same way however it is split, and ends with an error.
func FuzzRead(f *testing.F) {
	f.Add(frame(fin|opText, `{"dictwire":1}`) + frame(opText, `{"a`) + frame(fin|opPing, "x") + frame(fin, `":1}`) + frame(fin|opClose, "\x03\xe8"))
	f.Add(frame(fin|opBinary, strings.Repeat("x", 70000)))
	f.Add("\x81\x01a")
	f.Fuzz(func(t *testing.T, frames string) {
		got, said, err := read(whole, 4096, frames)
		again, saidAgain, errAgain := read(iotest.OneByteReader, 16, frames)
		if errors.As(err, new(*fault.Error)) { // bytes before the fault may have been read
			if short := min(len(got), len(again)); got[:short] == again[:short] {
				got, again = "", ""
			}
		}
		if got != again || said != saidAgain || (err == io.EOF) != (errAgain == io.EOF) {
			t.Errorf("%q, %q, %v\nby bytes %q, %q, %v", got, said, err, again, saidAgain, errAgain)
		}
	})
}
