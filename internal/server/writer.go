package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// A writer accepts the records of one topic from one connection. It implements
// [dialect.Writer].
type writer struct {
	session  *session
	dialect  string
	topic    string
	producer store.Producer // the zero value if the records are not numbered
	claim    store.Claim
	note     []byte // for the producer's next claim; nil: the checksum of the last record
	onSome   func(int) error
	next     uint64        // the number of the next record
	scanner  codec.Scanner // checks converted records; nil until it is needed
	unfence  func() bool
	rows     int                    // rejections that have a row of their own
	folded   folded                 // rejections of records without numbers that share a row
	bare     bare                   // rejections of numbered records that are kept as codes only
	check    func(*dict.Dict) error // the topic's schema, or nil
	came     time.Time              // when the current batch did
	failures int                    // of the handler, in a row, for the next record
	patience time.Duration          // see dialect.WriteRequest

	whole func(context.Context, int64) error // likewise
}

// Write implements [dialect.Session].
func (in *session) Write(ctx context.Context, r dialect.WriteRequest) (dialect.Writer, error) {
	s := in.s
	w := &writer{session: in, dialect: r.Dialect, topic: r.Topic, note: r.Note, onSome: r.Settled, patience: r.Patience, whole: r.Whole, next: 1}
	if w.topic == "" {
		w.topic = s.Topic
	}
	// A reader rejects a record that it can't use by writing it to _rejected.
	if err := checkTopic(w.topic); err != nil && (w.topic != store.Rejected || r.Producer == "") {
		return nil, err
	}
	if err := in.allow(access.Send, w.topic); err != nil {
		return nil, err
	}
	switch {
	case r.Key != "":
		r.Producer, r.Claim.Expire = keyed(r.Key), keyExpire
	case r.Producer == "":
		return w, nil
	case strings.HasPrefix(r.Producer, keyPrefix):
		return nil, &fault.Error{
			Code: fault.Malformed, At: -1,
			Text: fmt.Sprintf("producer %.40q: names that begin with %s are the server's own", r.Producer, keyPrefix),
		}
	}
	w.producer = store.Producer{Principal: in.principal, Topic: w.topic, Name: r.Producer}
	if err := w.producer.Check(); err != nil {
		return nil, &fault.Error{Code: fault.Malformed, At: -1, Text: err.Error(), Err: err}
	}
	if err := in.used(); err != nil {
		return nil, err
	}
	in.worker.Rest()
	var err error
	if w.claim, err = s.store.Claim(ctx, w.producer, r.Claim); err != nil {
		return nil, faultOfStore(ctx, err)
	}
	if w.claim.Lost {
		s.logLoss(in, w, r.Claim)
	}
	w.next = w.claim.Next
	if len(w.claim.Note) > 0 {
		in.vouch() // the producer has stored records over another connection
	}
	w.watch(r.Fence)
	return w, nil
}

// watch calls fence when the claim is lost.
func (w *writer) watch(fence func(*fault.Error)) { w.unfence = onFence(w.claim.Fenced, fence) }

// An idempotency key becomes the name of a producer: a hash, so that its length is bounded.
const (
	keyPrefix = "_key."
	keyExpire = 24 * time.Hour
)

func keyed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return keyPrefix + hex.EncodeToString(sum[:])
}

func checkTopic(topic string) error {
	if strings.HasPrefix(topic, "_") {
		return &fault.Error{
			Code: fault.Topic, At: -1,
			Text: fmt.Sprintf("topic %q: names that begin with _ are the server's own", topic),
		}
	}
	if err := store.CheckTopic(topic); err != nil {
		return &fault.Error{Code: fault.Topic, At: -1, Text: err.Error(), Err: err}
	}
	return nil
}

// Claim implements [dialect.Writer].
func (w *writer) Claim() store.Claim { return w.claim }

// Close implements [dialect.Writer].
func (w *writer) Close() {
	w.folded.close(w)
	if !w.producer.IsZero() {
		w.unfence()
		w.session.s.store.Release(w.producer, w.claim.Epoch)
	}
}

// Rejections implements [dialect.Writer].
func (w *writer) Rejections(ctx context.Context, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		if w.producer.IsZero() {
			return
		}
		for r, err := range w.session.s.store.Rejections(ctx, w.producer, after) {
			if err != nil {
				yield(r, faultOfStore(ctx, err))
				return
			}
			// A newer claim may have added rejections of its own records.
			if r.Number >= w.claim.Next || !yield(r, nil) {
				return
			}
		}
	}
}

