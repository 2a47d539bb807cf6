package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Keys by their first byte.
const (
	prefixBlock    = 'b'
	prefixOrder    = 'p'
	prefixTopic    = 't'
	prefixProducer = 'q'
	prefixRejected = 'r'
	prefixCursor   = 'c'
	prefixMeta     = 'm'
	prefixDue      = 'd'
	prefixCount    = 'n'
)

var (
	keyVersion    = []byte("mversion")
	keyTag        = []byte("mtag")
	keyNext       = []byte("mnext")
	keyGeneration = []byte("mgeneration")
	keyCopied     = []byte("mcopied") // there until a copy is opened
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("a checksum does not fit")

func appendBlockKey(dst []byte, topic string, at uint64) []byte {
	dst = append(append(append(dst, prefixBlock), topic...), 0)
	return binary.BigEndian.AppendUint64(dst, at)
}

func blockKey(topic string, at uint64) []byte { return appendBlockKey(nil, topic, at) }

// splitBlockKey is the inverse of blockKey.
func splitBlockKey(key []byte) (topic []byte, at uint64, ok bool) {
	if len(key) < 10 || key[0] != prefixBlock {
		return nil, 0, false
	}
	n := len(key) - 8
	return key[1 : n-1], binary.BigEndian.Uint64(key[n:]), true
}

func orderKey(at uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixOrder}, at)
}

func topicKey(name string) []byte { return append([]byte{prefixTopic}, name...) }

// appendProducer appends a producer's part of a key: no producer's is another's
// beginning, once a zero stands behind it.
func appendProducer(dst []byte, p store.Producer) []byte {
	dst = appendString(dst, p.Principal)
	dst = append(append(dst, p.Topic...), 0)
	return append(dst, p.Name...)
}

func appendProducerKey(dst []byte, p store.Producer) []byte {
	return appendProducer(append(dst, prefixProducer), p)
}

func producerKey(p store.Producer) []byte { return appendProducerKey(nil, p) }

// dueKey is where a producer is noted that may have to be forgotten at a time.
func dueKey(at time.Time, p store.Producer) []byte {
	key := binary.BigEndian.AppendUint64([]byte{prefixDue}, uint64(max(at.UnixNano(), 0)))
	return appendProducer(key, p)
}

// splitProducer is the inverse of appendProducer.
func splitProducer(key []byte) (p store.Producer, ok bool) {
	principal, rest, ok := cutString(key)
	topic, name, found := bytes.Cut(rest, []byte{0})
	return store.Producer{Principal: principal, Topic: string(topic), Name: string(name)}, ok && found
}

func rejectedKey(p store.Producer, number uint64) []byte {
	key := append(appendProducer([]byte{prefixRejected}, p), 0)
	return binary.BigEndian.AppendUint64(key, number)
}

func cursorKey(c store.CursorName) []byte {
	key := appendString([]byte{prefixCursor}, c.Principal)
	key = appendString(key, c.Name)
	return append(key, c.Subscription...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, false
	}
	return string(b[w : w+int(n)]), b[w+int(n):], true
}

// A tally counts what a topic holds.
type tally struct {
	blocks, records, bytes uint64
}

// An envelope is what stands before a block.
type envelope struct {
	time    int64 // nanoseconds since 1970
	before  tally // what the topic held before
	records uint32
	bytes   uint32
}

const envelopeSize = 8 + 3*8 + 2*4 + crc32.Size

func (e *envelope) after() tally {
	return tally{e.before.blocks + 1, e.before.records + uint64(e.records), e.before.bytes + uint64(e.bytes)}
}

func (e *envelope) stamp() time.Time { return time.Unix(0, e.time).UTC() }

func (e *envelope) append(dst []byte) []byte {
	n := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.time))
	dst = binary.LittleEndian.AppendUint64(dst, e.before.blocks)
	dst = binary.LittleEndian.AppendUint64(dst, e.before.records)
	dst = binary.LittleEndian.AppendUint64(dst, e.before.bytes)
	dst = binary.LittleEndian.AppendUint32(dst, e.records)
	dst = binary.LittleEndian.AppendUint32(dst, e.bytes)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[n:], castagnoli))
}

// cutEnvelope returns the envelope, and the block behind it.
func cutEnvelope(v []byte) (e envelope, block []byte, err error) {
	v, block, err = cutSum(v, envelopeSize)
	if err != nil {
		return e, nil, err
	}
	u := binary.LittleEndian.Uint64
	e.time = int64(u(v))
	e.before = tally{u(v[8:]), u(v[16:]), u(v[24:])}
	e.records = binary.LittleEndian.Uint32(v[32:])
	e.bytes = binary.LittleEndian.Uint32(v[36:])
	return e, block, nil
}

// cutSum splits n bytes off, the last four of which are a checksum.
func cutSum(v []byte, n int) (body, rest []byte, err error) {
	if len(v) < n {
		return nil, nil, errDamaged
	}
	body = v[:n-crc32.Size]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(v[n-crc32.Size:]) {
		return nil, nil, errDamaged
	}
	return body, v[n:], nil
}

// A place is a value of the order: which topic's block stands there.
func appendPlace(dst []byte, t int64, topic string) []byte {
	n := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t))
	dst = append(dst, topic...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[n:], castagnoli))
}

func splitPlace(v []byte) (t int64, topic []byte, err error) {
	v, _, err = cutSum(v, len(v))
	if err != nil || len(v) < 8 {
		return 0, nil, errDamaged
	}
	return int64(binary.LittleEndian.Uint64(v)), v[8:], nil
}

func appendState(dst []byte, s store.ProducerState) []byte {
	n := len(dst)
	dst = binary.AppendUvarint(dst, s.Epoch)
	dst = binary.AppendUvarint(dst, s.Attempt)
	dst = binary.AppendUvarint(dst, s.Next)
	dst = binary.AppendUvarint(dst, s.GivenUp)
	dst = binary.AppendVarint(dst, s.Seen.UnixNano())
	dst = binary.AppendVarint(dst, int64(s.Expire))
	dst = append(dst, s.Note...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[n:], castagnoli))
}

func decodeState(v []byte) (s store.ProducerState, err error) {
	v, _, err = cutSum(v, len(v))
	if err != nil {
		return s, err
	}
	var seen, expire int64
	for _, p := range []*uint64{&s.Epoch, &s.Attempt, &s.Next, &s.GivenUp} {
		n, w := binary.Uvarint(v)
		*p, v = n, v[max(w, 0):]
	}
	for _, p := range []*int64{&seen, &expire} {
		n, w := binary.Varint(v)
		*p, v = n, v[max(w, 0):]
	}
	s.Seen, s.Expire = time.Unix(0, seen).UTC(), time.Duration(expire)
	if len(v) > 0 {
		s.Note = append([]byte(nil), v...)
	}
	return s, nil
}
