package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/envelope"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

const (
	fullPart = 16 << 10 // bytes of an answer that are buffered before a write
	idlePart = 4 << 10  // bytes of buffer that are kept while there is nothing to send
)

// A query holds the parameters of a read.
type query struct {
	from     string
	to       point.Point
	hasTo    bool
	follow   bool
	limit    int // of records; negative: no limit
	envelope bool
	exact    bool
	format   string
	cursor   string
	filter   string // a jq expression; "": no filter
	table    *table // for CSV
}

// queryOf parses the query of a request.
func queryOf(r *http.Request) (q query, err error) {
	bad := func(name string, err error) (query, error) {
		return q, &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("%s: %v", name, err), Err: err}
	}
	values, err := valuesOf(r, "from", "to", "follow", "limit", "envelope", "exact", "format", "columns", "spreadsheet", "cursor", "filter")
	if err != nil {
		return q, err
	}
	q.from, q.limit, q.cursor = values.Get("from"), -1, values.Get("cursor")
	if values.Has("cursor") && q.cursor == "" {
		return bad("cursor", errors.New("want a name"))
	}
	if q.filter = values.Get("filter"); values.Has("filter") && q.filter == "" {
		return bad("filter", errors.New("want a jq expression"))
	}
	spreadsheet := false
	for name, is := range map[string]*bool{"follow": &q.follow, "envelope": &q.envelope, "exact": &q.exact, "spreadsheet": &spreadsheet} {
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
	if q.format, err = formOf(r, values.Get("format")); err != nil {
		return q, err
	}
	if q.format == "csv" {
		q.table, err = q.newTable(values, spreadsheet)
	} else if values.Has("columns") || values.Has("spreadsheet") {
		return q, &fault.Error{Code: fault.Malformed, At: -1, Text: "columns and spreadsheet are for format=csv"}
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		q.from = id
	}
	return q, err
}

// A reading is the answer to a read request.
type reading struct {
	query
	d   *web
	c   *request
	w   http.ResponseWriter
	r   *http.Request
	rc  *http.ResponseController
	out *form

	filtering *dialect.Filtering // nil: no filter
	started   time.Time
	part      []byte // the part of the answer that is not written yet
	begun     bool   // some of the answer was written
	given     int    // records given, or results of the filter
	records   int    // records that they come from
}

