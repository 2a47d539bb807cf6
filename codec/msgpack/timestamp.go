package msgpack

import (
	"encoding/binary"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// timestampCode is that of the timestamp extension.
const timestampCode = -1

// The seconds since 1970 at the beginning of the first year of a datetime, and after the
// last.
var (
	minSeconds = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	maxSeconds = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// timestamp returns the datetime of a timestamp extension. ok is false if its content has
// an invalid length or number, or its year is before 1 or after 9999.
func timestamp(b []byte) (t dict.DateTime, ok bool) {
	var seconds int64
	var nanoseconds uint64
	switch len(b) {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		both := binary.BigEndian.Uint64(b)
		seconds, nanoseconds = int64(both&(1<<34-1)), both>>34
	case 12:
		seconds, nanoseconds = int64(binary.BigEndian.Uint64(b[4:])), uint64(binary.BigEndian.Uint32(b))
	default:
		return t, false
	}
	if nanoseconds >= 1e9 || seconds < minSeconds || seconds >= maxSeconds {
		return t, false
	}
	at := time.Unix(seconds, 0).UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	return dict.DateTime{
		Date: dict.Date{Year: year, Month: int(month), Day: day},
		TimeOfDay: dict.TimeOfDay{
			Hour: hour, Minute: minute, Second: second,
			Microsecond: int(nanoseconds / 1000), Nanosecond: int(nanoseconds % 1000), Zone: dict.UTC(),
		},
	}, true
}

// appendTimestamp appends a datetime in UTC in the shortest form.
func appendTimestamp(dst []byte, t dict.DateTime) []byte {
	seconds := time.Date(t.Year, time.Month(t.Month), t.Day, t.Hour, t.Minute, t.Second, 0, time.UTC).Unix()
	nanoseconds := uint64(t.Microsecond)*1000 + uint64(t.Nanosecond)
	code := int8(timestampCode)
	switch {
	case seconds < 0 || seconds >= 1<<34:
		dst = binary.BigEndian.AppendUint32(append(dst, ext8, 12, byte(code)), uint32(nanoseconds))
		return binary.BigEndian.AppendUint64(dst, uint64(seconds))
	case nanoseconds == 0 && seconds < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, fixext1+2, byte(code)), uint32(seconds))
	default:
		return binary.BigEndian.AppendUint64(append(dst, fixext1+3, byte(code)), nanoseconds<<34|uint64(seconds))
	}
}
