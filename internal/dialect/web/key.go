package web

import (
	"bytes"
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

// A request with an Idempotency-Key is settled once. Its records are numbered, as those
// of a producer that the key names, and each of their blocks has the sum of the whole
// body as its note. So a request that comes again goes on after what is settled,
// however the first one ended, and is told the same.

const (
	maxKey      = 255          // bytes of a key
	maxOnce     = 8 << 20      // bytes of a body that has one
	maxOnceSize = store.Window // records in it: so many keep their rejections
)

// keyOf returns the key of a request, without quotes; "" where it has none.
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

// keys are those of the requests that are under way.
type keys struct {
	mu  sync.Mutex
	all map[underway]struct{} // guarded by mu
}

type underway struct{ principal, topic, key string }

// begin reports whether no request with the key is under way, and notes that one is.
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

// end undoes begin.
func (k *keys) end(u underway) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, u)
}

// writeOnce is write of a request with a key.
func (d *web) writeOnce(ctx context.Context, p *posting, session dialect.Session, topic, key string, cd codec.Codec, body *dialect.Body) error {
	u := underway{session.Principal(), topic, key}
	if !d.keys.begin(u) {
		return &problem{status: http.StatusConflict, fault: &fault.Error{
			Code: fault.Conflict, At: -1,
			Text: "a request with this Idempotency-Key is under way",
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
	if err := requestOf(p.r).worker.BeginLong(ctx); err != nil {
		return err
	}
	q, err := d.sequence(ctx, cd, dialect.NewChunk(all))
	if err != nil {
		return err
	}
	if err := p.count(ctx, d, q); err != nil {
		return err
	}
	if q, err = d.sequence(ctx, cd, dialect.NewChunk(all)); err != nil {
		return err
	}
	format := ""
	if cd != nil {
		format = cd.Name()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%x", format, sha256.Sum256(all)))
	p.once = true
	p.records, err = session.Write(ctx, dialect.WriteRequest{Dialect: name, Topic: topic, Key: key, Note: sum[:], Patience: patience})
	if err != nil {
		return err
	}
	defer p.records.Close()
	claim := p.records.Claim()
	if claim.Next > 1 && !bytes.Equal(claim.Note, sum[:]) {
		return &fault.Error{
			Code: fault.Conflict, At: -1,
			Text: "the Idempotency-Key was used for another body; nothing was taken",
			Hint: "each request has a key of its own",
		}
	}
	p.skip = int(claim.Next - 1)
	p.settled = p.skip
	for rejection, err := range p.records.Rejections(ctx, 0) {
		if err != nil {
			return err
		}
		p.reject(int(rejection.Number-1), &fault.Error{Code: fault.Code(rejection.Code), Text: rejection.Text, Reason: rejection.Reason, At: -1})
	}
	if err := p.each(ctx, q); err != nil {
		return p.failed(err)
	}
	return p.answer()
}

// count looks at all records before one is taken. It returns a fault where there are too
// many, and finds out whether the first one ends the sequence, which only its decoding
// tells: see [dialect.Sequence.FirstAlone].
func (p *posting) count(ctx context.Context, d *web, q *dialect.Sequence) error {
	n := 0
	err := q.Each(ctx, func(b *dialect.Batch) error {
		if n == 0 && q.FirstAlone && len(b.Bad) == 0 {
			if _, err := b.Codec.Decode(b.Records[0], d.Limits()); err != nil {
				p.ends = dialect.FaultOf(err, 0)
				return p.ends
			}
		}
		if n += len(b.Records); n > maxOnceSize {
			return &problem{status: http.StatusRequestEntityTooLarge, fault: &fault.Error{
				Code: fault.OverLimit, At: -1,
				Text: fmt.Sprintf("more than %d records in a request with an Idempotency-Key", maxOnceSize),
				Hint: "send them in several requests",
			}}
		}
		return nil
	})
	var f *fault.Error
	if errors.As(err, &f) && (q.Ends(f) || f == p.ends) {
		return nil
	}
	return err
}
