package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// A converter converts stored blocks to the formats that a peer accepts.
type converter struct {
	codecs map[string]codec.Codec // by name
	conn   *dialect.Conn
	forms  []dialect.Form // in order of preference; empty: all formats
	room   dialect.Room   // for converted records

	form    dialect.Form // the target of the conversion
	lengths []uint32     // of the converted records
	indexes []uint32     // of their records in the block, if there is a filter
	data    []byte
}

// unlimited is for what was within the limits when it was stored.
var unlimited = codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1}

const (
	fullPart    = 64 << 10 // bytes of converted records after which a new part begins
	convertCost = 64       // bytes of memory for each byte of a record: 32 for its items, and the result
	resultCost  = 4        // bytes of result for each byte of a record, usually at most
	lengthCost  = 12       // bytes of a part's header for each record
	idleScratch = 4 << 10  // bytes of scratch memory that are kept
)

// parts yields the records of a block: as they are stored, in one part, if the peer
// accepts that format; otherwise converted, in several parts. It reports whether the
// caller wants more.
func (c *converter) parts(ctx context.Context, b store.ReadBatch, yield func(dialect.Part, error) bool) bool {
	defer c.forget()
	if len(c.forms) == 0 || slices.ContainsFunc(c.forms, func(f dialect.Form) bool { return f.Format == b.Block.Codec }) {
		if err := c.room.Need(ctx, int64(lengthCost*len(b.Block.Lengths))); err != nil {
			return yield(dialect.Part{ReadBatch: b}, err) && false
		}
		skip := 0
		for _, n := range b.Block.Lengths[:b.At.Index] {
			skip += int(n)
		}
		return yield(dialect.Part{ReadBatch: b, Format: b.Block.Codec, Lengths: b.Block.Lengths[b.At.Index:], Data: b.Block.Data[skip:]}, nil)
	}
	end := b.Next
	for b.Next = b.At; b.Next != end; {
		b.At = b.Next
		if err := c.part(ctx, &b); err != nil {
			return yield(dialect.Part{ReadBatch: b}, err) && false
		}
		if int(b.Next.Index) == len(b.Block.Lengths) {
			b.Next = end
		}
		if !yield(dialect.Part{ReadBatch: b, Format: c.form.Format, Lengths: c.lengths, Data: c.data}, nil) {
			return false
		}
	}
	return true
}

// part converts records from b.At on to the first form that can hold them, and sets
// b.Next to the position after the last converted one.
func (c *converter) part(ctx context.Context, b *store.ReadBatch) (err error) {
	for i, form := range c.forms {
		var (
			f    *fault.Error
			most = len(b.Block.Lengths)
		)
		if i > 0 {
			most = 1 // a preferred form may hold the one after it
		}
		c.form = form
		converted := c.convert(ctx, b, most)
		if converted == nil || !errors.As(converted, &f) || f.Code != fault.Loss {
			return converted
		}
		if err == nil {
			err = converted
		}
	}
	return err
}

// convert converts at most the given number of records to c.form, from b.At on, and sets
// b.Next to the position after the last one. It returns an error if the first record
// fails.
func (c *converter) convert(ctx context.Context, b *store.ReadBatch, most int) error {
	stored, ok := c.codecs[b.Block.Codec]
	if !ok {
		return &fault.Error{Code: fault.Unsupported, At: -1, Text: fmt.Sprintf("%v is in format %q, which can't be read here", b.At, b.Block.Codec)}
	}
	c.data, c.lengths = c.data[:0], c.lengths[:0]
	for i, record := range b.Block.Records(b.At.Index) {
		before := len(c.data)
		room, err := c.convertOne(ctx, len(record), func() ([]byte, error) { return c.build(ctx, stored, record, b, i) })
		if err != nil && i > b.At.Index {
			break // the records before it are delivered first
		}
		if err != nil {
			return faultOfConversion(*b, i, err)
		}
		if !room {
			break
		}
		c.lengths = append(c.lengths, uint32(len(c.data)-before))
		b.Next.Index = i + 1
		if len(c.data) >= fullPart || len(c.lengths) == most {
			break
		}
	}
	return nil
}

// convertOne converts one record of that many bytes: build appends it to c.data and returns
// the result. It reports false if there is no room for it in this part.
func (c *converter) convertOne(ctx context.Context, bytes int, build func() ([]byte, error)) (room bool, err error) {
	others := len(c.data) + lengthCost*(len(c.lengths)+1)
	for need := int64(others + resultCost*bytes); ; {
		if need > c.room.Size() && !c.room.Want(ctx, need) {
			if len(c.data) > 0 {
				return false, nil
			}
			if err := c.room.Need(ctx, need); err != nil {
				return false, err
			}
		}
		data, err := build()
		if err != nil {
			return false, err
		}
		if need = int64(others + len(data) - len(c.data)); need <= c.room.Size() || c.room.Want(ctx, need) {
			c.data = data
			return true, nil
		}
		// The result is larger than expected. The record is converted again once there is
		// room.
	}
}

// build appends a record of a block, converted to c.form, to c.data and returns the result.
func (c *converter) build(ctx context.Context, stored codec.Codec, record []byte, b *store.ReadBatch, index uint32) ([]byte, error) {
	if c.form.AppendStored != nil {
		if data, ok := c.form.AppendStored(c.data, b, index, record); ok {
			return data, nil
		}
	}
	return c.decode(ctx, stored, unlimited, record, b, index, c.form.Append)
}

// decode decodes a record, appends it to c.data, by form, and returns the result.
func (c *converter) decode(ctx context.Context, stored codec.Codec, limits codec.Limits, record []byte, b *store.ReadBatch, index uint32, form formFunc) ([]byte, error) {
	room := c.conn.Building().Share(c.conn.Known())
	if err := room.Take(ctx, convertCost*int64(len(record))); err != nil {
		return nil, err
	}
	defer room.Keep(0)
	d, err := stored.Decode(record, limits)
	if err != nil {
		return nil, err
	}
	return form(c.data, b, index, d)
}

// A formFunc is [dialect.Form]'s Append.
type formFunc = func(dst []byte, b *store.ReadBatch, index uint32, d *dict.Dict) ([]byte, error)

// faultOfConversion returns the fault of a record that can't be converted, or err if the
// record is not to blame.
func faultOfConversion(b store.ReadBatch, index uint32, err error) error {
	at := b.At
	at.Index = index
	var (
		loss   *codec.LossError
		syntax *codec.SyntaxError
	)
	f := &fault.Error{Code: fault.Internal, At: -1, Text: fmt.Sprintf("the record at %v: %v", at, err), Err: err}
	switch {
	case errors.As(err, &loss):
		f.Code, f.Text = fault.Loss, fmt.Sprintf("the record at %v: %s", at, loss.Text())
	case !errors.As(err, &syntax):
		return err
	}
	return f
}

// forget gives back the memory that a block needed.
func (c *converter) forget() {
	if cap(c.data)+4*cap(c.lengths)+4*cap(c.indexes) > idleScratch {
		c.lengths, c.indexes, c.data = nil, nil, nil
	}
	c.room.Keep(0)
}
