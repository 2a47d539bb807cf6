package store

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
)

// A Position is the place of a record in a store, or a point between two records. The
// zero value is the beginning of every store. Positions of a store grow in the order that
// readers see, and are never reused.
type Position struct {
	Tag   string // identifies the store: see NewTag
	Block uint64 // from 1
	Index uint32 // within the block, from 0
}

// NewTag returns a tag for a store: 8 random letters and digits. A store gets one when it
// is created, and another one when it is restored from a copy.
func NewTag() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// IsZero reports whether p is the beginning of every store.
func (p Position) IsZero() bool { return p == Position{} }

// Compare compares two positions of one store.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Block, q.Block), cmp.Compare(p.Index, q.Index))
}

// String returns p in the form that clients keep, "k3f9.18234.5": tag, block, index. For
// the zero value it is "".
func (p Position) String() string {
	var b [64]byte
	text, _ := p.AppendText(b[:0])
	return string(text)
}

// AppendText appends what String returns. Its error is nil.
func (p Position) AppendText(dst []byte) ([]byte, error) {
	if p.IsZero() {
		return dst, nil
	}
	dst = strconv.AppendUint(append(append(dst, p.Tag...), '.'), p.Block, 10)
	return strconv.AppendUint(append(dst, '.'), uint64(p.Index), 10), nil
}

// MarshalText returns what String returns.
func (p Position) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText is ParsePosition.
func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}

// ParsePosition is the inverse of [Position.String]. Its error wraps ErrPosition.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	tag, rest, _ := strings.Cut(s, ".")
	block, index, _ := strings.Cut(rest, ".")
	b, errBlock := strconv.ParseUint(block, 10, 64)
	i, errIndex := strconv.ParseUint(index, 10, 32)
	p := Position{Tag: tag, Block: b, Index: uint32(i)}
	if errBlock != nil || errIndex != nil || !isTag(tag) || p.String() != s {
		return Position{}, fmt.Errorf("%w: %.64q", ErrPosition, s)
	}
	return p, nil
}

func isTag(s string) bool {
	if len(s) == 0 || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Within returns nil if p is the beginning, or a position of the store with that tag up
// to head. Otherwise the error wraps ErrPosition.
func (p Position) Within(tag string, head Position) error {
	switch {
	case p.IsZero():
		return nil
	case p.Tag != tag:
		return fmt.Errorf("%w: %v is of another one", ErrPosition, p)
	case p.Compare(head) > 0:
		return fmt.Errorf("%w: %v is beyond the head, %v", ErrPosition, p, head)
	}
	return nil
}
