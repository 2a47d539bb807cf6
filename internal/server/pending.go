package server

import (
	"context"
	"slices"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

// A pendingAppend collects the records of one batch that the store gets in one append,
// grouped into blocks by topic and format.
type pendingAppend struct {
	blocks  []*store.Block
	spare   []*store.Block
	scratch []byte // for a record's stored form
	answers []dialect.Answer
	records int          // all that the append settles
	codes   []fault.Code // of the rejected ones
	good    int          // how many are not rejected
	bytes   int          // of the good ones
	size    int64        // of the records in blocks, in bytes
	most    int          // limit of a block's records, in bytes
	strict  bool         // the records are known not to be beyond their format's standard

	room *lease.Share

	// A batch that is settled as a whole (ahead) is charged to its sender: see charge. room
	// is then only for the current record.
	ahead   bool
	charged int64
	faults  int64 // bytes of the texts of rejections
}

var pendingAppends = sync.Pool{New: func() any { return new(pendingAppend) }}

const (
	// maxKept limits the memory of a block that is reused, in bytes: as much as a known peer
	// may have buffered. While it waits for reuse, it is charged to nobody.
	maxKept = 256 << 10

	// fullAppend is the charge, in bytes of memory, at which an append is settled before the
	// rest of its batch.
	fullAppend = 2 << 20
)

func newPendingAppend(room *lease.Share, most int) *pendingAppend {
	t := pendingAppends.Get().(*pendingAppend)
	t.room, t.most = room, most
	return t
}

func (t *pendingAppend) recycle() {
	t.room.Keep(0)
	for _, b := range t.blocks {
		if cap(b.Data) <= maxKept && len(t.spare) == 0 {
			t.spare = append(t.spare, b)
		}
	}
	if cap(t.scratch) > maxKept {
		t.scratch = nil
	}
	clear(t.blocks)
	clear(t.answers)
	*t = pendingAppend{blocks: t.blocks[:0], spare: t.spare, scratch: t.scratch[:0], answers: t.answers[:0], codes: t.codes[:0]}
	pendingAppends.Put(t)
}

// hold charges n more bytes before they are built. It waits for memory only if t has no
// records yet; else it reports false if there is none, and t must be settled first. After ctx
// ends it returns an error.
func (t *pendingAppend) hold(ctx context.Context, n int64) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if t.ahead {
		t.room.Keep(0)
		return true, t.room.Take(ctx, n)
	}
	if t.records > 0 && t.room.Size() >= fullAppend {
		return false, nil
	}
	if t.room.TryTake(n) {
		return true, nil
	}
	if t.records > 0 {
		return false, nil
	}
	t.room.Keep(0)
	err := t.room.Take(ctx, n)
	return err == nil, err
}

// Charges of a batch that is settled as a whole, in bytes, in addition to storingCost.
const (
	blockCost = 1 << 10 // for each block
	faultCost = 512     // for each rejection, in addition to its text
	minCharge = 64 << 10
)

// charge charges the sender of a batch that is settled as a whole for all that t holds and
// for n more bytes to store.
func (t *pendingAppend) charge(ctx context.Context, w *writer, n int64) error {
	t.room.Keep(0) // before it waits
	cost := storingCost*(t.size+n) + blockCost*int64(len(t.blocks)) + t.faults
	if cost <= t.charged {
		return nil
	}
	cost = max(cost, 2*t.charged, minCharge)
	w.session.worker.Rest()
	if err := w.whole(ctx, cost); err != nil {
		return err
	}
	t.charged = cost
	return w.beginLong(ctx)
}

// block returns the block for the next record, of n bytes. Numbered records must be
// consecutive within a block, so only the last block can take one; others go to the last
// block of their topic. Records of a topic keep their order.
func (t *pendingAppend) block(w *writer, topic, format string, n int) *store.Block {
	room := t.most - n
	for _, b := range slices.Backward(t.blocks) {
		if b.Topic == topic && b.Codec == format && len(b.Data) <= room && len(b.Rejected) < store.MaxRejections {
			return b
		}
		if b.Topic == topic || !w.producer.IsZero() {
			break
		}
	}
	b := &store.Block{}
	if n := len(t.spare); n > 0 {
		b, t.spare = t.spare[n-1], t.spare[:n-1]
		b.Reset()
	}
	b.Topic, b.Codec, b.Peer, b.Received, b.Principal = topic, format, w.session.peer, w.came, w.session.principal
	b.Producer, b.Epoch, b.First, b.Note = store.Producer{}, 0, 0, b.Note[:0]
	if !w.producer.IsZero() {
		b.Producer, b.Epoch, b.First = w.producer, w.claim.Epoch, w.next+uint64(t.records)
	}
	t.blocks = append(t.blocks, b)
	return b
}

