package dictwire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// A writer takes in the records of one topic from one connection: see
// [dialect.Writer].
type writer struct {
	in       *intake
	dialect  string
	topic    string
	producer store.Producer // the zero value where the records take no numbers
	claim    store.Claim
	next     uint64 // the number of the next record
	fence    func(*dialect.Error)
}

// Write implements [dialect.Intake].
func (in *intake) Write(ctx context.Context, r dialect.WriteRequest) (dialect.Writer, error) {
	s := in.s
	w := &writer{in: in, dialect: r.Dialect, topic: r.Topic, next: 1, fence: r.Fence}
	if w.topic == "" {
		w.topic = s.topic
	}
	if err := checkTopic(w.topic); err != nil {
		return nil, err
	}
	if r.Producer == "" {
		return w, nil
	}
	w.producer = store.Producer{Topic: w.topic, Name: r.Producer}
	if err := w.producer.Check(); err != nil {
		return nil, &dialect.Error{Code: codec.Malformed, At: -1, Text: err.Error(), Err: err}
	}
	var err error
	if w.claim, err = s.store.Claim(ctx, w.producer, r.Claim); err != nil {
		return nil, faultOfStore(ctx, err)
	}
	if w.claim.Lost {
		s.logLoss(in, w, r.Claim)
	}
	w.next = w.claim.Next
	s.holders.write(w)
	return w, nil
}

func checkTopic(topic string) error {
	if strings.HasPrefix(topic, "_") {
		return &dialect.Error{
			Code: dialect.Topic, At: -1,
			Text: fmt.Sprintf("topic %q: names that begin with _ are the server's own", topic),
		}
	}
	if err := store.CheckTopic(topic); err != nil {
		return &dialect.Error{Code: dialect.Topic, At: -1, Text: err.Error(), Err: err}
	}
	return nil
}

// Claim implements [dialect.Writer].
func (w *writer) Claim() store.Claim { return w.claim }

// Close implements [dialect.Writer].
func (w *writer) Close() {
	if !w.producer.IsZero() {
		w.in.s.holders.endWrite(w)
	}
}

// Rejections implements [dialect.Writer].
func (w *writer) Rejections(ctx context.Context, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		if w.producer.IsZero() {
			return
		}
		for r, err := range w.in.s.store.Rejections(ctx, w.producer, after) {
			if err != nil {
				yield(r, faultOfStore(ctx, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// A take is records on their way into the store, as blocks of those in a row
// that lie in one topic.
type take struct {
	blocks  []*store.Block
	spare   []*store.Block
	answers []dialect.Answer
	records int // that are settled with it
	good    int // of them, those that were not rejected
	bytes   int // of the good ones
}

var takes = sync.Pool{New: func() any { return new(take) }}

// maxKept is how many bytes of a block are kept for the next one.
const maxKept = 256 << 10

func (t *take) recycle() {
	for _, b := range t.blocks {
		if cap(b.Data) <= maxKept && len(t.spare) < 4 {
			t.spare = append(t.spare, b)
		}
	}
	clear(t.blocks)
	clear(t.answers)
	t.blocks, t.answers = t.blocks[:0], t.answers[:0]
	t.records, t.good, t.bytes = 0, 0, 0
	takes.Put(t)
}

// block returns the block for the next record.
func (t *take) block(w *writer, topic, format string) *store.Block {
	if n := len(t.blocks); n > 0 && t.blocks[n-1].Topic == topic && t.blocks[n-1].Codec == format {
		return t.blocks[n-1]
	}
	b := &store.Block{}
	if n := len(t.spare); n > 0 {
		b, t.spare = t.spare[n-1], t.spare[:n-1]
		b.Reset()
	}
	b.Topic, b.Codec, b.Peer, b.Received = topic, format, w.in.peer, time.Now()
	b.Producer, b.Epoch, b.First, b.Note = store.Producer{}, 0, 0, b.Note[:0]
	if !w.producer.IsZero() {
		b.Producer, b.Epoch, b.First = w.producer, w.claim.Epoch, w.next+uint64(t.records)
	}
	t.blocks = append(t.blocks, b)
	return b
}

// keep takes in a good record.
func (t *take) keep(w *writer, format string, record []byte) {
	t.block(w, w.topic, format).Add(record)
	t.records++
	t.good++
	t.bytes += len(record)
}

// reject takes in a record that was rejected.
func (t *take) reject(w *writer, r *dialect.Rejection) error {
	record, err := w.rejected(r, w.next+uint64(t.records))
	if err != nil {
		return err
	}
	b := t.block(w, store.Rejected, cbor.Codec{}.Name())
	b.Add(record)
	if !w.producer.IsZero() {
		b.Rejected = append(b.Rejected, store.Rejection{
			Number: w.next + uint64(t.records), Code: string(r.Err.Code), Text: cut(r.Err.Told(), store.MaxText),
		})
	}
	t.records++
	return nil
}

// note gives the last block the CRC-32C of the last record as it was received,
// for the producer's next claim.
func (t *take) note(w *writer, record []byte) {
	if w.producer.IsZero() || len(t.blocks) == 0 {
		return
	}
	b := t.blocks[len(t.blocks)-1]
	b.Note = binary.BigEndian.AppendUint32(b.Note[:0], crc32.Checksum(record, castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// settle makes all durable.
func (t *take) settle(ctx context.Context, w *writer) error {
	if t.records == 0 {
		return nil
	}
	s := w.in.s
	for _, r := range s.store.Append(ctx, t.blocks...) {
		if r.Err != nil {
			return faultOfStore(ctx, r.Err)
		}
	}
	w.next += uint64(t.records)
	s.stats.records.Add(int64(t.good))
	s.stats.bytes.Add(int64(t.bytes))
	s.stats.rejected.Add(int64(t.records - t.good))
	return nil
}

// Take implements [dialect.Writer].
func (w *writer) Take(ctx context.Context, b *dialect.Batch, answer func(dialect.Answer) error) (int, error) {
	t := takes.Get().(*take)
	defer t.recycle()
	var failed error
	if w.in.s.Handler == nil && storedAsItCame(b.Codec) {
		for _, record := range b.Records {
			t.keep(w, b.Codec.Name(), record)
		}
	} else {
		for i, record := range b.Records {
			if failed = w.judge(ctx, t, b, i, record); failed != nil {
				break
			}
		}
	}
	if t.records > 0 {
		t.note(w, b.Records[t.records-1])
	}
	if err := t.settle(ctx, w); err != nil {
		return 0, err
	}
	for _, a := range t.answers {
		if a.Err != nil {
			w.in.refuse(w.dialect, b.Codec.Name(), a.Err)
		}
		if answer == nil {
			continue
		}
		if err := answer(a); err != nil {
			return t.records, err
		}
	}
	return t.records, failed
}

// Reject implements [dialect.Writer].
func (w *writer) Reject(ctx context.Context, r *dialect.Rejection) error {
	t := takes.Get().(*take)
	defer t.recycle()
	if err := t.reject(w, r); err != nil {
		return err
	}
	if err := t.settle(ctx, w); err != nil {
		return err
	}
	w.in.refuse(w.dialect, r.Codec.Name(), r.Err)
	return nil
}

// storedAsItCame reports whether records of a format are stored in it. The others
// are stored as CBOR, which holds everything.
func storedAsItCame(c codec.Codec) bool {
	return slices.Contains([]string{"json", "cbor", "msgpack"}, c.Name())
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
		return t.reject(w, &dialect.Rejection{Codec: b.Codec, Err: fault, At: -1, Bytes: record})
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
