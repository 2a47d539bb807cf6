package siege_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
)

// Attacks in frames and over Fluent Forward.

// framedJunk has frames without a valid record, and frames that are too long.
var framedJunk = func() [][]byte {
	frame := func(b string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	good := frame(`{"a":1}`)
	return [][]byte{
		bytes.Repeat(append(bytes.Clone(good), frame("[1]")...), 2000),
		append(bytes.Clone(good), 0, 0xff, 0xff, 0xff, '{'),
		append(append(bytes.Clone(good), 0, 0x20, 0, 0), bytes.Repeat([]byte{'x'}, 1<<20)...),
		fmt.Appendf(nil, "%-10d{\"a\":", 900_000),
	}
}()

// forwardEntries returns entries of Fluent Forward.
func forwardEntries(n int) []byte {
	return bytes.Repeat([]byte("\x92\xce\x65\x53\xf1\x00\x81\xa1a\x01"), n)
}

// forwardMessage returns a PackedForward message with an option.
func forwardMessage(entries []byte, option string) []byte {
	b := binary.BigEndian.AppendUint32([]byte("\x93\xa7hostile\xc6"), uint32(len(entries)))
	return append(append(b, entries...), option...)
}

// forwardJunk has unusable messages, and bombs.
var forwardJunk = func() [][]byte {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(bytes.Repeat(append([]byte("\x92\xce\x65\x53\xf1\x00\x81\xa1a\xda\x40\x00"), bytes.Repeat([]byte{'x'}, 16<<10)...), 4000))
	_ = w.Close()
	return [][]byte{
		forwardMessage(bomb.Bytes(), "\x81\xaacompressed\xa4gzip"),
		forwardMessage(bytes.Repeat([]byte("\x92\xa1x\x80"), 2000), "\xc0"),
		[]byte("\x92\xa7hostile\xdd\xff\xff\xff\xff"),
		[]byte("\x93\xa7hostile\xc6\x00\xff\xff\xff"),
	}
}()
