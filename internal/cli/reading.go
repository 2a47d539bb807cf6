package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/store"
)

// read passes the server's records to the sink, and new ones until ctx ends.
func (t *tail) read(ctx context.Context, c *dictwire.Client, out sink) error {
	t.nameUnknown(ctx, c)
	if t.reverse {
		return t.backwards(ctx, c, out)
	}
	req := t.request()
	left := -1 // records until the end
	switch {
	case t.number > 0 && t.from.text == "" && t.cursor == "":
		from, err := t.newest(ctx, c)
		t.rendering.forget()
		if err != nil {
			return err
		}
		req.From = from
	case t.number > 0:
		left = t.number
	}
	var p parcel
	for b, err := range c.Subscribe(ctx, req) {
		if b == nil {
			return err
		}
		if err != nil { // records that were skipped or are damaged
			t.tell(err)
		}
		last, err := t.cut(b)
		if err != nil {
			return err
		}
		bad := t.render(ctx, b, &p, &left)
		last = last || bad != nil || left == 0
		settle := last || !req.Follow && len(b.Records) == 0 // it may be the end
		if err := out.put(ctx, &p, settle); err != nil {
			return err
		}
		if last {
			return bad
		}
	}
	return nil
}

// render converts a batch to a parcel. The batch is cut at a record that can't be
// rendered, if that ends the command, and when no more records are wanted.
func (t *tail) render(ctx context.Context, b *dictwire.Batch, p *parcel, left *int) error {
	*p = parcel{batch: b, text: p.text[:0], records: p.records[:0]}
	defer func() { p.text = t.rendering.columns.text(p.text) }()
	for i := range b.Records {
		text, err := t.rendering.record(ctx, p.text, b.Record(i))
		if err != nil {
			err = fmt.Errorf("%s in %s: %w", b.Record(i).Position(), b.Topic, t.remedy(err))
			if t.exact || t.cursor != "" { // a cursor never moves past a record that was not rendered
				truncate(b, i)
				return err
			}
			t.tell(err)
			continue
		}
		if len(text) == len(p.text) { // not selected
			continue
		}
		p.text = text
		p.records = append(p.records, piece{i, len(text)})
		if *left > 0 {
			if *left--; *left == 0 {
				truncate(b, i+1)
				return nil
			}
		}
	}
	return nil
}

// remedy adds a hint to the error of a record that can't be rendered.
func (t *tail) remedy(err error) error {
	other := "--print python"
	if t.exec != "" {
		other = "--format python"
	}
	if t.exact && errors.As(err, new(*codec.LossError)) {
		return hintError{err, other + " holds it; without --exact, a substitute is written"}
	}
	return instead(err, other)
}

// cut removes records after --to, and reports whether that was reached.
func (t *tail) cut(b *dictwire.Batch) (bool, error) {
	end, at := t.to.Position(), t.to.Time(t.began)
	switch {
	case t.to.text == "", t.to.text == "latest": // request then does not follow
		return false, nil
	case !at.IsZero():
		if len(b.Records) == 0 || b.Time.Before(at) {
			return false, nil
		}
		truncate(b, 0)
		return true, nil
	}
	if next, err := store.ParsePosition(b.Next); err == nil && end.Tag != "" && end.Tag != next.Tag {
		return false, fmt.Errorf("--to: %w: %v is of another one", store.ErrPosition, end)
	}
	return cutAt(b, end)
}

// cutAt removes records from a position on, and reports whether it was reached.
func cutAt(b *dictwire.Batch, end store.Position) (bool, error) {
	next, err := store.ParsePosition(b.Next)
	if err != nil || next.Compare(end) < 0 {
		return false, err
	}
	if len(b.Records) == 0 { // there is nothing before Next
		return true, nil
	}
	first, err := store.ParsePosition(b.At)
	switch {
	case err != nil:
	case first.Compare(end) >= 0:
		truncate(b, 0)
	case first.Block == end.Block:
		truncate(b, int(end.Index-first.Index))
	}
	return true, err
}

// nameUnknown prints which topics of the command line have no records.
func (t *tail) nameUnknown(ctx context.Context, c *dictwire.Client) {
	for _, topic := range t.topics {
		if known, err := hasRecords(ctx, c, topic); err == nil && !known {
			say(t.stderr, "there are no records in topic %s", topic)
		}
	}
}

func hasRecords(ctx context.Context, c *dictwire.Client, topic string) (bool, error) {
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{topic}, Reuse: true}) {
		switch {
		case b == nil:
			return false, err
		case err != nil || len(b.Records) > 0: // damaged records exist, too
			return true, nil
		}
	}
	return false, nil
}

// newest returns the position of the first of the newest records that are printed. It
// searches ever larger parts of the store, from its end.
func (t *tail) newest(ctx context.Context, c *dictwire.Client) (from string, err error) {
	var head store.Position
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: t.topics, From: "latest", Reuse: true}) {
		if b == nil {
			return "", err
		}
		if head, err = store.ParsePosition(b.Next); err != nil {
			return "", err
		}
		break
	}
	for span := uint64(t.number); ; span *= 8 {
		from := store.Position{Tag: head.Tag, Block: head.Block - min(span, head.Block)}
		all := span >= head.Block
		found, err := t.positions(ctx, c, from, all)
		switch {
		case err != nil:
			return "", err
		case len(found) == t.number:
			return found[0], nil
		case all:
			return "earliest", nil
		}
	}
}

// positions returns the positions of the newest records that follow a position.
func (t *tail) positions(ctx context.Context, c *dictwire.Client, from store.Position, all bool) (found []string, err error) {
	req := dictwire.SubscribeRequest{Topics: t.topics, From: from.String(), Reuse: true}
	if all {
		req.From = "earliest"
	}
	var text []byte
	for b, err := range c.Subscribe(ctx, req) {
		if b == nil {
			return nil, err
		}
		last, err := t.cut(b)
		if err != nil {
			return nil, err
		}
		for i := range b.Records {
			if t.filter.expr != nil {
				text, err = t.rendering.record(ctx, text[:0], b.Record(i))
				if err == nil && len(text) == 0 {
					continue
				}
			}
			if found = append(found, b.Record(i).Position()); len(found) > t.number {
				found = found[1:]
			}
		}
		if last {
			break
		}
	}
	return found, nil
}

// truncate removes the records of a batch from n on.
func truncate(b *dictwire.Batch, n int) {
	if n < len(b.Records) {
		b.Next, b.Records = b.Record(n).Position(), b.Records[:n]
	}
}
