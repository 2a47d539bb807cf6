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

// A login keeps the token of a page, which can't set headers on a WebSocket or an
// EventSource: a cookie that scripts can't read stands for it. The cookie is a random
// value of which the sum is kept, and counts only for pages of the server's own origin.

const (
	loginTime  = 12 * time.Hour
	maxLogins  = 4096 // in all
	ownLogins  = 16   // of a principal; one more ends its oldest
	cookieName = "dictwire"
)

// logins are those that last. The zero value is ready to use.
type logins struct {
	mu  sync.Mutex
	all map[loginKey]login // guarded by mu
}

// A loginKey is the sum of a cookie's value.
type loginKey [sha256.Size]byte

type login struct {
	principal, token string
	until            time.Time
}

// begin returns the value of a cookie that stands for a token, or false where there are
// too many.
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

// token returns what a cookie stands for.
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

// cookie returns the cookie of a server, by its port, since a browser sends cookies to all
// ports of a host. Within TLS its name lets no other host of the domain set it.
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

// loginOf returns the value of a request's cookie, "" where it has none that counts.
func loginOf(r *http.Request) string {
	if !ownPage(r) {
		return ""
	}
	all := r.CookiesNamed(cookie(r, "", 0).Name)
	if len(all) != 1 { // of two, one is somebody else's
		return ""
	}
	return all[0].Value
}

// ownPage reports whether a browser says that a page of the server's own origin asks.
// SameSite alone lets pages at other ports of the host ask, too.
func ownPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}

// tokenOf returns the token of a request, or "": that of its header, or else what its
// cookie stands for.
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

// login gives the page a cookie that stands for the token in the header.
func (d *web) login(w http.ResponseWriter, r *http.Request) error {
	token, err := bearer(r)
	if err != nil {
		return err
	}
	if token == "" {
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "there is no token", Hint: bearerHint}
	}
	session, err := d.open(r)
	if err != nil {
		return err
	}
	if before := loginOf(r); before != "" {
		d.logins.end(before) // which makes room
	}
	value, ok := d.logins.begin(session.Principal(), token)
	if !ok {
		return &fault.Error{Code: fault.Unavailable, At: -1, Text: "more pages are logged in than there is room for", Retry: time.Minute}
	}
	http.SetCookie(w, cookie(r, value, 0)) // the browser forgets it when it ends
	answer(w, r, http.StatusOK, mediaJSON, dict.Of("principal", session.Principal()))
	return nil
}

// logout ends what login began.
func (d *web) logout(w http.ResponseWriter, r *http.Request) error {
	if value := loginOf(r); value != "" {
		d.logins.end(value)
	}
	http.SetCookie(w, cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
	return nil
}
