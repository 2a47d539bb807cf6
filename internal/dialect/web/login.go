package web

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A page can't set headers on a WebSocket or an EventSource. After a login, a cookie that
// scripts can't read stands for its token. The cookie is a random value, of which the
// server keeps a hash, and is accepted only from pages of the server's own origin.

const (
	loginTime  = 12 * time.Hour
	maxLogins  = 4096 // of all principals
	ownLogins  = 16   // of one principal; another login ends its oldest
	cookieName = "dictwire"
)

// logins holds the active logins. The zero value is ready to use.
type logins struct {
	mu  sync.Mutex
	all map[loginKey]login // guarded by mu
}

// A loginKey is the hash of a cookie's value.
type loginKey [sha256.Size]byte

type login struct {
	principal, token string
	until            time.Time
}

// begin returns the value of a new cookie for a token. It reports false if there are too
// many logins.
func (l *logins) begin(principal, token string) (value string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, own := time.Now(), 0
	var oldest loginKey
	for key, one := range l.all {
		switch {
		case !now.Before(one.until):
			delete(l.all, key)
		case one.principal == principal:
			if own++; own == 1 || one.until.Before(l.all[oldest].until) {
				oldest = key
			}
		}
	}
	switch {
	case own >= ownLogins:
		delete(l.all, oldest)
	case len(l.all) >= maxLogins:
		return "", false
	}
	if l.all == nil {
		l.all = make(map[loginKey]login)
	}
	value = rand.Text()
	l.all[sha256.Sum256([]byte(value))] = login{principal, token, now.Add(loginTime)}
	return value, true
}

// token returns the token of a cookie.
func (l *logins) token(value string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.all[sha256.Sum256([]byte(value))]
	return one.token, ok && time.Now().Before(one.until)
}

// end ends a login.
func (l *logins) end(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, sha256.Sum256([]byte(value)))
}

// cookie returns the server's cookie. Its name contains the port, since a browser sends
// cookies to all ports of a host. Over TLS, the prefix of the name prevents other hosts of
// the domain from setting it.
func cookie(r *http.Request, value string, age int) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			c.Name = fmt.Sprintf("%s_%d", cookieName, n)
		}
	}
	if requestOf(r).dw.TLS() != nil {
		c.Name, c.Secure = "__Host-"+c.Name, true
	}
	return c
}

// loginOf returns the value of a request's cookie, or "" if there is none that may be used.
func loginOf(r *http.Request) string {
	if !ownPage(r) {
		return ""
	}
	all := r.CookiesNamed(cookie(r, "", 0).Name)
	if len(all) != 1 { // of two, one was set by somebody else
		return ""
	}
	return all[0].Value
}

// ownPage reports whether the browser says that the request comes from a page of the
// server's own origin. SameSite alone would allow pages at other ports of the host.
func ownPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}

// tokenOf returns the token in a request's header, or else the one that its cookie stands
// for, or "".
func (d *web) tokenOf(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") != "" {
		return bearer(r)
	}
	value := loginOf(r)
	if value == "" {
		return "", nil
	}
	token, ok := d.logins.token(value)
	if !ok {
		return "", &problem{status: http.StatusUnauthorized, cookie: cookie(r, "", -1), fault: &fault.Error{
			Code: fault.Unauthenticated, At: -1, Text: "the login has ended", Hint: "log in again",
		}}
	}
	return token, nil
}

// login sets a cookie that stands for the token in the header.
func (d *web) login(w http.ResponseWriter, r *http.Request) error {
	token, err := bearer(r)
	if err != nil {
		return err
	}
	if token == "" {
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the request has no token", Hint: bearerHint}
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	if before := loginOf(r); before != "" {
		d.logins.end(before) // makes room for the new one
	}
	value, ok := d.logins.begin(session.Principal(), token)
	if !ok {
		return &fault.Error{Code: fault.Unavailable, At: -1, Text: "too many pages are logged in", Retry: time.Minute}
	}
	http.SetCookie(w, cookie(r, value, 0)) // a session cookie
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("principal", session.Principal()))
	return nil
}

// logout ends a login.
func (d *web) logout(w http.ResponseWriter, r *http.Request) error {
	if value := loginOf(r); value != "" {
		d.logins.end(value)
	}
	http.SetCookie(w, cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
	return nil
}
