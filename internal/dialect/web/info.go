package web

import (
	"net/http"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/dialect"
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
	if _, err := d.open(r); err != nil {
		return err
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of(
		"durability", string(d.Durability()), "max_record", d.Limits().Effective().RecordBytes,
		"ready", d.Ready(r.Context()) == nil,
	))
	return nil
}

// info returns what who asks may know.
func (d *web) info(r *http.Request) (dialect.Info, error) {
	session, err := d.open(r)
	if err != nil {
		return dialect.Info{}, err
	}
	return session.Info(r.Context())
}

// topics lists the topics that who asks may read.
func (d *web) topics(w http.ResponseWriter, r *http.Request) error {
	info, err := d.info(r)
	if err != nil {
		return err
	}
	list := make([]any, 0, len(info.Topics))
	for _, t := range info.Topics {
		list = append(list, dict.Of(
			"topic", t.Name, "records", int64(t.Records), "bytes", int64(t.Bytes),
			"first", t.First.String(), "next", t.Next.String(), "oldest", timeText(t.Oldest), "newest", timeText(t.Newest),
		))
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("topics", list))
	return nil
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
	info, err := d.info(r)
	if err != nil {
		return err
	}
	list := make([]any, 0, len(info.Cursors))
	for _, c := range info.Cursors {
		list = append(list, dict.Of("cursor", c.Name, "subscription", c.Subscription, "position", c.Position.String()))
	}
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("cursors", list))
	return nil
}
