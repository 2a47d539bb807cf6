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

// health says that the process answers.
func (d *web) health(w http.ResponseWriter, r *http.Request) error {
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("status", "ok"))
	return nil
}

// ready says whether records can be stored now.
func (d *web) ready(w http.ResponseWriter, r *http.Request) error {
	if err := d.Ready(r.Context()); err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("status", "ok"))
	return nil
}

// status says what the server promises, and how it is.
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

// ofTimes says how many times were measured, and which half of them and 99 of 100 do not
// exceed, in seconds.
func ofTimes(h store.Histogram) *dict.Dict {
	seconds := func(part float64) float64 { return time.Duration(h.Quantile(part)).Seconds() }
	return dict.Of("count", int64(h.Count()), "p50", seconds(0.5), "p99", seconds(0.99))
}

// maxPage is how much of a list a page holds.
const maxPage = 1000

// pageOf reads which page of a list a request wants.
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

// valuesOf returns the parameters of a request, which has each of some at most once, and
// no others.
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

// list answers with a page of a list, of which a request may give some parameters.
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

// topics lists the topics that who asks may read.
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

// ofKeep says what of a topic is kept: all, where nothing is said.
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

// timeText returns a time as texts have it, or nil.
func timeText(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// cursors lists the cursors of who asks.
func (d *web) cursors(w http.ResponseWriter, r *http.Request) error {
	return list(d, w, r, "cursors", dialect.Operator.Cursors, func(c dialect.Lagging) *dict.Dict {
		return dict.Of(
			"cursor", c.Name, "subscription", c.Subscription, "position", c.Position.String(),
			"lag", int64(c.Lag), "saved", timeText(c.Saved),
		)
	}, "principal")
}

// producers lists the producers of who asks.
func (d *web) producers(w http.ResponseWriter, r *http.Request) error {
	return list(d, w, r, "producers", dialect.Operator.Producers, func(p store.KnownProducer) *dict.Dict {
		return dict.Of("producer", p.Name, "topic", p.Topic, "next", int64(p.Next), "seen", timeText(p.Seen))
	}, "principal")
}

// begin reads the parameters of a request, which may give each of some once, and opens a
// session for it.
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

// trim deletes the oldest of what a topic holds.
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
