// Package web lets a server speak HTTP on the port where it speaks everything else:
//
//	srv := &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}
//
// A program posts dictionaries to /v1/topics/{topic} and reads them from there. The
// protocol is in docs/protocol.md. It is a package of its own, so that who only sends
// links no net/http.
package web

import (
	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/web"
)

// Dialect is HTTP/1.1 and HTTP/2.
// Pages of the server's own origin alone use it
// through a browser.
var Dialect = must(New(nil))

// Options are what HTTP has of its own.
type Options struct {
	// AllowOrigins are origins whose pages may read and write through a browser, as
	// https://app.example (CORS). None means that no page of another origin may.
	AllowOrigins []string

	// Filters runs the expressions of jq that requests may have (filter=). Nil means that
	// they may have none. What runs them is the program dictwire's own, since each is to be
	// a process with limits of the system's.
	Filters Filters
}

// Filters starts filters. No other package can make one yet.
type Filters = dialect.Filters

// New returns HTTP with options; nil means the defaults. The error says which origin is
// none.
func New(o *Options) (dictwire.Dialect, error) {
	if o == nil {
		o = new(Options)
	}
	kind, err := web.Kind(web.Options{AllowOrigins: o.AllowOrigins, Filters: o.Filters})
	return http{kind}, err
}

type http struct{ kind dialect.Kind }

// Kind returns the dialect as servers have it.
func (h http) Kind() dialect.Kind { return h.kind }

func must(d dictwire.Dialect, err error) dictwire.Dialect {
	if err != nil {
		panic(err)
	}
	return d
}
