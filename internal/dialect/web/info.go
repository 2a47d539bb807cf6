package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

const mediaJSON = "application/json"

// health answers while the process is alive.
func (d *web) health(w http.ResponseWriter, r *http.Request) error {
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("status", "ok"))
	return nil
}

// ready reports whether records can be stored now.
func (d *web) ready(w http.ResponseWriter, r *http.Request) error {
	if err := d.Ready(r.Context()); err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("status", "ok"))
	return nil
}

// status answers with the server's promises and its state.
func (d *web) status(w http.ResponseWriter, r *http.Request) error {
	session, err := d.open(r)
	if err != nil {
		return err
	}
	s, err := session.Status(r.Context())
	if err != nil {
		return err
	}
	about := []any{"principal", s.Principal, "durability", string(s.Durability), "max_record", s.MaxRecord, "ready", s.Ready}
	if c := s.Counts; c != nil {
		about = append(about, "started", timeText(c.Started), "connections", c.Connections,
			"records", c.Records, "rejected", c.Rejected, "bytes", c.Bytes,
			"memory", dict.Of("receiving", c.Receiving, "reading", c.Reading, "heap", int64(c.Heap)))
		if c.Version != "" {
			about = append(about, "version", c.Version)
		}
		if m := c.Measures; m != nil {
			about = append(about, "disk", dict.Of("bytes", int64(m.DiskBytes), "free", int64(m.FreeBytes)), "syncs", ofTimes(m.Syncs))
		}
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of(about...))
	return nil
}

// ofTimes returns the number of measured times, their median and their 99th percentile, in
// seconds.
func ofTimes(h store.Histogram) *dict.Dict {
	seconds := func(part float64) float64 { return time.Duration(h.Quantile(part)).Seconds() }
	return dict.Of("count", int64(h.Count()), "p50", seconds(0.5), "p99", seconds(0.99))
}

// maxPage is the most entries of a list in one page.
const maxPage = 1000

// pageOf parses the parameters of a page.
func pageOf(r *http.Request, names ...string) (p dialect.Page, err error) {
	q, err := valuesOf(r, append(names, "after", "limit")...)
	if err != nil {
		return p, err
	}
	p = dialect.Page{Principal: q.Get("principal"), After: q.Get("after"), Limit: maxPage}
	if q.Has("limit") {
		if p.Limit, err = strconv.Atoi(q.Get("limit")); err != nil || p.Limit < 1 || p.Limit > maxPage {
			return p, &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("limit: want a number from 1 to %d", maxPage)}
		}
	}
	return p, nil
}

// valuesOf returns the parameters of a request. It allows only the given names, each at
// most once.
func valuesOf(r *http.Request, names ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("query: %v", err), Err: err}
	}
	for name, given := range q {
		if len(given) > 1 || !slices.Contains(names, name) {
			slices.Sort(names)
			return nil, &fault.Error{
				Code: fault.Malformed, At: -1,
				Text: fmt.Sprintf("%.40q: want each of %s at most once", name, strings.Join(names, ", ")),
			}
		}
	}
	return q, nil
}

