package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"sync"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/framed"
	"github.com/dictwire/dictwire/internal/dialect/native"
	"github.com/dictwire/dictwire/internal/dialect/stream"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// An Endpoint is a listener with the rules for its connections.
type Endpoint struct {
	Listener  net.Listener
	Dialects  []string          // names; empty: all that the server speaks
	Authorize access.Authorizer // nil: the server's
	TLS       *tls.Config       // or nil
	Plaintext []netip.Prefix    // hosts that may connect without TLS
	Once      bool              // serve a single connection: see serveOne
}

// An endpoint is an Endpoint that is served.
type endpoint struct {
	dialects  map[dialect.Protocol]dialect.Dialect
	authorize access.Authorizer // nil: all are store.Anonymous
	security
}

// open makes the endpoint. If it fails, it closes the listener.
func (s *Server) open(e Endpoint) (*endpoint, error) {
	if err := s.checkCodecs(); err != nil {
		_ = e.Listener.Close()
		return nil, err
	}
	s.setup()
	at := &endpoint{authorize: e.Authorize}
	if at.authorize == nil {
		at.authorize = s.Authorize
	}
	for _, name := range e.Dialects {
		if !slices.Contains(s.dialects.names(), name) {
			_ = e.Listener.Close()
			return nil, fmt.Errorf("dictwire: no dialect %q; there are %q", name, s.dialects.names())
		}
	}
	if at.greets = s.dialects.greets(e.Dialects); at.greets != dialect.Unknown && len(e.Dialects) > 1 {
		_ = e.Listener.Close()
		return nil, fmt.Errorf("dictwire: among the dialects %q is one that speaks first: it wants an endpoint of its own", e.Dialects)
	}
	at.dialects = s.dialects.of(e.Dialects)
	at.plaintext = e.Plaintext
	at.secure(e.TLS, at.dialects, s.dialects.kinds)
	return at, nil
}

// checkCodecs returns an error if two codecs have the same name, or one has none:
// greetings and stored blocks name codecs.
func (s *Server) checkCodecs() error {
	taken := wire.Codecs()
	for _, c := range s.Codecs {
		name := c.Name()
		if !codecName.MatchString(name) {
			return fmt.Errorf("dictwire: Codecs: the name %.70q, want a word of a-z, 0-9, '_' and '-', of 64 bytes at most", name)
		}
		if taken[name] != nil {
			return fmt.Errorf("dictwire: Codecs: there is another codec named %q", name)
		}
		taken[name] = c
	}
	return nil
}

var codecName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// kinds are the dialects that every server speaks.
var kinds = []dialect.Kind{native.Kind, stream.Kind, framed.Kind}

// Kinds returns the dialects that every server speaks.
func Kinds() []dialect.Kind { return slices.Clone(kinds) }

// dialects holds the dialects of a server. Each is made once.
type dialects struct {
	kinds []dialect.Kind
	made  []dialect.Dialect // likewise
	all   map[dialect.Protocol]dialect.Dialect
}

// build makes the dialects of a server.
func (d *dialects) build(s *Server) {
	config := dialect.Config{
		Codecs: s.codecs, Limits: func() codec.Limits { return s.limits() },
		Durability: func() store.Durability { return s.store.Limits().Durability },
		Ready: func(ctx context.Context) error {
			if err := s.store.Ready(ctx); err != nil {
				return faultOfStore(ctx, err)
			}
			return nil
		},
	}
	d.kinds = slices.Concat(kinds, s.Dialects)
	for _, k := range d.kinds {
		d.made = append(d.made, k.New(config))
	}
	d.all = d.of(nil)
}

// names returns the names of all dialects.
func (d *dialects) names() (names []string) {
	for _, k := range d.kinds {
		names = append(names, k.Name)
	}
	return names
}

// name returns the name of the dialect that serves a protocol.
func (d *dialects) name(p dialect.Protocol) string {
	i := slices.IndexFunc(d.kinds, func(k dialect.Kind) bool { return slices.Contains(k.Protocols, p) })
	return d.kinds[i].Name
}

// of maps each protocol to its dialect, for the dialects with the given names, or for
// all.
func (d *dialects) of(names []string) map[dialect.Protocol]dialect.Dialect {
	by := map[dialect.Protocol]dialect.Dialect{}
	for i, k := range d.kinds {
		if len(names) > 0 && !slices.Contains(names, k.Name) {
			continue
		}
		if k.Greets != dialect.Unknown && len(names) == 1 {
			by[k.Greets] = d.made[i]
		}
		for _, p := range k.Protocols {
			by[p] = d.made[i]
		}
	}
	return by
}

// greets returns the protocol in which the server speaks first, given the names of an
// endpoint's dialects.
func (d *dialects) greets(names []string) dialect.Protocol {
	for _, k := range d.kinds {
		if k.Greets != dialect.Unknown && slices.Contains(names, k.Name) {
			return k.Greets
		}
	}
	return dialect.Unknown
}

// shutdown ends what the dialects have open in addition to their connections. It may be
// called more than once.
func (d *dialects) shutdown(ctx context.Context, log func(slog.Level, string, ...any)) {
	var all sync.WaitGroup
	for i, made := range d.made {
		all.Go(func() {
			if err := made.Shutdown(ctx); err != nil {
				log(slog.LevelWarn, "a dialect did not end in time", "dialect", d.kinds[i].Name, "error", err)
			}
		})
	}
	all.Wait()
}
