package dictwire

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/dict"
)

// storedAsItCame reports whether records of a format are stored in it. The others
// are stored as CBOR, which holds everything.
func storedAsItCame(c codec.Codec) bool {
	return slices.Contains([]string{"json", "cbor", "msgpack"}, c.Name())
}

// judgeAll decides what becomes of each record. An error is why those from
// t.records on can't be taken in.
func (w *writer) judgeAll(ctx context.Context, t *take, b *dialect.Batch) error {
	bad := b.Bad
	for i, record := range b.Records {
		var err error
		if len(bad) > 0 && bad[0].Index == i {
			t.answers = append(t.answers, dialect.Answer{Index: i, Err: bad[0].Err, Bad: true})
			err = t.reject(w, b, record, bad[0].Err, max(bad[0].Err.At-bad[0].At, -1))
			bad = bad[1:]
		} else {
			err = w.judge(ctx, t, b, i, record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// judge decides what becomes of one record. An error is why nothing from it on
// can be taken in.
func (w *writer) judge(ctx context.Context, t *take, b *dialect.Batch, index int, record []byte) error {
	s := w.in.s
	if len(record) >= freeDecoding {
		n := min(decodingCost(b.Codec)*int64(len(record)), s.decodingMemory)
		if err := s.decoding.Acquire(ctx, n); err != nil {
			return context.Cause(ctx)
		}
		defer s.decoding.Release(n)
	}
	r := &Request{
		Codec: b.Codec, Dialect: w.dialect, RemoteAddr: w.in.remote, Topic: w.topic,
		Producer: w.producer.Name, Number: w.next + uint64(index), Bytes: record, limits: s.Limits,
	}
	var (
		reply *dict.Dict
		err   error
	)
	if !storedAsItCame(b.Codec) {
		r.dict, err = b.Codec.Decode(record, s.Limits)
	}
	if err == nil && s.Handler != nil {
		reply, err = w.call(ctx, r)
	}
	switch {
	case errors.Is(err, ErrUnavailable):
		return faultOfStore(ctx, err)
	case err != nil:
		fault := refusal(err)
		t.answers = append(t.answers, dialect.Answer{Index: index, Err: fault})
		return t.reject(w, b, record, fault, -1)
	case reply != nil:
		t.answers = append(t.answers, dialect.Answer{Index: index, Reply: reply})
	}
	if storedAsItCame(b.Codec) {
		t.keep(w, b.Codec.Name(), record)
		return nil
	}
	stored, err := cbor.Codec{}.Append(nil, r.dict)
	if err != nil {
		return &dialect.Error{Code: dialect.Internal, Text: "the record can't be stored", At: -1, Err: err}
	}
	t.keep(w, cbor.Codec{}.Name(), stored)
	return nil
}

// refusal returns the fault of a record that a decoder or the handler refused.
func refusal(err error) *dialect.Error {
	var (
		fault  *dialect.Error
		syntax *codec.SyntaxError
	)
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.As(err, &syntax):
		fault = dialect.FaultOf(err, 0)
		fault.At = -1 // what its text says counts from the record's first byte
		return fault
	default:
		return &dialect.Error{Code: dialect.Handler, Text: err.Error(), At: -1, Err: err}
	}
}

// call calls the handler. A panic of it is an error.
func (w *writer) call(ctx context.Context, r *Request) (reply *dict.Dict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &dialect.Error{
				Code: dialect.Internal, Text: "the handler failed", At: -1,
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return w.in.s.Handler.Handle(ctx, r)
}

// Records smaller than freeDecoding bytes are not counted when they are decoded.
const freeDecoding = 4 << 10

// decodingCost returns how many bytes of memory decoding takes for each byte of a
// record at most: two nodes of 16 bytes for each item, of which there are no more
// than bytes. Where the scanner only frames, the decoder needs 128 more.
func decodingCost(c codec.Codec) int64 {
	if codec.FramesOnly(c) {
		return 160
	}
	return 32
}
