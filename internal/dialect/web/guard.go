package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/dictwire/dictwire/fault"
)

// A guard prevents other web pages from using the server through a browser.
//
// At a loopback address, the Host header must name a loopback address, so that a page can't
// reach the server through a name of its own that resolves there. A request from a page of
// another origin is refused if it writes or moves a cursor; if it reads, the browser
// withholds the answer from the page. Pages of allowed origins have the rights of the
// server's own pages.
type guard struct {
	origin  http.CrossOriginProtection
	allowed map[string]bool
}

// newGuard returns a guard that allows the given origins.
func newGuard(origins []string) (*guard, error) {
	g := &guard{allowed: map[string]bool{}}
	for _, o := range origins {
		if err := g.origin.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("dictwire: %q is not an origin: want scheme://host, as in https://app.example", o)
		}
		g.allowed[o] = true
	}
	return g, nil
}

// share adds the CORS headers for a page of an allowed origin, and reports whether the
// request is only a preflight.
func (g *guard) share(h http.Header, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if !g.allowed[origin] {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Allow, Retry-After, WWW-Authenticate")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Add("Vary", "Origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding, Idempotency-Key, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	return true
}

// guarded wraps a handler with the guard.
func (d *web) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if p := d.guard.check(r); p != nil {
			handle(func(http.ResponseWriter, *http.Request) error { return p }).ServeHTTP(w, r)
			return
		}
		if d.guard.share(h, r) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// check returns the problem of a request that must not be served, or nil.
func (g *guard) check(r *http.Request) *problem {
	if c := requestOf(r); isLoopback(c.LocalAddr()) && !isLocalName(r.Host) {
		return &problem{status: http.StatusMisdirectedRequest, fault: &fault.Error{
			Code: fault.Forbidden, At: -1,
			Text: fmt.Sprintf("this server is not %.100q", r.Host),
			Hint: "at a loopback address it is reached as localhost, 127.0.0.1 or [::1]",
		}}
	}
	asked := r
	if r.URL.Path == connectPath || r.URL.Query().Has("cursor") { // which reading claims
		asked = r.Clone(r.Context())
		asked.Method = http.MethodPost
	}
	if g.origin.Check(asked) != nil {
		return &problem{fault: &fault.Error{
			Code: fault.Forbidden, At: -1,
			Text: "a page of another origin can't do this; nothing was taken",
		}}
	}
	return nil
}

// isLoopback reports whether an address is reachable from this machine only. It returns
// false for a Unix socket, which no browser can reach.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// isLocalName reports whether a Host header names a loopback address.
func isLocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
