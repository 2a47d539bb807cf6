package web

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A problem is a fault with a status other than that of its code, or with additional
// members.
type problem struct {
	status int
	fault  *fault.Error
	cookie *http.Cookie // or nil
	more   *dict.Dict   // additional members of the document, or nil
}

func (p *problem) Error() string { return p.fault.Error() }

// Unwrap returns the fault.
func (p *problem) Unwrap() error { return p.fault }

// statuses maps codes to HTTP statuses. Other codes are faults of the request.
var statuses = map[fault.Code]int{
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.Topic:           http.StatusNotFound,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unsupported:     http.StatusUnsupportedMediaType,
	fault.Rate:            http.StatusRequestTimeout,
	fault.Idle:            http.StatusRequestTimeout,
	fault.Fenced:          http.StatusConflict,
	fault.Stale:           http.StatusConflict,
	fault.Conflict:        http.StatusUnprocessableEntity,
	fault.Lost:            http.StatusGone,
	fault.Loss:            http.StatusNotAcceptable,
	fault.Internal:        http.StatusInternalServerError,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Shutdown:        http.StatusServiceUnavailable,
}

// statusOf returns the status of a fault.
func statusOf(f *fault.Error) int {
	if errors.Is(f.Err, dialect.ErrTooFast) {
		return http.StatusTooManyRequests
	}
	if status, ok := statuses[f.Code]; ok {
		return status
	}
	return http.StatusBadRequest
}

// tell answers with a problem document (RFC 9457). Its members code, error, at, next and
// retry_ms are those of the other dialects.
func tell(w http.ResponseWriter, r *http.Request, p *problem) {
	status := p.status
	if status == 0 {
		status = statusOf(p.fault)
	}
	if p.cookie != nil {
		http.SetCookie(w, p.cookie)
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="dictwire"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		after := int64(math.Ceil(max(p.fault.Retry, time.Second).Seconds()))
		h.Set("Retry-After", strconv.FormatInt(after, 10))
	}
	d := dict.Of("type", "about:blank", "title", http.StatusText(status), "status", status, "detail", p.fault.Told())
	for k, v := range p.fault.Dict().All() {
		if name, _ := k.Text(); name != "error" {
			d.Set(name, v)
		}
	}
	if p.more != nil {
		for k, v := range p.more.All() {
			_ = d.SetKey(k, v) // k is a string
		}
	}
	answer(w, r, status, "application/problem+json", d)
}

// answer answers with a dictionary.
func answer(w http.ResponseWriter, r *http.Request, status int, mediaType string, d *dict.Dict) {
	body := append(json.Render(nil, d, nil), '\n')
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		requestOf(r).worker.Rest()
		_, _ = w.Write(body) // net/http notices if the peer is gone
	}
}
