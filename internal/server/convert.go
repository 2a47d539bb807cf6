package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// A converter makes of stored blocks what a peer takes.
type converter struct {
	codecs map[string]codec.Codec // by name
	conn   *dialect.Conn
	forms  []dialect.Form // preferred first; none: all formats
	room   dialect.Room   // for what is converted

	form    dialect.Form // what records are converted to now
	lengths []uint32     // of what was converted
	data    []byte
}

const (
	fullPart    = 64 << 10 // bytes of converted records at which others are another part
	convertCost = 64       // bytes of memory that it takes to convert one, at most: 32 for its items, and the result
	resultCost  = 4        // bytes of the result for each of a record, mostly
	lengthCost  = 12       // bytes of a part's head for each record
	idleScratch = 4 << 10  // bytes of scratch that are kept
)

// parts yields the records of a block: all at once as they are stored, where the peer
// takes that, else in parts. It reports whether more is wanted.
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

// part converts records from b.At on to the first form that holds them, and sets b.Next
// after the last of them.
func (c *converter) part(ctx context.Context, b *store.ReadBatch) (err error) {
	for i, form := range c.forms {
		var (
			f    *fault.Error
			most = len(b.Block.Lengths)
		)
		if i > 0 {
			most = 1 // a preferred form may hold the next one
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

// convert converts records from b.At on to c.form, at most as many as it is told, and
// sets b.Next after the last of them. The error is of the first one.
func (c *converter) convert(ctx context.Context, b *store.ReadBatch, most int) error {
	stored, ok := c.codecs[b.Block.Codec]
	if !ok {
		return &fault.Error{Code: fault.Unsupported, At: -1, Text: fmt.Sprintf("%v is in format %q, which can't be read here", b.At, b.Block.Codec)}
	}
	c.data, c.lengths = c.data[:0], c.lengths[:0]
	for i, record := range b.Block.Records(b.At.Index) {
		before := len(c.data)
		room, err := c.convertOne(ctx, stored, b, i, record)
		if err != nil && i > b.At.Index {
			break // those before it are given first
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

// convertOne converts one record. It reports false where there is no room for it beside
// those before it.
func (c *converter) convertOne(ctx context.Context, stored codec.Codec, b *store.ReadBatch, index uint32, record []byte) (room bool, err error) {
	others := len(c.data) + lengthCost*(len(c.lengths)+1)
	for need := int64(others + resultCost*len(record)); ; {
		if need > c.room.Size() && !c.room.Want(ctx, need) {
			if len(c.data) > 0 {
				return false, nil
			}
			if err := c.room.Need(ctx, need); err != nil {
				return false, err
			}
		}
		data, err := c.build(ctx, stored, b, index, record)
		if err != nil {
			return false, err
		}
		if need = int64(others + len(data) - len(c.data)); need <= c.room.Size() || c.room.Want(ctx, need) {
			c.data = data
			return true, nil
		}
		// It is larger than expected: it is made again when there is room for it.
	}
}

// build returns c.data with a converted record after it.
func (c *converter) build(ctx context.Context, stored codec.Codec, b *store.ReadBatch, index uint32, record []byte) ([]byte, error) {
	room := c.conn.Building().Share(c.conn.Known())
	if err := room.Take(ctx, convertCost*int64(len(record))); err != nil {
		return nil, err
	}
	defer room.Keep(0)
	d, err := stored.Decode(record, codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	if err != nil {
		return nil, err
	}
	return c.form.Append(c.data, b, index, d)
}

// faultOfConversion returns the fault of a record that can't be converted, or err where
// that is not the record's.
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

// forget gives back what was needed for a block.
func (c *converter) forget() {
	if cap(c.data)+4*cap(c.lengths) > idleScratch {
		c.lengths, c.data = nil, nil
	}
	c.room.Keep(0)
}
