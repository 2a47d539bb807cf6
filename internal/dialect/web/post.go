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
	maxListed  = 100       // rejections that an answer lists
	maxReplies = 256 << 10 // bytes of replies that wait until the body has been read

	patience = 10 * time.Second // that a request waits whose principal sends too much

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
		return "", &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the header Authorization is of a scheme that is not served", Hint: bearerHint}
	}
	return strings.TrimSpace(token), nil
}

const bearerHint = "send the header Authorization: Bearer TOKEN"

// write takes in what is posted to a topic.
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
	_ = rc.SetReadDeadline(time.Now().Add(headerTime)) // a connection that is gone fails the read
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
	if r.Header.Get("Content-Encoding") == "" && r.ProtoMajor == 1 { // a deadline ends a stream of HTTP/2
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

// sequence returns the records of a body, whose format it tells itself where cd is
// nil.
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

// A posting is records that a request brings, and what becomes of them.
type posting struct {
	w       http.ResponseWriter
	r       *http.Request
	records dialect.Writer

	found    int            // records
	settled  int            // of them
	rejected int            // of the settled ones
	listed   []any          // the first rejections, as the answer has them
	last     *fault.Error   // the last rejection
	ends     *fault.Error   // the one that ended the sequence
	next     store.Position // after what was stored
	once     bool           // there is a key: what comes again has to be told the same

	reply   *dict.Dict // to the only record
	streams bool       // replies are the body
	begun   bool       // of which some was written
	replies []byte     // what was not
}

// each takes in the records of a sequence.
func (p *posting) each(ctx context.Context, q *dialect.Sequence) error {
	err := q.Each(ctx, func(b *dialect.WriteBatch) error { return p.take(ctx, b, q.FirstAlone) })
	var f *fault.Error
	if errors.As(err, &f) && (q.Ends(f) || p.ends == f) {
		p.ends = f
		return nil
	}
	return err
}

// take takes in a batch. firstAlone says that a first record that only decoding finds
// to be bad ends it all.
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

// over returns the fault that ends the sequence, once its record was found.
func (p *posting) over() error {
	if p.ends != nil {
		return p.ends
	}
	return nil
}

// reject notes a rejection.
func (p *posting) reject(index int, f *fault.Error) {
	if p.once { // what the store keeps of it
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

// replied notes what a record is answered, where replies are wanted.
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

// flush writes replies, though more of the body may come.
func (p *posting) flush() error {
	if !p.begun {
		p.begun = true
		_ = http.NewResponseController(p.w).EnableFullDuplex() // HTTP/2 has it
		p.w.Header().Set("Content-Type", ndjson)
	}
	_, err := p.w.Write(p.replies)
	p.replies = p.replies[:0]
	return begun(err)
}

// answer says what became of all records.
func (p *posting) answer() error {
	switch {
	case p.found == 0:
		return errEmpty
	case p.found == 1 && p.rejected == 1:
		return &problem{status: http.StatusUnprocessableEntity, fault: p.last}
	case p.ends != nil && !p.begun:
		return &problem{status: http.StatusBadRequest, fault: p.ends, more: p.account()}
	case p.streams && !p.once:
		if p.ends != nil { // the last line says it
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

// account returns what became of the records.
func (p *posting) account() *dict.Dict {
	d := dict.Of("accepted", p.settled-p.rejected, "rejections", p.rejected, "rejected", p.listed)
	if !p.next.IsZero() && !p.once {
		d.Set("next", dict.String(p.next.String()))
	}
	return d
}

// failed returns what a request is told that could not be taken to its end.
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
