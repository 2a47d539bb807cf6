package client

import (
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/store"
)

// A Batch is records that were stored together. Without records it says that there are no others
// before Next.
type Batch struct {
	At        string // the position of the first record
	Next      string // the position after the last
	Topic     string
	Principal string    // who sent them; "" means anonymous
	Producer  string    // "" where the records have no numbers
	First     uint64    // the number of the first record
	Time      time.Time // when the server took them
	Times     []int64   // of the events, as in store.Block; nil: none is known
	Codec     codec.Codec
	Records   [][]byte
	Gap       *Gap // if not nil, there are no records in the batch, and these are missing

	space space
}

// A Gap is records that can't be read.
type Gap struct {
	From, To string
	Topic    string // "" if it is not known
	Text     string // the damage; "": the records were trimmed
}

// A space is the memory of a batch.
type space struct {
	bytes   []byte
	records [][]byte
}

// isProgress reports whether the batch only says how far reading has come.
func (b *Batch) isProgress() bool { return b != nil && b.Gap == nil && len(b.Records) == 0 }

// skipTo removes the records before a position, and reports whether any are left.
func (b *Batch) skipTo(position string) bool {
	p, err := store.ParsePosition(position)
	at, atErr := store.ParsePosition(b.At)
	if err != nil || atErr != nil || p.Tag != at.Tag || p.Block != at.Block || p.Index <= at.Index {
		return true
	}
	n := int(p.Index - at.Index)
	if n >= len(b.Records) {
		return false
	}
	b.At, b.Records = p.String(), b.Records[n:]
	if b.Times != nil {
		b.Times = b.Times[n:]
	}
	if b.First > 0 {
		b.First += uint64(n)
	}
	return true
}

// Advance returns the position n records after a position in the same block, or "" if that is
// not a position.
func Advance(position string, n uint32) string {
	p, err := store.ParsePosition(position)
	if err != nil {
		return ""
	}
	p.Index += n
	return p.String()
}
