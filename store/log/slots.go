package log

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slots is a small file that is overwritten after each sync with what is synced. It is
// never synced itself: it serves a process that was killed, for whose last frames there
// is no later frame that says so. Two slots are written in turn, so that a torn one
// leaves the other.
//
//	tag       16 bytes, with zeros after it
//	sequence   8 bytes
//	CRC-32C    4 bytes
type slots struct {
	file vfs.File
	next int64
	buf  [slotSize]byte
}

const (
	slotsName = "synced"
	slotSize  = 16 + 8 + 4
	slotGap   = 4096
)

// promised returns the last synced frame according to the slots. Slots of another log
// don't count.
func promised(b []byte, tag string) (seq uint64) {
	for at := 0; at+slotSize <= len(b); at += slotGap {
		s := b[at : at+slotSize]
		var want [16]byte
		copy(want[:], tag)
		if string(s[:16]) == string(want[:]) && crc32.Checksum(s[:24], castagnoli) == binary.LittleEndian.Uint32(s[24:]) {
			seq = max(seq, binary.LittleEndian.Uint64(s[16:]))
		}
	}
	return seq
}

func (s *slots) write(tag string, seq uint64) error {
	clear(s.buf[:16])
	copy(s.buf[:16], tag)
	binary.LittleEndian.PutUint64(s.buf[16:], seq)
	binary.LittleEndian.PutUint32(s.buf[24:], crc32.Checksum(s.buf[:24], castagnoli))
	_, err := s.file.WriteAt(s.buf[:], s.next)
	s.next = slotGap - s.next
	return err
}
