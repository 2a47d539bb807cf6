// Package rejection has what is kept of a record that was rejected: a dictionary
// in the topic _rejected, as docs/protocol.md has it (section 5).
package rejection

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// MaxBytes is how many bytes are kept of a record whose sender was told that it was
// rejected.
const MaxBytes = 64 << 10

// Codec is the format in which rejections are kept.
var Codec = cbor.Codec{}

// A Rejection is a record that was rejected. What is not known is left out.
type Rejection struct {
	Code   fault.Code
	Reason string // the application's own word
	Text   string
	Offset int64 // of the fault in the record; -1 where there is no place

	Topic    string
	Position string // of the record in the topic, where it lies there

	Principal string // who sent it; "" means anonymous
	Producer  string // "" where it takes no number
	Number    uint64

	Dialect, Format, Peer string
	Time                  time.Time // zero: not known

	Folded int // how many records it is of: their first, and the size of all. 0: one

	Size   int // of the record
	SHA256 [sha256.Size]byte
	Bytes  []byte // the first of the record
}

// Of returns the rejection of a record, to whose first MaxBytes it refers.
func Of(record []byte) Rejection {
	return Rejection{
		Offset: -1, Size: len(record), SHA256: sha256.Sum256(record),
		Bytes: record[:min(len(record), MaxBytes)],
	}
}

// Append appends the dictionary in CBOR.
func (r *Rejection) Append(dst []byte) ([]byte, error) {
	d := dict.Of("code", string(r.Code))
	text := func(key, s string) {
		if s != "" {
			d.Set(key, dict.String(s))
		}
	}
	text("reason", r.Reason)
	d.Set("error", dict.String(r.Text))
	if r.Offset >= 0 {
		d.Set("offset", dict.Int(r.Offset))
	}
	text("topic", r.Topic)
	text("position", r.Position)
	text("principal", r.Principal)
	if r.Producer != "" {
		text("producer", r.Producer)
		d.Set("number", dict.Int(int64(r.Number)))
	}
	text("dialect", r.Dialect)
	text("format", r.Format)
	text("peer", r.Peer)
	if !r.Time.IsZero() {
		t, err := dict.ValueOf(r.Time.UTC().Truncate(time.Microsecond))
		if err != nil {
			return dst, err
		}
		d.Set("time", t)
	}
	d.Set("size", dict.Int(int64(r.Size)))
	if r.Folded > 0 {
		d.Set("folded", dict.Int(int64(r.Folded)))
	} else {
		d.Set("sha256", dict.String(hex.EncodeToString(r.SHA256[:])))
	}
	d.Set("bytes", dict.Bytes(r.Bytes))
	if len(r.Bytes) < r.Size {
		d.Set("truncated", dict.Bool(true))
	}
	return Codec.Append(dst, d)
}

// Same is what is kept of a rejection, in CBOR, whose code is that of the number before
// and of which nothing else is kept: the empty dictionary.
var Same = []byte{0xa0}

// OfCode returns what is kept of a rejection, in CBOR, where all that there is room for
// is its code.
func OfCode(code fault.Code) []byte {
	row, err := Codec.Append(nil, dict.Of("code", string(code)))
	if err != nil {
		panic(err) // a string in a dictionary
	}
	return row
}
