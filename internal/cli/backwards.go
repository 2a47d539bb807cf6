package cli

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store"
)

// Servers only read forwards. To print the newest records first, the store is read in
// parts, from its end backwards. Each part is read forwards and printed backwards.
const (
	firstPart = 64      // blocks of the first part
	largePart = 1 << 20 // bytes of records at which parts stop growing
	mostPart  = 8 << 20 // bytes at which a part is read again in smaller parts
)

// backwards passes the server's records to the sink, the newest first.
func (t *tail) backwards(ctx context.Context, c *dictwire.Client, out sink) error {
	begin, err := t.place(ctx, c, t.from.from())
	if err != nil {
		return err
	}
	end, err := t.place(ctx, c, "latest")
	if err != nil {
		return err
	}
	left := -1
	if t.number > 0 {
		left = t.number
	}
	for blocks := uint64(firstPart); begin.Compare(end) < 0 && left != 0; {
		from := begin
		if end.Block-begin.Block > blocks {
			from = store.Position{Tag: end.Tag, Block: end.Block - blocks}
		}
		part, bytes, err := t.part(ctx, c, from, end)
		if err != nil {
			return err
		}
		if bytes > mostPart && end.Block-from.Block > 1 {
			blocks = max(min(blocks, end.Block-from.Block)/8, 1)
			continue
		}
		if err := t.printBackwards(ctx, part, out, &left); err != nil {
			return err
		}
		if end = from; bytes < largePart {
			blocks = min(blocks*4, math.MaxUint32)
		}
	}
	return nil
}

// place returns the position of a place in the store.
func (t *tail) place(ctx context.Context, c *dictwire.Client, from string) (store.Position, error) {
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: t.topics, From: from}) {
		switch {
		case b == nil:
			return store.Position{}, err
		case len(b.Records) > 0:
			return store.ParsePosition(b.At)
		default:
			return store.ParsePosition(b.Next)
		}
	}
	return store.Position{}, nil
}

// part returns the records between two positions and their size in bytes. If there are
// too many, it returns no records, and a lower bound of the size.
func (t *tail) part(ctx context.Context, c *dictwire.Client, from, to store.Position) (part []*dictwire.Batch, bytes int, err error) {
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: t.topics, From: from.String()}) {
		if b == nil {
			return nil, 0, err
		}
		if err != nil { // records that were skipped or are damaged
			t.tell(err)
		}
		last, err := cutAt(b, to)
		if err != nil {
			return nil, 0, err
		}
		if !last {
			last, err = t.cut(b)
		}
		if err != nil {
			return nil, 0, err
		}
		for _, record := range b.Records {
			bytes += len(record)
		}
		if part = append(part, b); last || bytes > mostPart && to.Block-from.Block > 1 {
			break
		}
	}
	return part, bytes, nil
}

// printBackwards passes the records of a part to the sink, the last one first, until left
// is zero.
func (t *tail) printBackwards(ctx context.Context, part []*dictwire.Batch, out sink, left *int) error {
	var p parcel
	for n := len(part) - 1; n >= 0 && *left != 0; n-- {
		b := part[n]
		p.batch, p.text = b, p.text[:0]
		var failed error
		for i := len(b.Records) - 1; i >= 0 && *left != 0; i-- {
			text, err := t.rendering.record(ctx, p.text, b.Record(i))
			if err != nil {
				if err = fmt.Errorf("%s in %s: %w", b.Record(i).Position(), b.Topic, t.remedy(err)); t.exact {
					failed = err
					break
				}
				t.tell(err)
				continue
			}
			if len(text) > len(p.text) && *left > 0 {
				*left--
			}
			p.text = text
		}
		p.text = t.rendering.columns.text(p.text)
		if err := out.put(ctx, &p, false); err != nil || failed != nil {
			return errors.Join(failed, err)
		}
	}
	return nil
}