// list answers with a page of a list. names are further parameters that the request may
// have.
func list[T any](d *web, w http.ResponseWriter, r *http.Request, name string, of func(dialect.Operator, context.Context, dialect.Page) ([]T, string, error), entry func(T) *dict.Dict, parameters ...string) error {
	p, err := pageOf(r, parameters...)
	if err != nil {
		return err
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	page, next, err := of(session, r.Context(), p)
	if err != nil {
		return err
	}
	entries := make([]any, 0, len(page))
	for _, e := range page {
		entries = append(entries, entry(e))
	}
	about := []any{name, entries}
	if next != "" {
		about = append(about, "next", next)
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of(about...))
	return nil
}

// topics lists the topics that the principal may read.
func (d *web) topics(w http.ResponseWriter, r *http.Request) error {
	return list(d, w, r, "topics", dialect.Operator.Topics, func(t dialect.Kept) *dict.Dict {
		if t.Keep == nil {
			return ofTopic(t.TopicStat)
		}
		return ofTopic(t.TopicStat, "keep", ofKeep(*t.Keep))
	})
}

func ofTopic(t store.TopicStat, more ...any) *dict.Dict {
	return dict.Of(append([]any{
		"topic", t.Name, "records", int64(t.Records), "bytes", int64(t.Bytes),
		"first", t.First.String(), "next", t.Next.String(), "oldest", timeText(t.Oldest), "newest", timeText(t.Newest),
	}, more...)...)
}

// ofKeep returns the retention of a topic; what is absent is unlimited.
func ofKeep(k store.Keep) *dict.Dict {
	var about []any
	if k.Age > 0 {
		about = append(about, "seconds", k.Age.Seconds())
	}
	if k.Bytes > 0 {
		about = append(about, "bytes", int64(k.Bytes))
	}
	return dict.Of(about...)
}

// timeText returns a time in RFC 3339, or nil for the zero time.
func timeText(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// cursors lists the principal's cursors.
func (d *web) cursors(w http.ResponseWriter, r *http.Request) error {
	return list(d, w, r, "cursors", dialect.Operator.Cursors, func(c dialect.Lagging) *dict.Dict {
		return dict.Of(
			"cursor", c.Name, "subscription", c.Subscription, "position", c.Position.String(),
			"lag", int64(c.Lag), "saved", timeText(c.Saved),
		)
	}, "principal")
}

// producers lists the principal's producers.
func (d *web) producers(w http.ResponseWriter, r *http.Request) error {
	return list(d, w, r, "producers", dialect.Operator.Producers, func(p store.KnownProducer) *dict.Dict {
		return dict.Of("producer", p.Name, "topic", p.Topic, "next", int64(p.Next), "seen", timeText(p.Seen))
	}, "principal")
}

// begin parses the parameters of a request, each allowed at most once, and opens a session
// for it.
func (d *web) begin(r *http.Request, names ...string) (url.Values, dialect.Session, error) {
	q, err := valuesOf(r, names...)
	if err != nil {
		return nil, nil, err
	}
	session, err := d.open(r)
	return q, session, err
}

// reset moves a cursor.
func (d *web) reset(w http.ResponseWriter, r *http.Request) error {
	q, session, err := d.begin(r, "to", "reads", "principal")
	if err != nil {
		return err
	}
	m, err := session.ResetCursor(r.Context(), dialect.ResetRequest{
		Principal: q.Get("principal"), Name: r.PathValue("name"), Subscription: q.Get("reads"), To: q.Get("to"),
	})
	if err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of(
		"cursor", m.Name, "subscription", m.Subscription, "from", m.From.String(), "position", m.To.String(),
	))
	return nil
}

// commit saves a cursor's position.
func (d *web) commit(w http.ResponseWriter, r *http.Request) error {
	q, err := valuesOf(r, "to", "reads")
	if err != nil {
		return err
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	c := dialect.CommitRequest{Name: r.PathValue("name"), Subscription: q.Get("reads"), To: q.Get("to")}
	at, err := session.CommitCursor(r.Context(), c)
	if err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("position", at.String()))
	return nil
}

// trim deletes the oldest records of a topic.
func (d *web) trim(w http.ResponseWriter, r *http.Request) error {
	q, session, err := d.begin(r, "before")
	if err != nil {
		return err
	}
	t, err := session.Trim(r.Context(), r.PathValue("topic"), q.Get("before"))
	if err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, ofTopic(t))
	return nil
}

// backup makes a copy of the store.
func (d *web) backup(w http.ResponseWriter, r *http.Request) error {
	q, session, err := d.begin(r, "name")
	if err != nil {
		return err
	}
	dir, err := session.Backup(r.Context(), q.Get("name"))
	if err != nil {
		return err
	}
	answer(w, r, http.StatusCreated, mediaJSON, dict.Of("directory", dir))
	return nil
}
