// Package web lets a server speak HTTP on the same port as everything else:
//
//	srv := &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}
//
// A program posts dictionaries to /v1/topics/{topic} and reads them from there. The
// protocol is in docs/protocol.md. It is a package of its own, so that programs that only
// send do not link net/http.
package web

import (
	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/web"
)

// Dialect is HTTP/1.1 and HTTP/2. In a browser, only pages of the server's own origin can
// use it.
var Dialect = must(New(nil))

// Options configures HTTP.
type Options struct {
	// AllowOrigins lists origins, such as https://app.example, whose pages may read and
	// write (CORS). None means the server's own origin only.
	AllowOrigins []string

	// Filters runs the jq expressions of requests (filter=). Nil refuses them. Only the
	// program dictwire has an implementation, since each expression runs in a process with
	// limits of its own.
	Filters Filters
}

// Filters starts filters. Other modules can't implement it yet.
type Filters = dialect.Filters

// New returns HTTP with options; nil means the defaults. The error lists invalid origins.
func New(o *Options) (dictwire.Dialect, error) {
	if o == nil {
		o = new(Options)
	}
	kind, err := web.Kind(web.Options{AllowOrigins: o.AllowOrigins, Filters: o.Filters})
	return http{kind}, err
}

type http struct{ kind dialect.Kind }

// Kind returns the dialect as servers use it.
func (h http) Kind() dialect.Kind { return h.kind }

func must(d dictwire.Dialect, err error) dictwire.Dialect {
	if err != nil {
		panic(err)
	}
	return d
}
