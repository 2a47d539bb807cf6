package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// A forward sends PackedForward messages of Fluent Forward v1, each with a chunk that the
// server acknowledges. A bare one sends no chunks, so it can't know when they have been
// read.
type forward struct {
	nc      net.Conn
	in      *bufio.Reader
	tag     string
	bare    bool
	entries []byte
	buf     []byte
	sent    chan chunk // not acknowledged yet
}

type chunk struct {
	id      string
	records int
}

const chunkID = 24 // bytes

func openForward(nc net.Conn, o *Options, _ int) (conn, error) {
	if len(o.Topic) > 31 {
		return nil, fmt.Errorf("a tag of %d bytes, want at most 31", len(o.Topic))
	}
	return &forward{nc: nc, in: bufio.NewReader(nc), tag: o.Topic, bare: o.Bare, sent: make(chan chunk, o.InFlight)}, nil
}

func (f *forward) send(records [][]byte) error {
	now := binary.BigEndian.AppendUint32([]byte{0x92, 0xce}, uint32(time.Now().Unix()))
	f.entries = f.entries[:0]
	for _, r := range records {
		f.entries = append(append(f.entries, now...), r...)
	}
	f.buf = append(f.buf[:0], 0x93, 0xa0|byte(len(f.tag)))
	f.buf = append(f.buf, f.tag...)
	f.buf = binary.BigEndian.AppendUint32(append(f.buf, 0xc6), uint32(len(f.entries)))
	f.buf = append(f.buf, f.entries...)
	if f.bare {
		f.buf = append(f.buf, 0x80)
	} else {
		id := rand.Text()[:chunkID]
		f.buf = append(append(f.buf, "\x81\xa5chunk\xb8"...), id...)
		f.sent <- chunk{id, len(records)}
	}
	_, err := f.nc.Write(f.buf)
	return err
}

func (f *forward) settle() (settled, refused int, err error) {
	const head = "\x81\xa3ack\xb8"
	answer := make([]byte, len(head)+chunkID)
	if _, err := io.ReadFull(f.in, answer); err != nil {
		return 0, 0, err
	}
	c := <-f.sent
	if !bytes.Equal(answer, []byte(head+c.id)) {
		return 0, 0, fmt.Errorf("%q is acknowledged, want %q", answer, c.id)
	}
	return c.records, 0, nil
}

func (f *forward) end() error {
	if half, ok := f.nc.(interface{ CloseWrite() error }); ok && f.bare {
		if err := half.CloseWrite(); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, f.in)
		return err
	}
	return nil
}
