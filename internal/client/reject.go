package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/store"
)

// Reject stores a record in the topic _rejected, and returns when it is durable there. Calls
// with the same position and text store it once, since both name the producer. It keeps trying
// while the server is away.
func (s *Subscriber) Reject(ctx context.Context, r rejection.Rejection) error {
	ctx, leave := within(ctx, s.life)
	defer leave()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	record, err := r.Append(nil) // without a time, so that each call sends the same bytes
	if err != nil {
		return err
	}
	sum := sha256.Sum256(record)
	o := s.c.o
	o.Codec, o.Limits, o.Logger = rejection.Codec, codec.Limits{RecordBytes: -1}, slog.New(slog.DiscardHandler)
	o.AtSpool, o.OnReply, o.OnState = false, nil, nil
	o.OnRejected = func(error) {} // the record stays in _rejected even if the server rejects it
	o.Spool = &OneRecord{
		Name: fmt.Sprintf("%s.%s.%x", r.Dialect, r.Position, sum[:8]), Topic: store.Rejected, Codec: rejection.Codec, Record: record,
	}
	one, err := Dial(ctx, s.c.addr, o)
	if err != nil {
		return err
	}
	return errors.Join(one.Flush(ctx), one.Close())
}

// A OneRecord is a spool with the only record of a producer, so that whoever sends it again
// uses the same number.
type OneRecord struct {
	Name   string // the producer's
	Topic  string
	Codec  codec.Codec
	Record []byte
}

// Producer implements [spool.Spool].
func (o *OneRecord) Producer() string { return o.Name }

// Attempt implements [spool.Spool]. It is always 0: a later sender sends the same record, and
// must not be refused because an earlier one's clock was ahead.
func (o *OneRecord) Attempt(context.Context) (uint64, error) { return 0, nil }

// Append implements [spool.Spool]. It is never called, since there is nothing else to send.
func (o *OneRecord) Append(context.Context, string, string, ...[]byte) (uint64, error) {
	return 0, errors.ErrUnsupported
}

// Topics implements [spool.Spool].
func (o *OneRecord) Topics(context.Context) ([]spool.Topic, error) {
	return []spool.Topic{{Topic: o.Topic, First: 1, Next: 2}}, nil
}

// Read implements [spool.Spool].
func (o *OneRecord) Read(ctx context.Context, _ string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		if from == 1 && !yield(spool.Batch{First: 1, Format: o.Codec.Name(), Records: [][]byte{o.Record}}, nil) {
			return
		}
		<-ctx.Done()
	}
}

// Settle implements [spool.Spool]. It does nothing: the server keeps the state.
func (o *OneRecord) Settle(context.Context, string, uint64, uint32) error { return nil }
