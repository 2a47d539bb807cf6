package store

import (
	"encoding/binary"
	"hash/crc32"
)

// Seal returns a layout with the checksum that fits.
func Seal(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(append([]byte(nil), body...), crc32.Checksum(body, castagnoli))
}
