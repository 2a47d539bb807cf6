package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

const (
	maxListed  = 100       // rejections in an answer
	maxReplies = 256 << 10 // bytes of replies that are buffered while the body is read

	patience = 10 * time.Second // how long a request waits if its principal sends too fast

	ndjson = "application/x-ndjson"
)

// open opens the session of a request.
func (d *web) open(r *http.Request) (dialect.Session, error) {
	c := requestOf(r)
	token, err := d.tokenOf(r)
	if err != nil {
		return nil, err
	}
	s, err := c.in.Open(r.Context(), dialect.Credentials{Token: token, Worker: c.worker})
	var f *fault.Error
	if errors.As(err, &f) && f.Code == fault.Unauthenticated && f.Hint != "" {
		inHeader := *f
		inHeader.Hint = bearerHint
		return nil, &inHeader
	}
	if err == nil {
		c.dw.Spoke()
	}
	return s, err
}

// bearer returns the token of a request, or "".
func bearer(r *http.Request) (string, error) {
	text := r.Header.Get("Authorization")
	if text == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the scheme of the Authorization header is not supported", Hint: bearerHint}
	}
	return strings.TrimSpace(token), nil
}

const bearerHint = "send the header Authorization: Bearer TOKEN"

// write stores the records that are posted to a topic.
func (d *web) write(w http.ResponseWriter, r *http.Request) error {
	cd, err := d.formatOf(r)
	if err != nil {
		return err
	}
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	ctx, topic := r.Context(), r.PathValue("topic")
	records, err := session.Write(ctx, dialect.WriteRequest{Dialect: name, Topic: topic, Patience: patience})
	if err != nil {
		return err
	}
	defer records.Close()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(headerTime)) // so that a dead connection fails the read
	plain, needs, err := unpacked(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &fault.Error{Code: fault.Rate, At: -1, Text: fmt.Sprintf("the body did not begin within %v", headerTime)}
	}
	if err != nil {
		return err
	}
	body, err := requestOf(r).worker.NewBody(ctx, plain, needs, rc.SetReadDeadline)
	if err != nil {
		return err
	}
	defer body.Close()
	if r.Header.Get("Content-Encoding") == "" && r.ProtoMajor == 1 { // a deadline would end a stream of HTTP/2
		body.Length = r.ContentLength
	}
	p := &posting{w: w, r: r, listed: make([]any, 0), streams: accepts(r, ndjson)}
	if key != "" {
		return d.writeOnce(ctx, p, session, topic, key, cd, body)
	}
	q, err := d.sequence(ctx, cd, body)
	if err != nil {
		return err
	}
	p.records = records
	if err := p.each(ctx, q); err != nil {
		return p.failed(err)
	}
	return p.answer()
}

// sequence returns the records of a body. If cd is nil, it sniffs their format.
func (d *web) sequence(ctx context.Context, cd codec.Codec, s dialect.Source) (*dialect.Sequence, error) {
	if cd == nil {
		p, err := dialect.SniffSource(ctx, s)
		switch {
		case err == io.EOF:
			return nil, errEmpty
		case err != nil:
			return nil, err
		}
		if p.Format() == "" {
			return nil, dialect.Refused(p, false)
		}
		cd = d.Codecs[p.Format()]
	}
	q := dialect.NewSequence(s, cd, d.Limits())
	q.FirstAlone = codec.FramesOnly(cd)
	return q, nil
}

var errEmpty = &fault.Error{
	Code: fault.Malformed, At: -1,
	Text: "the body is empty", Hint: `send a dictionary, as in curl -d '{"name":"Alice"}'`,
}

// A posting is a request with records, and their outcomes.
type posting struct {
	w       http.ResponseWriter
	r       *http.Request
	records dialect.Writer

	found    int            // records found
	settled  int            // of the records found
	rejected int            // of the settled ones
	listed   []any          // the first rejections, for the answer
	last     *fault.Error   // the last rejection
	ends     *fault.Error   // the fault that ended the sequence
	next     store.Position // after the stored records
	once     bool           // the request has a key: a repeated one must get the same answer

	reply   *dict.Dict // to a single record
	streams bool       // the body of the answer consists of replies
	begun   bool       // some replies were written
	replies []byte     // replies to write
}

