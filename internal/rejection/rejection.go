// Package rejection has the dictionary that the topic _rejected stores for a rejected
// record, as docs/protocol.md specifies it (section 5).
package rejection

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// MaxBytes is how many bytes of a rejected record are kept, if its sender was told that
// it was rejected.
const MaxBytes = 64 << 10

// Codec is the format of rejections.
var Codec = cbor.Codec{}

// A Rejection describes a rejected record. Unknown fields are left out.
type Rejection struct {
	Code   fault.Code
	Reason string // a word of the application
	Text   string
	Offset int64 // of the fault in the record, or -1

	Topic    string
	Position string // of the record, if it is stored in the topic

	Principal string // the sender; "" means anonymous
	Producer  string // "" if the record has no number
	Number    uint64

	Dialect, Format, Peer string
	Time                  time.Time // zero if unknown

	Folded int // number of records in a shared row, which has the first one and the total size; 0: one

	Size   int // of the record, in bytes
	SHA256 [sha256.Size]byte
	Bytes  []byte // the first bytes of the record
}

// Of returns the rejection of a record. It refers to the record's first MaxBytes.
func Of(record []byte) Rejection {
	return Rejection{
		Offset: -1, Size: len(record), SHA256: sha256.Sum256(record),
		Bytes: record[:min(len(record), MaxBytes)],
	}
}

// Append appends the dictionary, in CBOR.
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

// Same is stored, in CBOR, for a rejection with the code of the number before, of which
// nothing else is kept: the empty dictionary.
var Same = []byte{0xa0}

// OfCode returns what is stored, in CBOR, for a rejection of which only the code is kept.
func OfCode(code fault.Code) []byte {
	row, err := Codec.Append(nil, dict.Of("code", string(code)))
	if err != nil {
		panic(err) // a string in a dictionary
	}
	return row
}
