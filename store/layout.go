package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
)

const layoutVersion = 2

// Flags of a block's layout.
const (
	flagCompressed = 1 << iota // records are an S2 block
	flagProducer               // there is a producer
	flagUniform                // all records have one length
	flagTimes                  // records have times
	flagRejected               // records have rejections
	flagExtended               // Block.Extended

	flagsAll = 1<<iota - 1
)

// minCompressed is the least total length of records, in bytes, that is worth
// compressing.
const minCompressed = 256

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MaxEncoded returns an upper bound for the length of b's layout, in bytes.
func (b *Block) MaxEncoded() int {
	const numbers = 2 + 8 + 4 + 12*binary.MaxVarintLen64
	n := numbers + len(b.Codec) + len(b.Topic) + len(b.Principal) + len(b.Peer) + len(b.Note) +
		len(b.Producer.Topic) + len(b.Producer.Name) +
		len(b.Lengths)*binary.MaxVarintLen32 + len(b.Times)*binary.MaxVarintLen64
	for _, r := range b.Rejected {
		n += 4*binary.MaxVarintLen32 + len(r.Code) + len(r.Reason) + len(r.Text)
	}
	return n + max(len(b.Data), s2.MaxEncodedLen(len(b.Data)))
}

// AppendEncoded appends the layout of b to dst. Records are compressed if that saves at
// least an eighth. lately, if not nil, predicts when trying is in vain.
func (b *Block) AppendEncoded(dst []byte, lately *Shrinkage) []byte {
	dst, _ = b.AppendWithHead(dst, lately)
	return dst
}

// AppendWithHead is AppendEncoded. It also returns the length of the head, in bytes: see
// [Block.PeekHead].
func (b *Block) AppendWithHead(dst []byte, lately *Shrinkage) (_ []byte, head int) {
	begin := len(dst)
	flags := b.flags()
	dst = append(dst, layoutVersion, flags)
	dst = appendString(dst, b.Codec)
	dst = appendString(dst, b.Topic)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(nanoseconds(b.Received)))
	dst = appendString(dst, b.Principal)
	dst = appendString(dst, b.Peer)
	if flags&flagProducer != 0 {
		topic := b.Producer.Topic
		if topic == b.Topic {
			topic = ""
		}
		dst = appendString(dst, topic)
		dst = appendString(dst, b.Producer.Name)
		dst = binary.AppendUvarint(dst, b.Epoch)
		dst = binary.AppendUvarint(dst, b.First)
		dst = appendString(dst, string(b.Note))
	}
	head = len(dst) - begin
	dst = binary.AppendUvarint(dst, uint64(len(b.Lengths)))
	last := uint64(0)
	for _, t := range b.Times {
		dst = binary.AppendVarint(dst, int64(uint64(t)-last))
		last = uint64(t)
	}
	dst = AppendRejections(dst, b.Rejected)
	if flags&flagUniform != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.Lengths[0]))
	} else {
		for _, n := range b.Lengths {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	}
	dst, compressed := appendRecords(dst, b.Data, lately)
	if compressed {
		dst[begin+1] |= flagCompressed
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli)), head
}

// flags returns all flags but flagCompressed.
func (b *Block) flags() (flags byte) {
	set := func(flag byte, is bool) {
		if is {
			flags |= flag
		}
	}
	set(flagProducer, !b.Producer.IsZero())
	set(flagUniform, b.isUniform())
	set(flagTimes, len(b.Times) > 0)
	set(flagRejected, len(b.Rejected) > 0)
	set(flagExtended, b.Extended)
	return flags
}

func (b *Block) isUniform() bool {
	if len(b.Lengths) < 2 {
		return false
	}
	for _, n := range b.Lengths {
		if n != b.Lengths[0] {
			return false
		}
	}
	return true
}

