package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// startFilter starts the filter of a request.
func (d *web) startFilter(ctx context.Context, c *request, s dialect.Session, expression string) (dialect.Filter, error) {
	if d.filters == nil {
		return nil, &problem{status: http.StatusNotImplemented, fault: &fault.Error{
			Code: fault.Unsupported, At: -1, Text: "filter: this server runs no filters",
			Hint: "filter what you read, with jq after curl, or with dictwire tail",
		}}
	}
	owner := s.Principal()
	if owner == store.Anonymous {
		owner = c.dw.Host()
	}
	c.worker.Rest()
	filter, err := d.filters.Start(ctx, owner, expression)
	var (
		bad *dialect.ExpressionError
		f   *fault.Error
	)
	switch {
	case err == nil:
		return filter, nil
	case errors.As(err, &bad):
		p := &problem{fault: &fault.Error{Code: fault.Malformed, At: -1, Text: "filter: " + bad.Error(), Err: err}}
		if bad.Offset >= 0 {
			p.more = dict.Of("offset", bad.Offset)
		}
		return nil, p
	case errors.As(err, &f) && f.Code != fault.Internal:
		return nil, &problem{fault: f} // not worth logging
	}
	return nil, err
}

// value appends a result of the filter that is not a dictionary: see [dialect.Filtering].
func (g *reading) value(dst []byte, b *store.ReadBatch, index uint32, v dict.Value) ([]byte, error) {
	it := g.itemOf(b, index)
	it.value = v
	return g.out.item(dst, it, g.query)
}

// failing appends the error of a record for which the expression fails: see
// [dialect.Filtering].
func (g *reading) failing(dst []byte, b *store.ReadBatch, index uint32, why string) ([]byte, error) {
	it := g.itemOf(b, index)
	switch {
	case g.exact, g.cursor != "":
		return dst, &fault.Error{
			Code: fault.Loss, At: -1, Text: fmt.Sprintf("the record at %s: filter: %s", it.at, why),
			Hint: "an expression that can fail has a ?, as .a.b?",
		}
	case !g.envelope, g.format == "csv":
		return dst, nil
	}
	it.failed = why
	return g.out.item(dst, it, g.query)
}