// each stores the records of a sequence.
func (p *posting) each(ctx context.Context, q *dialect.Sequence) error {
	err := q.Each(ctx, func(b *dialect.WriteBatch) error { return p.take(ctx, b, q.FirstAlone) })
	var f *fault.Error
	if errors.As(err, &f) && (q.Ends(f) || p.ends == f) {
		p.ends = f
		return nil
	}
	return err
}

// take stores a batch. If firstAlone, a first record that can't be decoded ends the
// sequence.
func (p *posting) take(ctx context.Context, b *dialect.WriteBatch, firstAlone bool) error {
	base := p.found
	p.found += len(b.Records)
	settled, err := p.records.Take(ctx, b, func(a dialect.Answer) error {
		if a.Err == nil {
			return p.replied(a.Reply)
		}
		if firstAlone && base+a.Index == 0 && errors.As(a.Err, new(*codec.SyntaxError)) {
			p.ends = a.Err
		}
		p.reject(base+a.Index, a.Err)
		return p.replied(a.Err.Dict())
	})
	p.settled += settled.Records
	if !settled.Next.IsZero() {
		p.next = settled.Next
	}
	if err != nil {
		return err
	}
	return p.over()
}

// over returns the fault that ended the sequence, or nil.
func (p *posting) over() error {
	if p.ends != nil {
		return p.ends
	}
	return nil
}

// reject records a rejection.
func (p *posting) reject(index int, f *fault.Error) {
	if p.once { // reduce it to what the store keeps
		text := f.Told()
		f = &fault.Error{Code: f.Code, Text: strings.ToValidUTF8(text[:min(len(text), store.MaxText)], ""), Reason: f.Reason, At: -1}
	}
	p.rejected++
	p.last = f
	if len(p.listed) >= maxListed {
		return
	}
	d := dict.Of("index", index, "code", string(f.Code), "error", f.Told())
	if f.Reason != "" {
		d.Set("reason", dict.String(f.Reason))
	}
	if f.At >= 0 {
		d.Set("at", dict.Int(f.At))
	}
	p.listed = append(p.listed, d)
}

// replied records the reply to a record.
func (p *posting) replied(d *dict.Dict) error {
	if !p.streams {
		p.reply = d
		return nil
	}
	p.replies = append(json.Render(p.replies, d, nil), '\n')
	if len(p.replies) < maxReplies {
		return nil
	}
	return p.flush()
}

// flush writes replies, even before the body has been read.
func (p *posting) flush() error {
	if !p.begun {
		p.begun = true
		_ = http.NewResponseController(p.w).EnableFullDuplex() // fails for HTTP/2, which is always full duplex
		p.w.Header().Set("Content-Type", ndjson)
	}
	_, err := p.w.Write(p.replies)
	p.replies = p.replies[:0]
	return begun(err)
}

// answer reports the outcome of all records.
func (p *posting) answer() error {
	switch {
	case p.found == 0:
		return errEmpty
	case p.found == 1 && p.rejected == 1:
		return &problem{status: http.StatusUnprocessableEntity, fault: p.last}
	case p.ends != nil && !p.begun:
		return &problem{status: http.StatusBadRequest, fault: p.ends, more: p.account()}
	case p.streams && !p.once:
		if p.ends != nil { // the last line is the fault
			return errors.Join(p.flush(), errBegun)
		}
		return p.flush()
	case p.found == 1 && p.reply != nil:
		answer(p.w, p.r, http.StatusOK, "application/json", p.reply)
	default:
		answer(p.w, p.r, http.StatusOK, "application/json", p.account())
	}
	return nil
}

// account returns the outcome of the records as a dictionary.
func (p *posting) account() *dict.Dict {
	d := dict.Of("accepted", p.settled-p.rejected, "rejections", p.rejected, "rejected", p.listed)
	if !p.next.IsZero() && !p.once {
		d.Set("next", dict.String(p.next.String()))
	}
	return d
}

// failed returns the error to answer with when a request could not be completed.
func (p *posting) failed(err error) error {
	var f *fault.Error
	switch {
	case p.begun:
		return errors.Join(errBegun, err)
	case errors.As(err, &f) && p.settled > 0:
		return &problem{fault: f, more: p.account()}
	default:
		return err
	}
}
