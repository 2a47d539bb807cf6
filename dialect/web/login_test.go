package web_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/store/memory"
)

// authorized returns a server with a few tokens; the name of a principal is its token.
func authorized(s *memory.Store, revoked *atomic.Bool) *dictwire.Server {
	return &dictwire.Server{Store: s, Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		if c.Token != "red" && c.Token != "blue" || revoked.Load() {
			return access.Grant{}, dictwire.ErrUnauthenticated
		}
		return access.Grant{Principal: c.Token}, nil
	}}
}

// loginAs logs in, and returns the cookie as a browser sends it.
func loginAs(t *testing.T, addr, token, header string) string {
	t.Helper()
	r, text := do(t, addr, ask{method: "POST", path: "/v1/login", header: "Authorization: Bearer " + token + "\n" + header})
	check(t, "login", r, text, 200, `\{"principal":"`+token+`"\}`+"\n")
	_, port, _ := strings.Cut(addr, ":")
	all := r.Header["Set-Cookie"]
	if len(all) != 1 || !regexp.MustCompile(`^dictwire_`+port+`=[A-Z2-7]{26,}; Path=/; HttpOnly; SameSite=Strict$`).MatchString(all[0]) {
		t.Fatalf("cookies %q", all)
	}
	cookie, _, _ := strings.Cut(all[0], ";")
	return "Cookie: " + cookie
}

// A cookie stands for a token if a page of the server's own origin sends it, and nowhere
// else.
func TestLogin(t *testing.T) {
	var revoked atomic.Bool
	s := memory.New(nil)
	addr := start(t, authorized(s, &revoked))
	const own = "\nSec-Fetch-Site: same-origin"
	status := func(name, header string, want int, pattern string) {
		t.Helper()
		r, text := do(t, addr, ask{path: "/v1/status", header: header})
		check(t, name, r, text, want, pattern)
	}
	is := func(who string) string { return `\{"principal":"` + who + `",.*` }
	for name, header := range map[string]string{"no token": "", "a wrong one": "Authorization: Bearer green"} {
		r, text := do(t, addr, ask{method: "POST", path: "/v1/login", header: header})
		check(t, name, r, text, 401, `.*"code":"unauthenticated"\}`+"\n")
		if len(r.Header["Set-Cookie"]) != 0 {
			t.Errorf("%s: a cookie is set", name)
		}
	}
	// A cookie that an attacker has set before a login is worthless after it.
	_, port, _ := strings.Cut(addr, ":")
	chosen := "Cookie: dictwire_" + port + "=AAAAAAAAAAAAAAAAAAAAAAAAAA"
	red := loginAs(t, addr, "red", chosen+own)
	r, text := do(t, addr, ask{path: "/v1/status", header: chosen + own})
	check(t, "a chosen cookie", r, text, 401, `.*the login has ended; log in again.*`)
	if got := fmt.Sprint(r.Header["Set-Cookie"]); !strings.Contains(got, "Max-Age=0") {
		t.Errorf("it stays: %s", got)
	}
	blue := loginAs(t, addr, "blue", "")

	status("the page", red+own, 200, is("red"))
	status("a browser that does not say", red+"\nOrigin: http://"+addr, 200, is("red"))
	status("a token beside it", red+"\nAuthorization: Bearer blue"+own, 200, is("blue"))
	status("a wrong token beside it", red+"\nAuthorization: Bearer green"+own, 401, `.*`)
	status("two of them", red+strings.Replace(blue, "Cookie: ", "; ", 1)+own, 401, `.*wants to know.*`)
	status("a page at another port", red+"\nSec-Fetch-Site: same-site", 401, `.*wants to know.*`)
	status("a page of another site", red+"\nSec-Fetch-Site: cross-site", 401, `.*wants to know.*`)
	status("a link", red+"\nSec-Fetch-Site: none", 401, `.*wants to know.*`)
	status("nobody says", red, 401, `.*wants to know.*`)
	status("another origin", red+"\nOrigin: http://127.0.0.1:1", 401, `.*wants to know.*`)
	for _, path := range []string{"/v1/topics/t", "/v1/logout"} {
		r, text := do(t, addr, ask{path: path, body: `{"evil":1}`, header: red + "\nSec-Fetch-Site: same-site"})
		check(t, "a form at another port", r, text, 403, `.*another origin.*`)
	}
	status("the page then", red+own, 200, is("red"))

	r, text = do(t, addr, ask{method: "POST", path: "/v1/logout", header: red + own})
	check(t, "logout", r, text, 204, "")
	status("after it", red+own, 401, `.*the login has ended.*`)
	status("the other", blue+own, 200, is("blue"))
	again := loginAs(t, addr, "blue", blue+own)
	status("the one before", blue+own, 401, `.*the login has ended.*`)
	page := again
	for range 15 { // as many as the limit
		page = loginAs(t, addr, "blue", "")
	}
	page = loginAs(t, addr, "blue", page+own)
	status("the oldest, when another one logs in again", again+own, 200, is("blue"))
	revoked.Store(true)
	status("after the token's end", page+own, 401, `.*not valid any more.*`)
	if got := stored(t, s, "*"); got != "" {
		t.Errorf("stored %s", got)
	}
}

// In a browser, the cookie opens an EventSource and a WebSocket for the server's own pages.
// Pages of other ports and sites gain nothing by it, and no script can read it.
func TestLoginInBrowser(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, authorized(s, new(atomic.Bool)))
	evil := servePage(t, "<!doctype html>")
	b := openBrowser(t)
	const script = `
		const event = (address) => new Promise((resolve) => {
			const source = new EventSource(address + '/v1/topics/t', {withCredentials: true})
			source.onmessage = (event) => { source.close(); resolve(event.data) }
			source.onerror = () => { source.close(); resolve('refused') }
		})
		const socket = (address) => new Promise((resolve) => {
			const s = new WebSocket(address.replace('http', 'ws') + '/v1/connect', 'dictwire.1')
			s.onopen = () => s.send('{"dictwire":1,"topic":"t"}')
			s.onmessage = (event) => { s.close(); resolve(JSON.parse(event.data).dictwire ?? event.data) }
			s.onerror = () => resolve('refused')
		})
		const send = (address) => fetch(address + '/v1/topics/t', {method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"evil":1}'}).then((r) => r.status, () => 'refused')
		const read = (address) => fetch(address + '/v1/status', {credentials: 'include'}).then((r) => r.status, () => 'refused');
		`
	const own = script + `(async () => {
		const here = location.origin
		const tried = [await event(here), (await fetch('/v1/login', {method: 'POST', headers: {Authorization: 'Bearer red'}})).status]
		tried.push(await fetch('/v1/topics/t', {method: 'POST', body: '{"a":1}'}).then((r) => r.status))
		return [...tried, document.cookie === '', await event(here), await socket(here)].join(' ')
	})()`
	if got, want := b.run("http://"+addr+"/healthz", own), `refused 200 200 true {"a":1} 1`; got != want {
		t.Errorf("the server's own page: %s, want %s", got, want)
	}
	there := script + `(async () => { const there = 'http://` + addr + `'
		return [await event(there), await socket(there), await send(there), await read(there)].join(' ')
	})()`
	for _, page := range []string{"http://127.0.0.1:" + evil, "http://evil.example:" + evil} {
		if got, want := b.run(page, there), "refused refused refused refused"; got != want {
			t.Errorf("a page of %s: %s, want %s", page, got, want)
		}
	}
	if got := stored(t, s, "*"); got != `{"a":1}` {
		t.Errorf("stored %s", got)
	}
}