// appendRecords appends records, compressed where that pays.
func appendRecords(dst, data []byte, lately *Shrinkage) (_ []byte, compressed bool) {
	if len(data) < minCompressed || !lately.mayPay(len(data)) {
		return append(dst, data...), false
	}
	n := len(dst)
	if need := n + s2.MaxEncodedLen(len(data)) + crc32.Size; cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	out := s2.Encode(dst[n:cap(dst)], data)
	pays := len(out) <= len(data)-len(data)/8
	lately.note(len(data), pays)
	if !pays {
		return append(dst, data...), false
	}
	return dst[:n+len(out)], true
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return UnknownTime
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) time.Time {
	if n == UnknownTime {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// Decode sets b to the block whose layout is src. b may refer to src, and to memory that
// the next Decode reuses. If it returns an error, src is malformed and b is unusable.
func (b *Block) Decode(src []byte) error {
	r, flags, err := b.decodeHead(src)
	if err != nil {
		return err
	}
	count := r.number()
	if count == 0 || count > MaxBlockBytes {
		return errLengths
	}
	var times []int64
	if flags&flagTimes != 0 {
		times = r.times(b.Times, int(count))
	}
	var rejected []Rejection
	if flags&flagRejected != 0 {
		rejected = r.rejections(b.Rejected, b.First, int(count))
	}
	if r.bad {
		return errShort
	}
	lengths, sum, err := r.lengths(b.Lengths, flags, count)
	if err != nil {
		return err
	}
	data := r.rest
	if flags&flagCompressed != 0 {
		if data, err = s2.Decode(b.scratch[:cap(b.scratch)], data); err != nil {
			return fmt.Errorf("compressed records: %w", err)
		}
		b.scratch = data
	}
	if uint64(len(data)) != sum {
		return errLengths
	}
	b.Times, b.Rejected = times, rejected
	b.Lengths, b.Data = lengths, data
	return nil
}

// DecodeHead is Decode without the fields for single records: Rejected, Times, Lengths
// and Data are empty.
func (b *Block) DecodeHead(src []byte) error {
	_, _, err := b.decodeHead(src)
	return err
}

func (b *Block) decodeHead(src []byte) (r reader, flags byte, err error) {
	if len(src) < 2+crc32.Size {
		return r, 0, errShort
	}
	if src[0] != layoutVersion {
		return r, 0, fmt.Errorf("layout version %d, want %d", src[0], layoutVersion)
	}
	body, sum := src[:len(src)-crc32.Size], src[len(src)-crc32.Size:]
	if got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(sum); got != want {
		return r, 0, fmt.Errorf("checksum %08x, want %08x", got, want)
	}
	return b.head(body)
}

// head decodes the fields before the count. src has at least two bytes.
func (b *Block) head(src []byte) (r reader, flags byte, err error) {
	flags = src[1]
	if flags&^flagsAll != 0 || flags&flagRejected != 0 && flags&flagProducer == 0 {
		return r, 0, fmt.Errorf("unknown flags %#x", flags)
	}
	r.rest = src[2:]
	*b = Block{
		Codec:     intern(r.bytes(), b.Codec),
		Topic:     intern(r.bytes(), b.Topic),
		Received:  fromNanoseconds(r.fixed()),
		Principal: intern(r.bytes(), b.Principal),
		Peer:      intern(r.bytes(), b.Peer),
		Producer:  b.Producer,
		Rejected:  b.Rejected[:0],
		Times:     b.Times[:0],
		Extended:  flags&flagExtended != 0,
		Lengths:   b.Lengths[:0],
		scratch:   b.scratch,
	}
	if flags&flagProducer != 0 {
		p := &b.Producer
		p.Principal = b.Principal
		if topic := r.bytes(); len(topic) > 0 {
			p.Topic = intern(topic, p.Topic)
		} else {
			p.Topic = b.Topic
		}
		p.Name = intern(r.bytes(), p.Name)
		b.Epoch, b.First = r.number(), r.number()
		if note := r.bytes(); len(note) > 0 {
			b.Note = note
		}
	} else {
		b.Producer = Producer{}
	}
	if r.bad {
		return r, 0, errShort
	}
	return r, flags, nil
}

var (
	errShort   = errors.New("too short")
	errLengths = errors.New("the lengths do not fit the records")
)

// times appends the times of count records to dst.
func (r *reader) times(dst []int64, count int) []int64 {
	if count > len(r.rest) {
		r.bad = true
		return nil
	}
	dst = slices.Grow(dst[:0], count)
	last := uint64(0)
	for range count {
		d, n := binary.Varint(r.rest)
		if n <= 0 {
			r.bad = true
			return nil
		}
		r.rest = r.rest[n:]
		last += uint64(d)
		dst = append(dst, int64(last))
	}
	return dst
}

// lengths returns the lengths of count records, in dst if there is room. A false count
// can't make it allocate more than the bytes that follow justify.
func (r *reader) lengths(dst []uint32, flags byte, count uint64) (_ []uint32, sum uint64, err error) {
	dst = dst[:0]
	if flags&flagUniform != 0 {
		n := r.number()
		size := uint64(len(r.rest))
		if flags&flagCompressed != 0 {
			decoded, err := s2.DecodedLen(r.rest)
			if err != nil {
				return nil, 0, errLengths
			}
			size = uint64(decoded)
		}
		if r.bad || n == 0 || size > MaxBlockBytes || count > size || n > size || n*count != size {
			return nil, 0, errLengths
		}
		dst = growLengths(dst, int(count))
		for range count {
			dst = append(dst, uint32(n))
		}
		return dst, size, nil
	}
	if count > uint64(len(r.rest)) {
		return nil, 0, errLengths
	}
	dst = growLengths(dst, int(count))
	for range count {
		n := r.number()
		if sum += n; n == 0 || sum > MaxBlockBytes {
			return nil, 0, errLengths
		}
		dst = append(dst, uint32(n))
	}
	if r.bad {
		return nil, 0, errLengths
	}
	if flags&flagCompressed != 0 {
		if decoded, err := s2.DecodedLen(r.rest); err != nil || uint64(decoded) != sum {
			return nil, 0, errLengths
		}
	}
	return dst, sum, nil
}

func growLengths(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, 0, n)
	}
	return s
}

// intern returns b as a string. It is usually equal to s, the string of the block before,
// which is then reused.
func intern(b []byte, s string) string {
	if string(b) == s {
		return s
	}
	return string(b)
}

// A reader reads the fields of a layout. After a malformed field it reads zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) fixed() int64 {
	if len(r.rest) < 8 {
		r.bad, r.rest = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return int64(v)
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
