package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/envelope"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

const (
	fullPart    = 16 << 10 // bytes of an answer that are kept until there are more, or its end
	convertCost = 64       // bytes of memory that it takes to decode one of a record, at most
	resultCost  = 4        // bytes of the answer for each of a record, mostly
	idlePart    = 4 << 10  // bytes of an answer's memory that are kept
)

// A query is what a reader asks for.
type query struct {
	from     string
	to       point.Point
	hasTo    bool
	follow   bool
	limit    int // of records; negative: none
	envelope bool
	exact    bool
	format   string
}

// parameters are the names of a query's parameters.
var parameters = map[string]bool{
	"from": true, "to": true, "follow": true, "limit": true, "envelope": true, "exact": true, "format": true,
}

// queryOf reads the query of a request.
func queryOf(r *http.Request) (q query, err error) {
	bad := func(name string, err error) (query, error) {
		return q, &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("%s: %v", name, err), Err: err}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("query", err)
	}
	for name, given := range values {
		if !parameters[name] || len(given) > 1 {
			return bad(fmt.Sprintf("%.40q", name), errors.New("want each of from, to, follow, limit, envelope, exact and format at most once"))
		}
	}
	q.from, q.limit = values.Get("from"), -1
	for name, is := range map[string]*bool{"follow": &q.follow, "envelope": &q.envelope, "exact": &q.exact} {
		if values.Has(name) {
			if *is, err = strconv.ParseBool(values.Get(name)); err != nil {
				return bad(name, errors.New("want 1 or 0"))
			}
		}
	}
	if values.Has("limit") {
		if q.limit, err = strconv.Atoi(values.Get("limit")); err != nil || q.limit < 0 {
			return bad("limit", errors.New("want a number of records"))
		}
	}
	if q.hasTo = values.Has("to"); q.hasTo {
		if q.to, err = point.Parse(values.Get("to")); err != nil {
			return bad("to", err)
		}
	}
	if q.hasTo && (q.to == point.Latest() || q.to.Past(time.Now())) {
		q.follow = false
	}
	q.format, err = formOf(r, values.Get("format"))
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		q.from = id
	}
	return q, err
}

// A reading is the answer to a request that reads.
type reading struct {
	query
	d   *web
	c   *conn
	w   http.ResponseWriter
	r   *http.Request
	rc  *http.ResponseController
	out form

	started time.Time
	room    dialect.Room // for what is rendered
	part    []byte       // of the answer: what is not written yet
	begun   bool         // some was
	given   int          // records
}

