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
var Dialect dictwire.Dialect = http{}

type http struct{}

// Kind returns the dialect as servers have it.
func (http) Kind() dialect.Kind { return web.Kind }