// keep adds a good record and the time of its event, or store.UnknownTime.
func (t *pendingAppend) keep(w *writer, format string, record []byte, event int64) {
	b := t.block(w, w.topic, format, len(record))
	b.Add(record)
	b.AddTime(event)
	t.kept(1, len(record))
}

// kept counts good records that were added, and their bytes.
func (t *pendingAppend) kept(records, bytes int) {
	t.size += int64(bytes)
	t.records += records
	t.good += records
	t.bytes += bytes
}

// keepAll adds all records of a batch whose records are all good and stored unchanged.
func (t *pendingAppend) keepAll(ctx context.Context, w *writer, b *dialect.WriteBatch) error {
	size := 0
	for _, record := range b.Records {
		size += len(record)
	}
	var err error
	if t.ahead {
		err = t.charge(ctx, w, int64(size))
	} else {
		_, err = t.hold(ctx, storingCost*int64(size))
	}
	if err != nil {
		return err
	}
	format := b.Codec.Name()
	if size > t.most { // it takes several blocks
		for i, record := range b.Records {
			t.keep(w, format, record, b.Time(i))
		}
		return nil
	}
	block := t.block(w, w.topic, format, size)
	block.Grow(size)
	for i, record := range b.Records {
		block.Add(record)
		block.AddTime(b.Time(i))
	}
	t.kept(len(b.Records), size)
	return nil
}

// reject adds the rejection of a record, of which bytes is what was received. offset is
// the place of the fault in it, or -1.
func (t *pendingAppend) reject(w *writer, b *dialect.WriteBatch, bytes []byte, f *fault.Error, offset int64) error {
	number := w.next + uint64(t.records)
	record, err := w.row(codec.Of(b.Codec, bytes).Name(), bytes, f, offset, number)
	if err != nil {
		return err
	}
	t.codes = append(t.codes, f.Code)
	t.faults += faultCost + 2*int64(len(f.Text)+len(f.Hint))
	if record == nil {
		t.records++
		return nil
	}
	block := t.block(w, store.Rejected, rejection.Codec.Name(), len(record))
	block.Add(record)
	t.size += int64(len(record))
	if !w.producer.IsZero() {
		block.Rejected = append(block.Rejected, store.Rejection{
			Number: number, Code: string(f.Code), Reason: f.Reason, Text: cut(f.Told(), store.MaxText),
		})
	}
	t.records++
	return nil
}

// note puts the writer's note or the last record's checksum into the last block, where the
// producer's next claim finds it.
func (t *pendingAppend) note(w *writer, sum dialect.Sum) {
	if w.producer.IsZero() || len(t.blocks) == 0 {
		return
	}
	b := t.blocks[len(t.blocks)-1]
	if w.note != nil {
		b.Note = append(b.Note[:0], w.note...)
		return
	}
	b.Note = sum.Append(b.Note[:0])
}

// settle appends the blocks to the store, and returns the position after them.
func (t *pendingAppend) settle(ctx context.Context, w *writer) (next store.Position, err error) {
	if t.records == 0 {
		return next, nil
	}
	if len(t.blocks) == 0 { // all records were folded rejections
		return t.settled(ctx, w, nil)
	}
	t.finish()
	return t.settled(ctx, w, w.session.s.store.Append(ctx, t.blocks...))
}

// finish readies the blocks to be stored.
func (t *pendingAppend) finish() {
	for _, b := range t.blocks {
		b.Extended = !t.strict && b.Codec == json.Codec{}.Name()
	}
}

// settled counts the records once their blocks are stored, and returns the position after
// them.
func (t *pendingAppend) settled(ctx context.Context, w *writer, results []store.Result) (next store.Position, err error) {
	s := w.session.s
	for i, r := range results {
		if r.Err != nil {
			return store.Position{}, faultOfStore(ctx, r.Err)
		}
		end := r.Position
		if end.Index += uint32(len(t.blocks[i].Lengths)); next.IsZero() || end.Compare(next) > 0 {
			next = end
		}
	}
	w.next += uint64(t.records)
	w.session.settled(t.good, t.records-t.good)
	s.stats.records.Add(int64(t.good))
	s.stats.bytes.Add(int64(t.bytes))
	s.stats.rejected.Add(int64(t.records - t.good))
	s.stats.rejectedBy(t.codes)
	return next, nil
}
