package store

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// Limits of a block.
const (
	MaxNote       = 64      // bytes in Block.Note
	MaxName       = 128     // bytes in Producer.Name
	MaxPrincipal  = 512     // bytes in Block.Principal
	MaxBlockBytes = 1 << 30 // bytes in Block.Data; a store may allow fewer: see Limits
	MaxRejections = Window  // entries in Block.Rejected
)

// Anonymous is the principal of peers without credentials.
const Anonymous = "anonymous"

// UnknownTime in Block.Times stands for an unknown time.
const UnknownTime = math.MinInt64

// A Block is the unit of storage: records of one topic and one codec that were received
// together. It has at least one record.
type Block struct {
	Topic    string    // of the records
	Codec    string    // the name of the records' format: "json"
	Received time.Time // when they came from the peer
	Peer     string    // the address of the sender

	// Principal is the authenticated sender of the records: Anonymous if there were no
	// credentials, "" if it is not known.
	Principal string

	// Producer is the producer that numbers the records: First, First+1 and so on. Its
	// principal is the block's. Its topic differs from the block's if the records are
	// rejections. If the records are not numbered, Producer and the next four fields are
	// zero.
	Producer Producer
	Epoch    uint64      // of the claim
	First    uint64      // from 1
	Note     []byte      // returned by the producer's next claim; at most MaxNote bytes
	Rejected []Rejection // one entry for each record, or empty

	// Times are the times of the events that the records describe, in nanoseconds since
	// 1970, or UnknownTime. It is empty if no record has a time.
	Times []int64

	// Extended says that some record may be JSON beyond RFC 8259. Records of other blocks
	// may be sent to strict readers unchanged.
	Extended bool

	Lengths []uint32 // of the records, in bytes; never zero
	Data    []byte   // the records, back to back

	scratch []byte // reused by Decode
}

// Add appends a record.
func (b *Block) Add(record []byte) {
	b.Lengths = append(b.Lengths, uint32(len(record)))
	b.Data = append(b.Data, record...)
}

// Grow reserves n more bytes for records.
func (b *Block) Grow(n int) { b.Data = slices.Grow(b.Data, n) }

// AddTime sets the time of the event of the record added last, or UnknownTime.
func (b *Block) AddTime(event int64) {
	if event == UnknownTime && len(b.Times) == 0 {
		return
	}
	for len(b.Times) < len(b.Lengths)-1 {
		b.Times = append(b.Times, UnknownTime)
	}
	b.Times = append(b.Times, event)
}

// Time returns the time of a record's event, if it is known.
func (b *Block) Time(index uint32) (time.Time, bool) {
	if int(index) >= len(b.Times) || b.Times[index] == UnknownTime {
		return time.Time{}, false
	}
	return time.Unix(0, b.Times[index]).UTC(), true
}

// Reset removes the records and keeps their memory for the next ones.
func (b *Block) Reset() {
	b.Rejected, b.Times, b.Extended = b.Rejected[:0], b.Times[:0], false
	b.Lengths, b.Data = b.Lengths[:0], b.Data[:0]
}

// Records yields the records and their indices, beginning with an index.
func (b *Block) Records(from uint32) iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		at := 0
		for i, n := range b.Lengths {
			end := at + int(n)
			if uint32(i) >= from && !yield(uint32(i), b.Data[at:end:end]) {
				return
			}
			at = end
		}
	}
}

// Clone returns a copy that shares nothing with b.
func (b *Block) Clone() *Block {
	c := *b
	c.Note = clone(b.Note)
	c.Rejected = clone(b.Rejected)
	c.Times = clone(b.Times)
	c.Lengths = clone(b.Lengths)
	c.Data = clone(b.Data)
	c.scratch = nil
	return &c
}

// clone returns a copy of s, or nil if it is empty.
func clone[E any](s []E) []E { return append([]E(nil), s...) }

// Check returns an error that joins all rules that b breaks. Drivers call it before they
// store a block.
func (b *Block) Check() error {
	var errs []error
	fault := func(is bool, format string, a ...any) {
		if is {
			errs = append(errs, fmt.Errorf("store: block: "+format, a...))
		}
	}
	if err := CheckTopic(b.Topic); err != nil {
		errs = append(errs, err)
	}
	fault(b.Codec == "" || len(b.Codec) > 64, "want the name of a codec")
	fault(len(b.Peer) > 512, "a peer of %d bytes, want at most 512", len(b.Peer))
	fault(len(b.Principal) > MaxPrincipal, "a principal of %d bytes, want at most %d", len(b.Principal), MaxPrincipal)
	fault(len(b.Lengths) == 0, "want at least one record")
	fault(len(b.Data) > MaxBlockBytes, "%d bytes of records, want at most %d", len(b.Data), MaxBlockBytes)
	var sum uint64
	empty := false
	for _, n := range b.Lengths {
		sum += uint64(n)
		empty = empty || n == 0
	}
	fault(empty, "a record of no bytes")
	fault(sum != uint64(len(b.Data)), "the lengths add up to %d, the records to %d", sum, len(b.Data))
	fault(len(b.Times) > 0 && len(b.Times) != len(b.Lengths), "%d times of %d records", len(b.Times), len(b.Lengths))
	if b.Producer.IsZero() {
		fault(b.Epoch != 0 || b.First != 0 || len(b.Note) > 0 || len(b.Rejected) > 0, "numbers without a producer")
		return errors.Join(errs...)
	}
	if err := b.Producer.Check(); err != nil {
		errs = append(errs, err)
	}
	fault(b.Producer.Principal != b.Principal, "records of %.40q with numbers of %.40q", b.Principal, b.Producer.Principal)
	fault(b.First == 0 || b.First+uint64(len(b.Lengths)) < b.First, "number %d, want one from 1 on", b.First)
	fault(len(b.Note) > MaxNote, "a note of %d bytes, want at most %d", len(b.Note), MaxNote)
	if len(b.Rejected) > 0 {
		fault(len(b.Rejected) != len(b.Lengths), "%d rejections of %d records", len(b.Rejected), len(b.Lengths))
		fault(len(b.Rejected) > MaxRejections, "%d rejections, want at most %d", len(b.Rejected), MaxRejections)
		for i, r := range b.Rejected {
			fault(r.Number != b.First+uint64(i), "rejection %d is of number %d, want %d", i, r.Number, b.First+uint64(i))
			fault(len(r.Text) > MaxText || len(r.Reason) > MaxReason || len(r.Code) > 64, "rejection %d is too long", i)
		}
	}
	return errors.Join(errs...)
}

// Check returns an error if p breaks a rule. The topic must be valid, the name at most
// MaxName bytes of printable ASCII without spaces, and the principal at most MaxPrincipal
// bytes.
func (p Producer) Check() error {
	if err := CheckTopic(p.Topic); err != nil {
		return err
	}
	if len(p.Name) == 0 || len(p.Name) > MaxName {
		return fmt.Errorf("producer %.40q: a name of %d bytes, want 1 to %d", p.Name, len(p.Name), MaxName)
	}
	if i := slices.IndexFunc([]byte(p.Name), func(c byte) bool { return c <= ' ' || c > '~' }); i >= 0 {
		return fmt.Errorf("producer %q: want printable ASCII without spaces (at byte %d)", p.Name, i)
	}
	if len(p.Principal) > MaxPrincipal {
		return fmt.Errorf("producer %q: a principal of %d bytes, want at most %d", p.Name, len(p.Principal), MaxPrincipal)
	}
	return nil
}