// read gives what is stored in a topic, or in all that a pattern names.
func (d *web) read(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	g := &reading{query: q, d: d, c: connOf(r), w: w, r: r, rc: http.NewResponseController(w), started: time.Now()}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	topic := r.PathValue("topic")
	reader, err := session.Read(ctx, dialect.ReadRequest{
		Dialect: name, Topics: []string{topic}, Subscription: topic, From: q.from, Follow: q.follow,
		Progress: wire.BeatEvery, Room: g.c.dw.Room(),
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	g.out = forms[q.format]()
	w.Header().Set("Content-Type", g.out.mediaType())
	if r.Method == http.MethodHead {
		return nil
	}
	g.c.dw.SetPatient(true)
	defer g.c.dw.SetPatient(false)
	g.room = g.c.dw.Room()
	defer g.room.Want(ctx, 0)
	ended := make(chan struct{})
	go func() { // a server that ends does not wait for who reads
		defer close(ended)
		select {
		case <-g.c.dw.Ending():
			cancel(dialect.ErrDrained)
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel(nil)
		<-ended
	}()
	return g.failed(g.give(ctx, reader))
}

// errEnough ends an answer that has all that was asked for.
var errEnough = errors.New("web: enough")

// give gives batches until there is no more.
func (g *reading) give(ctx context.Context, reader dialect.Reader) error {
	g.part = g.out.begin(g.part)
	if g.limit == 0 {
		return errEnough
	}
	if g.follow {
		if err := g.flush(); err != nil { // who waits is told so
			return err
		}
	}
	for b, err := range reader.Batches(ctx) {
		if err == nil && b.Block != nil {
			err = g.block(ctx, b)
		} else if err == nil {
			err = g.progress(b)
		}
		if err != nil {
			return g.lost(b, err)
		}
	}
	return errEnough
}

// lost makes faults of what was damaged or trimmed.
func (g *reading) lost(b store.Batch, err error) error {
	var (
		damage  *store.DamageError
		trimmed *store.TrimmedError
	)
	f := &fault.Error{Code: fault.Lost, At: -1, Err: err}
	next := b.Next
	switch {
	case errors.As(err, &damage):
		f.Text = fmt.Sprintf("records from %v to %v can't be read: %v", damage.From, damage.To, damage.Err)
	case errors.As(err, &trimmed):
		f.Text = fmt.Sprintf("records of %s from %v to %v were trimmed", trimmed.Topic, trimmed.From, trimmed.To)
		next = trimmed.To
	default:
		return err
	}
	f.Hint = fmt.Sprintf("from=%v goes on after it", next)
	return f
}

// block gives the records of a block.
func (g *reading) block(ctx context.Context, b store.Batch) error {
	if g.hasTo && g.passed(b.At, b.Time) {
		return errEnough
	}
	format, ok := g.d.Codecs[b.Block.Codec]
	if !ok {
		return &fault.Error{Code: fault.Unsupported, At: -1, Text: fmt.Sprintf("%v is in format %q, which can't be read here", b.At, b.Block.Codec)}
	}
	e := envelope.Envelope{Topic: b.Block.Topic, Principal: b.Block.Principal, Producer: b.Block.Producer.Name, Time: b.Time}
	at := b.At
	for i, record := range b.Block.Records(b.At.Index) {
		if at.Index = i; g.hasTo && g.passed(at, b.Time) {
			return errEnough
		}
		next := at
		if next.Index++; int(next.Index) == len(b.Block.Lengths) {
			next = b.Next
		}
		if b.Block.First > 0 {
			e.Number = b.Block.First + uint64(i)
		}
		e.Position = at.String()
		item := item{Envelope: e, next: next.String()}
		if err := g.record(ctx, item, format, record); err != nil {
			return err
		}
		if g.limit >= 0 && g.given >= g.limit {
			return errEnough
		}
	}
	if !g.follow {
		return nil
	}
	return g.flush()
}

// passed reports whether a record lies at or after the end.
func (g *reading) passed(at store.Position, t time.Time) bool {
	if end := g.to.Time(g.started); !end.IsZero() {
		return !t.Before(end)
	}
	end := g.to.Position()
	return !end.IsZero() && at.Compare(end) >= 0
}

// progress says that there is nothing below a position.
func (g *reading) progress(b store.Batch) error {
	if g.hasTo && g.passed(b.Next, time.Now()) {
		return errEnough
	}
	if !g.follow {
		return nil
	}
	g.part = g.out.progress(g.part, b.Next.String())
	return g.flush()
}

// record gives one record.
func (g *reading) record(ctx context.Context, it item, format codec.Codec, record []byte) error {
	if len(g.part) >= fullPart {
		if err := g.write(); err != nil {
			return err
		}
	}
	if need := int64(len(g.part) + resultCost*len(record)); need > g.room.Size() && !g.room.Want(ctx, need) {
		if err := g.write(); err != nil {
			return err
		}
		if err := g.room.Need(ctx, int64(resultCost*len(record))); err != nil {
			return err
		}
	}
	share := g.c.dw.Building().Share(g.c.dw.Known())
	if err := share.Take(ctx, convertCost*int64(len(record))); err != nil {
		return err
	}
	defer share.Keep(0)
	d, err := format.Decode(record, codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	if err != nil {
		return fmt.Errorf("web: %s: %w", it.Position, err)
	}
	return g.value(it, d)
}

// value gives a dictionary.
func (g *reading) value(it item, d *dict.Dict) error {
	it.record = d
	part, err := g.out.item(g.part, it, g.query)
	var loss *codec.LossError
	if errors.As(err, &loss) {
		return &fault.Error{
			Code: fault.Loss, At: -1, Text: fmt.Sprintf("the record at %s: %s", it.Position, loss.Text()),
			Hint: "read it without exact=1, or as cbor", Err: err,
		}
	}
	if err != nil {
		return err
	}
	g.part = part
	g.given++
	return nil
}

// write writes what there is of the answer.
func (g *reading) write() error {
	if len(g.part) == 0 {
		return nil
	}
	g.begun = true
	_, err := g.w.Write(g.part)
	if g.part = g.part[:0]; cap(g.part) > 4*fullPart {
		g.part = nil
	}
	g.room.Keep(int64(cap(g.part)))
	if err != nil {
		return errors.Join(errBegun, err)
	}
	return nil
}

// flush writes what there is, and lets it wait for no more.
func (g *reading) flush() error {
	if err := g.write(); err != nil {
		return err
	}
	g.begun = true
	if cap(g.part) > idlePart {
		g.part = nil
	}
	g.room.Want(g.r.Context(), 0)
	return g.rc.Flush()
}

// failed ends the answer: well, or with what is wrong. Where some of it was given, the
// peer sees that the rest is missing.
func (g *reading) failed(err error) error {
	var f *fault.Error
	switch {
	case err == errEnough, errors.Is(err, dialect.ErrDrained) && g.follow:
		g.part = g.out.end(g.part)
		return g.write()
	case errors.Is(err, dialect.ErrDrained):
		f = &fault.Error{Code: fault.Shutdown, At: -1, Text: "the server is shutting down", Hint: "come again"}
	case !errors.As(err, &f):
		return err
	}
	if !g.begun && g.given == 0 {
		return f
	}
	g.part = g.out.fault(g.part, f)
	return errors.Join(errBegun, g.flush())
}
