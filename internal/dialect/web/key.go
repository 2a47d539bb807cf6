package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// A request with an Idempotency-Key is settled exactly once: one append stores all its
// records and their rejections. The key names a producer that numbers the records, and the
// producer's note is the checksum of the body. A repeated request gets the same answer,
// made from what the store has, whatever became of the first one.

const (
	maxKey      = 255          // bytes of a key
	maxOnce     = 8 << 20      // bytes of the body of a request with a key
	maxOnceSize = store.Window // records in it, so that the store keeps all their rejections
	maxOnceRoom = 32 << 20     // bytes of memory for the outcomes of its records
)

// keyOf returns the key of a request, without quotes, or "".
func keyOf(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	if len(values) > 1 || key == "" || len(key) > maxKey {
		return "", &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("want one Idempotency-Key of 1 to %d bytes", maxKey)}
	}
	return key, nil
}

// keys holds the keys of the requests in progress.
type keys struct {
	mu  sync.Mutex
	all map[underway]struct{} // guarded by mu
}

type underway struct{ principal, topic, key string }

// begin adds a key. It reports false if a request with that key is in progress.
func (k *keys) begin(u underway) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, is := k.all[u]; is {
		return false
	}
	if k.all == nil {
		k.all = make(map[underway]struct{})
	}
	k.all[u] = struct{}{}
	return true
}

// end removes a key.
func (k *keys) end(u underway) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, u)
}

// writeOnce is write for a request with a key.
func (d *web) writeOnce(ctx context.Context, p *posting, session dialect.Session, topic, key string, cd codec.Codec, body *dialect.Body) error {
	u := underway{session.Principal(), topic, key}
	if !d.keys.begin(u) {
		return &problem{status: http.StatusConflict, fault: &fault.Error{
			Code: fault.Conflict, At: -1,
			Text: "a request with this Idempotency-Key is in progress",
			Hint: "send it again when that is answered",
		}}
	}
	defer d.keys.end(u)
	size := int64(-1)
	if p.r.Header.Get("Content-Encoding") == "" {
		size = p.r.ContentLength
	}
	all, err := body.All(ctx, size, maxOnce)
	if err != nil {
		return err
	}
	format := ""
	if cd != nil {
		format = cd.Name()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%x", format, sha256.Sum256(all)))
	o := &once{body: body}
	if err := o.scan(ctx, d, requestOf(p.r).worker, cd, all); err != nil {
		return err
	}
	p.once = true
	p.records, err = session.Write(ctx, dialect.WriteRequest{
		Dialect: name, Topic: topic, Key: key, Note: noteOf(sum, o.ends != nil), Patience: patience, Whole: o.hold,
	})
	if err != nil {
		return err
	}
	defer p.records.Close()
	if claim := p.records.Claim(); claim.Next > 1 {
		return p.again(ctx, claim, sum, o.ends)
	}
	p.found = len(o.batch.Records)
	settled, err := p.records.Take(ctx, &o.batch, func(a dialect.Answer) error {
		p.reject(a.Index, a.Err)
		return nil
	})
	if err != nil {
		return err
	}
	p.settled = settled.Records
	p.ends = o.ends
	return p.answer()
}

// again answers a repeated request like the first one. ends is the fault that ends the
// sequence under the current limits.
func (p *posting) again(ctx context.Context, claim store.Claim, sum [sha256.Size]byte, ends *fault.Error) error {
	ended := bytes.Equal(claim.Note, noteOf(sum, true))
	if !ended && !bytes.Equal(claim.Note, noteOf(sum, false)) {
		return &fault.Error{
			Code: fault.Conflict, At: -1,
			Text: "the Idempotency-Key was used for another body; nothing was taken",
			Hint: "each request has a key of its own",
		}
	}
	p.found = int(claim.Next - 1)
	p.settled = p.found
	for rejection, err := range p.records.Rejections(ctx, 0) {
		if err != nil {
			return err
		}
		p.reject(int(rejection.Number-1), &fault.Error{Code: fault.Code(rejection.Code), Text: rejection.Text, Reason: rejection.Reason, At: -1})
	}
	if ended {
		p.ends = cmp.Or(ends, p.last)
	}
	return p.answer()
}

// noteOf returns the producer's note of a request: the checksum of its body, and whether a
// bad last record ended the sequence.
func noteOf(sum [sha256.Size]byte, ends bool) []byte {
	if ends {
		return append(sum[:], 1)
	}
	return append(sum[:], 0)
}

// A once holds the records of a request with a key.
type once struct {
	body  *dialect.Body
	batch dialect.WriteBatch
	ends  *fault.Error // the fault of the last record, which ends the sequence; nil if the body ends it
	held  int64        // bytes of memory from the last call of hold
}

// The memory that a record takes in addition to its bytes, and the memory for the fault of
// a bad one.
const (
	recordCost = 64
	badCost    = 512
)

// scan finds all records before any is stored, so that none is if there are too many. It
// decodes the first one, since that may end the sequence: see
// [dialect.Sequence.FirstAlone].
func (o *once) scan(ctx context.Context, d *web, worker *dialect.Worker, cd codec.Codec, all []byte) error {
	if err := worker.BeginLong(ctx); err != nil {
		return err
	}
	q, err := d.sequence(ctx, cd, dialect.NewChunk(all))
	if err != nil {
		return err
	}
	var first *fault.Error
	err = q.Each(ctx, func(b *dialect.WriteBatch) error {
		n := len(o.batch.Records)
		if n+len(b.Records) > maxOnceSize {
			return tooMuch(fmt.Sprintf("more than %d records in a request with an Idempotency-Key", maxOnceSize))
		}
		if err := o.body.Hold(ctx, recordCost*int64(len(b.Records))+badCost*int64(len(b.Bad))); err != nil {
			return err
		}
		if err := worker.BeginLong(ctx); err != nil {
			return err
		}
		o.batch.Codec = b.Codec
		o.batch.Records = append(o.batch.Records, b.Records...)
		for _, bad := range b.Bad {
			bad.Index += n
			o.batch.Bad = append(o.batch.Bad, bad)
		}
		if n == 0 && q.FirstAlone && len(b.Bad) == 0 {
			if _, err := b.Codec.Decode(b.Records[0], d.Limits()); err != nil {
				first = dialect.FaultOf(err, 0)
				return first
			}
		}
		return nil
	})
	var f *fault.Error
	if errors.As(err, &f) && (f == first || q.Ends(f)) {
		o.ends, err = f, nil
	}
	if err == nil && len(o.batch.Records) == 0 {
		err = errEmpty
	}
	return err
}

// hold implements [dialect.WriteRequest].Whole.
func (o *once) hold(ctx context.Context, bytes int64) error {
	if bytes > maxOnceRoom {
		return tooMuch("the outcomes of the records need more memory than a request with an Idempotency-Key may use")
	}
	err := o.body.Hold(ctx, bytes-o.held)
	o.held = bytes
	return err
}

// tooMuch is the fault of a request with a key that exceeds a limit.
func tooMuch(text string) error {
	return &problem{status: http.StatusRequestEntityTooLarge, fault: &fault.Error{
		Code: fault.OverLimit, At: -1, Text: text + "; nothing was taken", Hint: "send them in several requests",
	}}
}
