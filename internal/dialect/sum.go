package dialect

import (
	"encoding/binary"
	"hash/crc32"
)

// A Sum is the CRC-32C of a producer's last record as it was received, by which
// the producer knows at its next connection that the record is its own.
type Sum struct {
	CRC uint32
	// Of is how many of the record's first bytes it is of, where it could not be
	// read to its end: up to and including the one at which it was refused. Zero
	// means all.
	Of uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SumOf returns the sum of a whole record.
func SumOf(record []byte) Sum { return Sum{CRC: crc32.Checksum(record, castagnoli)} }

// LastSum returns the sum of record n−1 of the batch. What was received of a bad
// one may be more than the record: what separates it from the next, and others
// that the search for that passed over. So the sum is of what was read.
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

// Append appends s as stores keep it, in a block's note.
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
