package dialect

import (
	"encoding/binary"
	"hash/crc32"
)

// A Sum is the CRC-32C of a producer's last record as received. It lets the producer
// check, when it connects again, that the record is its own.
type Sum struct {
	CRC uint32
	// Of is the number of summed bytes, if the record could not be read to its end: those
	// up to and including the byte at which it was refused. Zero means the whole record.
	Of uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SumOf returns the sum of a whole record.
func SumOf(record []byte) Sum { return Sum{CRC: crc32.Checksum(record, castagnoli)} }

// LastSum returns the sum of record n−1 of the batch. For a bad record, the received
// bytes may include a separator and skipped records after it, so the sum is of the bytes
// that were read.
func (b *WriteBatch) LastSum(n int) Sum {
	record := b.Records[n-1]
	for _, bad := range b.Bad {
		if bad.Index != n-1 {
			continue
		}
		of := int64(len(record))
		if bad.Err.At >= bad.At {
			of = min(of, bad.Err.At-bad.At+1)
		}
		s := SumOf(record[:of])
		s.Of = uint64(of)
		return s
	}
	return SumOf(record)
}

// Append appends s in the form that stores keep in a block's note.
func (s Sum) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, s.CRC)
	if s.Of > 0 {
		dst = binary.AppendUvarint(dst, s.Of)
	}
	return dst
}

// ParseSum is the inverse of Append. It reports whether note is a sum.
func ParseSum(note []byte) (s Sum, ok bool) {
	if len(note) < 4 {
		return Sum{}, false
	}
	s.CRC = binary.BigEndian.Uint32(note)
	if len(note) == 4 {
		return s, true
	}
	of, n := binary.Uvarint(note[4:])
	s.Of = of
	return s, n == len(note)-4
}
