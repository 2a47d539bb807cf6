package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

// keepAgain is the pause before reject tries again to store a record.
const keepAgain = time.Second

// reject logs a record that the upstream server rejected, and stores it in _rejected exactly
// once, together with a note of its number. It tries until it succeeds or ctx ends. In that
// case the record is not settled, and the upstream server will report its rejection again.
func (o *outbox) reject(ctx context.Context, e *dictwire.RejectedError) {
	t := o.topic(e.Topic)
	o.mu.Lock()
	kept := t.rejected >= e.Number
	o.mu.Unlock()
	if kept {
		return
	}
	o.logger.Warn("rejected upstream", "topic", e.Topic, "number", e.Number, "code", string(e.Code), "error", e.Text)
	for {
		err := o.keepRejected(ctx, t, e)
		o.mu.Lock()
		if err == nil {
			t.rejected = e.Number
		} else if t.unkept == 0 {
			t.unkept = e.Number
		}
		if err == nil && t.unkept == e.Number {
			t.unkept = 0
		}
		o.mu.Unlock()
		if err == nil || ctx.Err() != nil {
			return
		}
		o.logger.Error("what was rejected upstream can't be kept", "topic", e.Topic, "number", e.Number, "error", err)
		select {
		case <-time.After(keepAgain):
		case <-ctx.Done():
			return
		}
	}
}

func (o *outbox) keepRejected(ctx context.Context, t *topic, e *dictwire.RejectedError) error {
	record, err := o.rejection(ctx, t, e)
	if err != nil {
		return err
	}
	b := &store.Block{Topic: store.Rejected, Codec: rejection.Codec.Name(), Received: time.Now()}
	b.Add(record)
	return o.ledger.Save(ctx, ledger.Note{
		Kind: noteRejected, Topic: t.name, Text: binary.BigEndian.AppendUint64(nil, e.Number), Block: b,
	})
}

// rejection returns the whole record with its rejection. Producer, number and peer are those of
// its original sender.
func (o *outbox) rejection(ctx context.Context, t *topic, e *dictwire.RejectedError) ([]byte, error) {
	b, index, err := o.find(ctx, t, e.Number)
	var damage *store.DamageError
	if err != nil && !errors.As(err, &damage) {
		return nil, err
	}
	var record []byte
	if b != nil {
		for _, record = range b.Records(index) {
			break
		}
	}
	r := rejection.Of(record)
	r.Bytes = record // whole, since it was acknowledged, and its topic will lose it
	r.Code, r.Reason, r.Text, r.Topic = e.Code, e.Reason, e.Text, e.Topic
	if b != nil && !b.Producer.IsZero() {
		r.Producer, r.Number = b.Producer.Name, b.First+uint64(index)
	}
	if b != nil {
		r.Format, r.Peer = b.Codec, b.Peer
		if b.Principal != store.Anonymous {
			r.Principal = b.Principal
		}
	}
	r.Dialect, r.Time = "relay", time.Now()
	return r.Append(nil)
}

// find returns the block that holds a record, and its index there, or nil.
func (o *outbox) find(ctx context.Context, t *topic, number uint64) (*store.Block, uint32, error) {
	at := o.begin(t, number)
	for b, err := range o.store.Read(ctx, at.at, store.ReadOptions{Topics: []string{t.name}}) {
		if err != nil {
			return nil, 0, err
		}
		if b.Block == nil {
			continue
		}
		next := place{b.Next, at.number + uint64(len(b.Block.Lengths)) - uint64(b.At.Index)}
		if number < next.number {
			return b.Block.Clone(), b.At.Index + uint32(number-at.number), nil
		}
		at = next
	}
	return nil, 0, nil
}

// parseRejected parses the note about the last rejected record.
func parseRejected(note []byte) (uint64, error) {
	if len(note) != 8 {
		return 0, errNote
	}
	return binary.BigEndian.Uint64(note), nil
}
