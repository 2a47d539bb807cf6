package store

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Bounds of a block.
const (
	MaxNote       = 64      // bytes of Block.Note
	MaxName       = 128     // bytes of Producer.Name
	MaxPrincipal  = 512     // bytes of Producer.Principal
	MaxBlockBytes = 1 << 30 // bytes of Block.Data
)

// A Block is records of one topic and one codec that were received together:
// the unit that is stored. It has at least one record.
type Block struct {
	Topic    string    // where the records lie
	Codec    string    // the name of their format: "json"
	Received time.Time // when they came from the peer
	Peer     string    // its address

	// Producer is whose numbers the records take: First, First+1 and so on. It
	// is the zero value, and so are the four fields behind it, where they take
	// none. Its topic differs from the block's where the records are
	// rejections.
	Producer Producer
	Epoch    uint64 // of the claim
	First    uint64 // from 1
	Note     []byte // kept for the producer's next claim, at most MaxNote bytes

	// Rejected says of each record why it was rejected, or is empty. It is kept
	// with the producer, not in the block, and a read does not return it.
	Rejected []Rejection

	Lengths []uint32 // of the records, in bytes; none is zero
	Data    []byte   // the records, one behind the other

	scratch []byte // of Decode
}

// Add appends a record.
func (b *Block) Add(record []byte) {
	b.Lengths = append(b.Lengths, uint32(len(record)))
	b.Data = append(b.Data, record...)
}

// Reset takes the records out, and keeps their memory for the next ones.
func (b *Block) Reset() {
	b.Rejected, b.Lengths, b.Data = b.Rejected[:0], b.Lengths[:0], b.Data[:0]
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
	c.Note = slices.Clone(b.Note)
	c.Rejected = slices.Clone(b.Rejected)
	c.Lengths = slices.Clone(b.Lengths)
	c.Data = slices.Clone(b.Data)
	c.scratch = nil
	return &c
}

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
	if b.Producer.IsZero() {
		fault(b.Epoch != 0 || b.First != 0 || len(b.Note) > 0 || len(b.Rejected) > 0, "numbers without a producer")
		return errors.Join(errs...)
	}
	if err := b.Producer.Check(); err != nil {
		errs = append(errs, err)
	}
	fault(b.First == 0 || b.First+uint64(len(b.Lengths)) < b.First, "number %d, want one from 1 on", b.First)
	fault(len(b.Note) > MaxNote, "a note of %d bytes, want at most %d", len(b.Note), MaxNote)
	if len(b.Rejected) > 0 {
		fault(len(b.Rejected) != len(b.Lengths), "%d rejections of %d records", len(b.Rejected), len(b.Lengths))
		for i, r := range b.Rejected {
			fault(r.Number != b.First+uint64(i), "rejection %d is of number %d, want %d", i, r.Number, b.First+uint64(i))
			fault(len(r.Text) > MaxText || len(r.Code) > 64, "rejection %d is too long", i)
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