// Take implements [dialect.Writer].
func (w *writer) Take(ctx context.Context, b *dialect.WriteBatch, answer func(dialect.Answer) error) (settled dialect.Settled, err error) {
	if err := w.begin(ctx, b); err != nil {
		return settled, err
	}
	for settled.Records < len(b.Records) && err == nil {
		var some dialect.Settled
		if err = w.pause(ctx); err == nil {
			some, err = w.takeSome(ctx, b, settled.Records, answer)
		}
		settled.Records += some.Records
		if !some.Next.IsZero() {
			settled.Next = some.Next
		}
		if err == nil && w.onSome != nil && some.Records > 0 && settled.Records < len(b.Records) {
			err = w.onSome(settled.Records)
		}
	}
	return settled, err
}

// begin notes that a batch has come, and waits until it may be taken.
func (w *writer) begin(ctx context.Context, b *dialect.WriteBatch) error {
	if err := w.session.used(); err != nil {
		return err
	}
	w.came = time.Now()
	w.session.conn.SpokeAt(w.came)
	return w.pace(ctx, b, w.came)
}

// maxSubmitted limits the records that are submitted, in bytes. More of them are worth a
// goroutine that waits, and leaves those that come meanwhile in the socket, for one append.
const maxSubmitted = 4 << 10

// Submitter implements [dialect.Writer].
func (w *writer) Submitter(ctx context.Context, done func(dialect.Settled, error)) func(*dialect.WriteBatch) (bool, error) {
	s := w.session.s
	log, ok := s.store.(store.Submitter)
	if !ok || w.whole != nil {
		return nil
	}
	var t *pendingAppend
	landed := func(results []store.Result) {
		settled, n := dialect.Settled{}, t.records
		next, err := t.settled(ctx, w, results)
		if err == nil {
			settled = dialect.Settled{Records: n, Next: next}
		}
		t.recycle()
		done(settled, err)
	}
	return func(b *dialect.WriteBatch) (bool, error) {
		if len(b.Records) != 1 || len(b.Records[0]) > maxSubmitted || !w.isPlain(b) {
			return false, nil
		}
		if err := w.begin(ctx, b); err != nil {
			return false, err
		}
		t = newPendingAppend(s.rules.Building.Share(w.session.conn.Known()), s.store.Limits().BlockBytes)
		if err := t.keepAll(ctx, w, b); err != nil {
			t.recycle()
			return false, err
		}
		t.note(w, b.LastSum(t.records))
		t.finish()
		w.session.worker.Rest()
		log.Submit(ctx, landed, t.blocks...)
		return true, nil
	}
}

// isPlain reports whether the records of a batch are stored as they came, whatever is in
// them.
func (w *writer) isPlain(b *dialect.WriteBatch) bool {
	s := w.session.s
	w.check = nil
	if s.Schema != nil && !strings.HasPrefix(w.topic, "_") {
		w.check = s.Schema(w.topic)
	}
	return s.Handler == nil && w.check == nil && storedAsItCame(b.Codec) && len(b.Bad) == 0
}

// beginLong waits for a turn to decide about records. With a handler there is no turn, since
// the handler may wait for anything.
func (w *writer) beginLong(ctx context.Context) error {
	if w.session.s.Handler != nil {
		return nil
	}
	return w.session.worker.BeginLong(ctx)
}

// takeSome accepts and settles records from an index on: all of them if there is enough
// memory, and at least one.
func (w *writer) takeSome(ctx context.Context, b *dialect.WriteBatch, from int, answer func(dialect.Answer) error) (settled dialect.Settled, err error) {
	s := w.session.s
	plain := w.isPlain(b)
	if !plain {
		if err := w.beginLong(ctx); err != nil {
			return settled, err
		}
		defer w.session.worker.Rest()
	}
	t := newPendingAppend(s.rules.Building.Share(w.session.conn.Known()), s.store.Limits().BlockBytes) // after the turn has begun, since many writers may wait for theirs
	t.ahead, t.strict = w.whole != nil, b.Strict
	defer t.recycle()
	var failed error
	switch {
	case plain:
		failed = t.keepAll(ctx, w, b)
	case w.whole != nil:
		failed = w.decideWhole(ctx, t, b)
	default:
		failed = w.decideAll(ctx, t, b, from)
	}
	if failed != nil && w.whole != nil {
		return settled, failed
	}
	if t.records > 0 {
		t.note(w, b.LastSum(from+t.records))
	}
	w.session.worker.Rest()
	if settled.Next, err = t.settle(ctx, w); err != nil {
		return settled, err
	}
	settled.Records = t.records
	for _, a := range t.answers {
		if a.Err != nil {
			w.session.refuse(w.dialect, b.Codec.Name(), a.Err)
		}
		if answer == nil {
			continue
		}
		if err := answer(a); err != nil {
			return settled, err
		}
	}
	return settled, failed
}
