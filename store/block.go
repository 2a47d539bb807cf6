package store

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// Bounds of a block.
const (
	MaxNote       = 64      // bytes of Block.Note
	MaxName       = 128     // bytes of Producer.Name
	MaxPrincipal  = 512     // bytes of Block.Principal
	MaxBlockBytes = 1 << 30 // bytes of Block.Data; a store may take less: see Limits
	MaxRejections = Window  // of Block.Rejected
)

// Anonymous is the principal of whoever gave no credentials.
const Anonymous = "anonymous"

// UnknownTime stands in Block.Times for the time of a record that has none.
const UnknownTime = math.MinInt64

// A Block is records of one topic and one codec that were received together:
// the unit that is stored. It has at least one record.
type Block struct {
	Topic    string    // where the records lie
	Codec    string    // the name of their format: "json"
	Received time.Time // when they came from the peer
	Peer     string    // its address

	// Principal is who sent the records, as authenticated: Anonymous where
	// nobody asked, "" where nobody knows.
	Principal string

	// Producer is whose numbers the records take: First, First+1 and so on. Its
	// principal is the block's; its topic differs from the block's where the
	// records are rejections. It is the zero value, as are the four fields after
	// it, where the records take no numbers.
	Producer Producer
	Epoch    uint64      // of the claim
	First    uint64      // from 1
	Note     []byte      // kept for the producer's next claim, at most MaxNote bytes
	Rejected []Rejection // why each record was rejected, or empty

	// Times are when the events happened that the records tell of, in
	// nanoseconds since 1970, UnknownTime for a record without. Empty where no
	// record has a time.
	Times []int64

	// Extended says that some record may be JSON beyond RFC 8259. The records of
	// other blocks may be handed to strict readers as they are.
	Extended bool

	Lengths []uint32 // of the records, in bytes; none is zero
	Data    []byte   // the records, one after the other

	scratch []byte // of Decode
}

// Add appends a record.
func (b *Block) Add(record []byte) {
	b.Lengths = append(b.Lengths, uint32(len(record)))
	b.Data = append(b.Data, record...)
}

// Grow makes room for n more bytes of records.
func (b *Block) Grow(n int) { b.Data = slices.Grow(b.Data, n) }

// AddTime says when the event of the record that was added last happened, or UnknownTime.
func (b *Block) AddTime(event int64) {
	if event == UnknownTime && len(b.Times) == 0 {
		return
	}
	for len(b.Times) < len(b.Lengths)-1 {
		b.Times = append(b.Times, UnknownTime)
	}
	b.Times = append(b.Times, event)
}

// Time returns when the event of a record happened, and whether that is known.
func (b *Block) Time(index uint32) (time.Time, bool) {
	if int(index) >= len(b.Times) || b.Times[index] == UnknownTime {
		return time.Time{}, false
	}
	return time.Unix(0, b.Times[index]).UTC(), true
}

// Reset takes the records out, and keeps their memory for the next ones.
func (b *Block) Reset() {
	b.Rejected, b.Times, b.Extended = b.Rejected[:0], b.Times[:0], false
	b.Lengths, b.Data = b.Lengths[:0], b.Data[:0]
}

// Records yields the records and their indices, from one index on.
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

// clone returns a copy of s, nil where it is empty.
func clone[E any](s []E) []E { return append([]E(nil), s...) }

// Check returns an error where b breaks a rule, all of them where there are
// several. Drivers call it before they store a block.
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

// Check returns an error where p breaks a rule: a topic, a name of at most
// MaxName bytes of printable ASCII without spaces, a principal of at most
// MaxPrincipal bytes.
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