// read answers with the records of a topic, or of all topics that match a pattern.
func (d *web) read(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	g := &reading{query: q, d: d, c: requestOf(r), w: w, r: r, rc: http.NewResponseController(w), started: time.Now()}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	g.out = forms[q.format]
	if q.filter != "" {
		filter, err := d.startFilter(ctx, g.c, session, q.filter)
		if err != nil {
			return err
		}
		defer filter.Close()
		g.filtering = &dialect.Filtering{Filter: filter, Value: g.value, Failed: g.failing}
	}
	topic := r.PathValue("topic")
	if r.Method == http.MethodHead { // a HEAD request changes nothing
		q.cursor = ""
	}
	reader, err := session.Read(ctx, dialect.ReadRequest{
		Dialect: name, Worker: g.c.worker, Topics: []string{topic}, Subscription: topic, From: q.from, Follow: q.follow,
		Forms: []dialect.Form{{Append: g.item, AppendStored: g.stored}}, Filtering: g.filtering, Progress: wire.BeatEvery,
		Cursor: q.cursor, Fence: func(f *fault.Error) { cancel(f) },
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	w.Header().Set("Content-Type", g.out.mediaType)
	if r.Method == http.MethodHead {
		return nil
	}
	g.c.setPatient(true)
	defer g.c.setPatient(false)
	stop := context.AfterFunc(d.drained, func() { cancel(dialect.ErrDrained) }) //nolint:contextcheck // the server's end, not the request's
	defer stop()
	return g.failed(g.give(ctx, reader))
}

// errEnough ends an answer that has reached its limit.
var errEnough = errors.New("web: enough")

// give writes batches until there are no more.
func (g *reading) give(ctx context.Context, reader dialect.Reader) error {
	if g.out.begin != nil {
		g.part = append(g.part, g.out.begin(g.query)...)
	}
	if g.limit == 0 {
		return errEnough
	}
	if g.follow {
		if err := g.flush(); err != nil { // tell the reader that its request was accepted
			return err
		}
	}
	for p, err := range reader.Batches(ctx) {
		if err == nil && p.Block != nil {
			err = g.giveRecords(p)
		} else if err == nil {
			err = g.progress(p.Next)
		}
		if err != nil {
			return g.lost(p.Next, err)
		}
	}
	return errEnough
}

// lost turns the error for damaged or trimmed records into a fault. Reading can continue at
// next.
func (g *reading) lost(next store.Position, err error) error {
	var (
		damage  *store.DamageError
		trimmed *store.TrimmedError
		f       *fault.Error
	)
	switch {
	case errors.As(err, &damage):
		return &fault.Error{
			Code: fault.Lost, At: -1, Text: fmt.Sprintf("records from %v to %v can't be read: %v", damage.From, damage.To, damage.Err),
			Hint: fmt.Sprintf("from=%v goes on after them", next), Err: err,
		}
	case errors.As(err, &trimmed):
		return &fault.Error{
			Code: fault.Lost, At: -1, Text: fmt.Sprintf("records of %s from %v to %v were trimmed", trimmed.Topic, trimmed.From, trimmed.To),
			Hint: fmt.Sprintf("from=%v goes on after them", trimmed.To), Err: err,
		}
	case g.filter != "" && errors.As(err, &f) && f.Hint == "" && (f.Code == fault.OverLimit || f.Code == fault.Unavailable):
		told := *f
		told.Hint = fmt.Sprintf("from=%v goes on after it", next)
		return &told
	case errors.As(err, &f) && f.Code == fault.Loss && f.Hint == "":
		return &fault.Error{Code: f.Code, At: -1, Text: f.Text, Hint: "read it without exact=1, or as cbor", Err: err}
	default:
		return err
	}
}

// item appends a record in the form of the answer: see [dialect.Form].
func (g *reading) item(dst []byte, b *store.ReadBatch, index uint32, d *dict.Dict) ([]byte, error) {
	it := g.itemOf(b, index)
	it.record = d
	return g.out.item(dst, it, g.query)
}

// stored appends a record that is stored as RFC 8259 JSON, if that is what the answer
// needs: see [dialect.Form].
func (g *reading) stored(dst []byte, b *store.ReadBatch, index uint32, record []byte) ([]byte, bool) {
	if !g.out.json || b.Block.Codec != (json.Codec{}).Name() || b.Block.Extended && !json.IsStrict(record) {
		return dst, false
	}
	it := g.itemOf(b, index)
	it.stored = record
	dst, err := g.out.item(dst, it, g.query)
	return dst, err == nil
}

// itemOf returns a record's item without its value.
func (g *reading) itemOf(b *store.ReadBatch, index uint32) item {
	it := item{at: b.At, next: b.At}
	it.at.Index, it.next.Index = index, index+1
	if !g.envelope {
		return it
	}
	it.Envelope = envelope.Envelope{
		Position: it.at.String(), Topic: b.Block.Topic, Principal: b.Block.Principal, Producer: b.Block.Producer.Name,
		Number: b.Block.First + uint64(index), Time: b.Time,
	}
	it.EventTime, _ = b.Block.Time(index)
	if g.cursor != "" {
		it.Next = it.next.String()
	}
	return it
}

// giveRecords adds the records of a part to the answer.
func (g *reading) giveRecords(p dialect.Part) error {
	if len(p.Lengths) == 0 { // the filter returned nothing for this part
		if g.hasTo && g.passed(p.Next, p.Time) {
			return errEnough
		}
		return nil
	}
	at, data := p.At, p.Data
	for i, n := range p.Lengths {
		if at.Index = p.Index(i); g.hasTo && g.passed(at, p.Time) {
			return errEnough
		}
		g.part = g.out.before(g.part, g.query, g.given)
		if err := g.add(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		g.given++
		if i+1 < len(p.Lengths) && p.Index(i+1) == at.Index { // another result of the same record follows
			continue
		}
		if g.records++; g.limit >= 0 && g.records >= g.limit {
			return errEnough
		}
	}
	if !g.follow {
		return nil
	}
	return g.flush()
}

// add adds a record to the answer.
func (g *reading) add(record []byte) error {
	if len(g.part)+len(record) < fullPart {
		g.part = append(g.part, record...)
		return nil
	}
	if err := g.write(); err != nil {
		return err
	}
	_, err := g.w.Write(record)
	return begun(err)
}

// passed reports whether a record is at or after the end of the query.
func (g *reading) passed(at store.Position, t time.Time) bool {
	if end := g.to.Time(g.started); !end.IsZero() {
		return !t.Before(end)
	}
	end := g.to.Position()
	return !end.IsZero() && at.Compare(end) >= 0
}

// progress tells a reader that there are no records before a position.
func (g *reading) progress(next store.Position) error {
	if g.hasTo && g.passed(next, time.Now()) {
		return errEnough
	}
	if !g.follow {
		return nil
	}
	g.part = append(g.part, g.out.progress(next.String())...)
	return g.flush()
}

// write writes the buffered part of the answer.
func (g *reading) write() error {
	g.c.worker.Rest() // the peer may be slow
	g.begun = true
	_, err := g.w.Write(g.part)
	g.part = g.part[:0]
	return begun(err)
}

// begun wraps the error of a write, after which the peer can't be told any more.
func begun(err error) error {
	if err != nil {
		return errors.Join(errBegun, err)
	}
	return nil
}

// flush writes the buffered part and flushes it to the peer.
func (g *reading) flush() error {
	if err := g.write(); err != nil {
		return err
	}
	if cap(g.part) > idlePart {
		g.part = nil
	}
	return begun(g.rc.Flush())
}

// failed ends the answer: normally, or with the fault in err. If the answer has begun, the
// peer can see that it is incomplete.
func (g *reading) failed(err error) error {
	var f *fault.Error
	switch {
	case err == errEnough, errors.Is(err, dialect.ErrDrained) && g.follow:
		g.part = append(g.part, g.out.end...)
		return g.write()
	case errors.Is(err, dialect.ErrDrained):
		f = &fault.Error{Code: fault.Shutdown, At: -1, Text: "the server is shutting down", Hint: "try again"}
	case !errors.As(err, &f):
		return err
	}
	if !g.begun && g.given == 0 {
		return f
	}
	g.part = append(g.out.before(g.part, g.query, g.given), g.out.fault(f)...)
	return errors.Join(errBegun, g.flush())
}
