package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// storedAsItCame reports whether records of a format are stored unchanged. Other formats are
// converted to CBOR, which holds every kind of value.
func storedAsItCame(c codec.Codec) bool {
	return slices.Contains([]string{"json", "cbor", "msgpack"}, c.Name())
}

// decideAll decides about the records from an index on: each is kept, replied to or rejected.
// It stops early if t must be settled first, without an error, or with the error that stops
// the records after those in t.
func (w *writer) decideAll(ctx context.Context, t *pendingAppend, b *dialect.WriteBatch, from int) error {
	bad := b.Bad
	for i := range b.Records {
		isBad := len(bad) > 0 && bad[0].Index == i
		if i >= from {
			var f *dialect.Bad
			if isBad {
				f = &bad[0]
			}
			if room, err := w.decide(ctx, t, b, i, f); err != nil || !room {
				return err
			}
		}
		if isBad {
			bad = bad[1:]
		}
	}
	return nil
}

// longDeciding is the number of records that are decided in one turn.
const longDeciding = 4096

// decideWhole is decideAll for records that are settled together: it waits for a failing
// handler instead of stopping early.
func (w *writer) decideWhole(ctx context.Context, t *pendingAppend, b *dialect.WriteBatch) error {
	bad := b.Bad
	for i := range b.Records {
		var f *dialect.Bad
		if len(bad) > 0 && bad[0].Index == i {
			f, bad = &bad[0], bad[1:]
		}
		for decided := false; !decided; {
			if err := w.pause(ctx); err != nil {
				return err
			}
			var err error
			if decided, err = w.decide(ctx, t, b, i, f); err != nil {
				return err
			}
		}
		if err := t.charge(ctx, w, 0); err != nil {
			return err
		}
		if i%longDeciding == longDeciding-1 { // let others have their turns
			w.session.worker.Rest()
			if err := w.beginLong(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide decides about one record, and charges t for it. It reports false if t must be
// settled first. An error stops this record and all after it.
func (w *writer) decide(ctx context.Context, t *pendingAppend, b *dialect.WriteBatch, index int, bad *dialect.Bad) (room bool, err error) {
	record := b.Records[index]
	held, size := t.room.Size(), t.size
	if room, err := t.hold(ctx, w.decidingCost(codec.Of(b.Codec, record), len(record))); err != nil || !room {
		return false, err
	}
	if bad != nil {
		t.answers = append(t.answers, dialect.Answer{Index: index, Err: bad.Err, Bad: true})
		err = t.reject(w, b, record, bad.Err, max(bad.Err.At-bad.At, -1))
	} else {
		var reply *dict.Dict
		if reply, room, err = w.decideGood(ctx, t, b, index, held); err != nil || !room {
			return false, err
		}
		if reply != nil { // it may refer to what was decoded
			return true, nil
		}
	}
	t.room.Keep(held + storingCost*(t.size-size))
	return true, err
}

// decideGood is decide for a well-formed record. It returns the handler's reply. held is
// t's charge before the record.
func (w *writer) decideGood(ctx context.Context, t *pendingAppend, b *dialect.WriteBatch, index int, held int64) (reply *dict.Dict, room bool, err error) {
	s, record := w.session.s, b.Records[index]
	format := codec.Of(b.Codec, record)
	r := &Request{
		Codec: format, Dialect: w.dialect, RemoteAddr: w.session.remote, Topic: w.topic,
		Principal: w.session.principal, Producer: w.producer.Name, Number: w.next + uint64(t.records), Bytes: record, Limits: s.limits(),
	}
	stored := record
	if !storedAsItCame(format) {
		if r.Decoded, room, err = w.decode(ctx, t, format, record, held); err == nil && !room {
			return nil, false, nil
		}
		if err == nil {
			stored, err = w.storedForm(t, format, record, r.Decoded)
			format = cbor.Codec{}
		}
	}
	if err == nil && w.check != nil {
		if room, err = w.fits(ctx, t, r, len(stored), held); err == nil && !room {
			return nil, false, nil
		}
	}
	if err == nil && s.Handler != nil {
		if reply, room, err = w.handle(ctx, r); err == nil && !room {
			return nil, false, nil
		}
		if w.whole != nil {
			reply = nil
		}
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return nil, false, err
	case errors.Is(err, fault.Unavailable):
		return nil, false, faultOfStore(ctx, err)
	case err != nil:
		f := refusal(err)
		t.answers = append(t.answers, dialect.Answer{Index: index, Err: f})
		return nil, true, t.reject(w, b, record, f, -1)
	case reply != nil:
		t.answers = append(t.answers, dialect.Answer{Index: index, Reply: reply})
	}
	t.keep(w, format.Name(), stored, b.Time(index))
	return reply, true, nil
}

// fits checks a record by the topic's schema. It reports false if t must be settled first. n
// is the size of the record's stored form, held t's charge before the record.
func (w *writer) fits(ctx context.Context, t *pendingAppend, r *Request, n int, held int64) (room bool, err error) {
	t.room.Keep(held)
	if room, err := t.hold(ctx, w.decidingCost(r.Codec, len(r.Bytes))+checkingCost*int64(n)); err != nil || !room {
		return room, err
	}
	if r.Decoded == nil {
		if r.Decoded, err = r.Codec.Decode(r.Bytes, r.Limits); err != nil {
			return true, err
		}
	}
	defer dialect.Recover(&err, "the schema failed")
	if err := w.check(r.Decoded); err != nil {
		return true, &fault.Error{Code: fault.Schema, Text: cut(err.Error(), store.MaxText), At: -1}
	}
	return true, nil
}

// storedForm converts a record to CBOR, for formats that are not stored unchanged. The
// result obeys the limits, too, so that every accepted record can be relayed, exported and
// sent again. It is valid until the next call.
func (w *writer) storedForm(t *pendingAppend, c codec.Codec, record []byte, d *dict.Dict) ([]byte, error) {
	s := w.session.s
	stored, err := cbor.Codec{}.Append(t.scratch[:0], d)
	if err != nil {
		return nil, &fault.Error{Code: fault.Internal, Text: "the record can't be stored", At: -1, Err: err}
	}
	t.scratch = stored
	if limit := s.limits().RecordBytes; len(stored) > limit {
		return nil, &fault.Error{
			Code: fault.TooLarge, At: -1,
			Text: fmt.Sprintf("the record has %d bytes of %s, but %d of CBOR, as which it is stored: more than %d", len(record), c.Name(), len(stored), limit),
			Hint: "split it, or raise Limits.RecordBytes",
		}
	}
	if w.scanner == nil {
		w.scanner = cbor.Codec{}.NewScanner(s.limits())
	}
	_, _, err = w.scanner.Next(stored)
	if err != nil { // the scanner may have stopped within the record
		w.scanner = nil
		f := refusal(err)
		f.Text = "as it is stored: " + f.Text
		return nil, f
	}
	if w.scanner.Scratch() > maxKept {
		w.scanner.Release()
	}
	return stored, nil
}

// decode decodes a record of a format that is not stored unchanged. It reports false if t
// must be settled first. held is t's charge before the record.
//
// A pickle may refer to one value many times, and each reference is written out, so its size
// says little about the dictionary's. It is decoded within limits that suffice for most
// pickles; if they don't, larger ones are charged, and it is decoded again.
func (w *writer) decode(ctx context.Context, t *pendingAppend, c codec.Codec, record []byte, held int64) (*dict.Dict, bool, error) {
	limits := w.session.s.limits().Effective()
	for factor := firstGrowth; ; factor *= nextGrowth {
		tight := growth(limits, c, len(record), factor)
		if factor > firstGrowth {
			t.room.Keep(held)
			if room, err := t.hold(ctx, decodingCost(c, len(record), tight)); err != nil || !room {
				return nil, room, err
			}
		}
		d, err := c.Decode(record, tight)
		var syntax *codec.SyntaxError
		if tight == limits || !errors.As(err, &syntax) || syntax.Code != fault.OverLimit {
			return d, true, err
		}
	}
}

// refusal returns the fault for an error of a decoder or of the handler.
func refusal(err error) *fault.Error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f
	}
	f := dialect.FaultOf(err, 0)
	f.At = -1 // the text counts from the record's first byte, not from the connection's
	return f
}

// Charges of memory, in bytes.
const (
	storingCost  = 2       // for each stored byte: once in a block, once in the block's layout
	rejectCost   = 2 << 10 // for a rejection, in addition to the record's bytes
	checkingCost = 256     // for each stored byte that a schema checks: its Go value, and a fault for each
	nodeCost     = 32      // for each decoded item: 16, doubled for growth

	// A pickle may have firstGrowth items for each of its bytes, then nextGrowth times as
	// many, and so on, until it is decoded or reaches the limits.
	firstGrowth, nextGrowth = 2, 4
)

// decidingCost returns the memory that it takes to decide about a record of n bytes and keep
// it, in bytes.
func (w *writer) decidingCost(c codec.Codec, n int) int64 {
	s := w.session.s
	switch {
	case !storedAsItCame(c):
		return decodingCost(c, n, growth(s.limits().Effective(), c, n, firstGrowth)) + rejectCost
	case s.Handler != nil || w.check != nil:
		return (nodeCost+storingCost)*int64(n) + rejectCost
	default:
		return storingCost*int64(n) + rejectCost
	}
}

// growth returns the limits for decoding a record of n bytes with at most factor items for
// each byte.
func growth(limits codec.Limits, c codec.Codec, n, factor int) codec.Limits {
	if codec.FramesOnly(c) { // other formats have no more items than bytes
		most := int64(n) * int64(factor)
		limits.Items = int(min(int64(limits.Items), most))
		limits.RecordBytes = int(min(int64(limits.RecordBytes), most))
	}
	return limits
}

// decodingCost returns the memory that it takes to decode a record of n bytes within limits
// and to convert it to its stored form, in bytes.
func decodingCost(c codec.Codec, n int, limits codec.Limits) int64 {
	if !codec.FramesOnly(c) {
		return 2 * nodeCost * int64(n)
	}
	// For each byte of the pickle, the machine; for each item, its nodes and stored form; for
	// each byte of text, of which there may be four times the record's limit, three copies.
	const machine, item, text = 128, 128, 3 * 4
	return machine*int64(n) + item*int64(limits.Items) + text*int64(limits.RecordBytes)
}
