package web_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// Browsers get the page, and all others what they got without one.
func TestPageIsForBrowsers(t *testing.T) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	const html = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		ask
		status       int
		media, begin string
	}{
		{ask{path: "/", header: html}, 200, "text/html; charset=utf-8", "<!doctype html>"},
		{ask{path: "/?x=1", header: html}, 200, "text/html; charset=utf-8", "<!doctype html>"},
		{ask{path: "/", header: html, method: "HEAD"}, 200, "text/html; charset=utf-8", ""},
		{ask{path: "/"}, 404, "application/problem+json", "{"},
		{ask{path: "/", header: "Accept: */*"}, 404, "application/problem+json", "{"},
		{ask{path: "/", header: html, body: "{}"}, 404, "application/problem+json", "{"},
		{ask{path: "/index.html", header: html}, 404, "application/problem+json", "{"},
		{ask{path: "/page/app.js"}, 200, "text/javascript; charset=utf-8", "//"},
		{ask{path: "/page/style.css"}, 200, "text/css; charset=utf-8", ":root"},
		{ask{path: "/page/icon.svg"}, 200, "image/svg+xml", "<svg"},
		{ask{path: "/page/web.go"}, 404, "application/problem+json", "{"},
		{ask{path: "/page/app.js", body: "{}"}, 405, "application/problem+json", "{"},
		{ask{path: "/", header: html + "\nHost: rebound.example"}, 421, "application/problem+json", "{"},
	} {
		r, text := do(t, addr, c.ask)
		if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.media || !strings.HasPrefix(text, c.begin) {
			t.Errorf("%+v: %d %s %.100q", c.ask, r.StatusCode, r.Header.Get("Content-Type"), text)
		}
		policy := r.Header.Get("Content-Security-Policy")
		if r.StatusCode == http.StatusOK && (!strings.Contains(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe")) {
			t.Errorf("%+v: Content-Security-Policy: %s", c.ask, policy)
		}
	}
}

// A way is one to a server that can be cut. Its address stays the same.
type way struct {
	addr string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// newWay returns a way to a server.
func newWay(t testing.TB, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{addr: l.Addr().String(), conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.pass(from, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.set(true)
		serving.Wait()
	})
	return w
}

func (w *way) pass(from net.Conn, addr string) {
	defer from.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[from] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.conns, from)
		w.mu.Unlock()
	}()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
	_ = to.Close()
	back.Wait()
}

// set cuts the way, with all that go along it, or makes it whole.
func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.conns {
		if cut {
			_ = c.Close()
		}
	}
}

// onPage is what scripts have that look at the page.
const onPage = `
const $ = (selector) => document.querySelector(selector)
const all = (selector, from = document) => [...from.querySelectorAll(selector)]
const until = async (is, what = is) => {
	for (const end = performance.now() + 30000; performance.now() < end;) {
		const got = await is()
		if (got) return got
		await new Promise((resolve) => setTimeout(resolve, 10))
	}
	throw new Error('waited for ' + what + '; ' + $('#state').textContent + '; ' + $('#count').textContent)
}
const rows = () => all('#list .row').sort((a, b) => a.offsetTop - b.offsetTop)
const lines = () => rows().map((r) => r.textContent.replace(/^\d\d:\d\d:\d\d\.\d{3} /, ''))
const type = (selector, text, event = 'change') => {
	$(selector).value = text
	$(selector).dispatchEvent(new Event(event, {bubbles: true}))
}
`

// on runs a script on the page.
func (t *tab) on(script string) string {
	t.t.Helper()
	return t.run("(async () => {" + onPage + script + "})()")
}

// expect holds what a script comes to.
func (t *tab) expect(name, script, want string) {
	t.t.Helper()
	if got := t.on(script); got != want {
		t.t.Errorf("%s: %s\nwant %s", name, got, want)
	}
}

// numbered returns dictionaries with the numbers from one to another.
func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"n":%d}`+"\n", i)
	}
	return b.String()
}

// What arrives is shown as it comes, exactly and as text. Nothing moves while somebody
// reads, and nothing is missing after a connection that was lost.
func TestPageLive(t *testing.T) {
	b := openBrowser(t)
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	post := func(topic, body string) {
		t.Helper()
		if r, text := do(t, addr, ask{path: "/v1/topics/" + topic, body: body}); r.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
	}
	w := newWay(t, addr)
	tab := b.open("http://" + w.addr + "/")

	post("people", `{"name":"<img src=x onerror=alert(1)>","big":1267650600228229401496703205376,"pi":1.0,"no":null,"yes":true,"in":[1,{"a":"\u202egnp"}]}`)
	tab.expect("a line", `
		await until(() => rows().length === 1)
		const types = all('bdi:not(.topic) span', rows()[0]).map((e) => e.className)
		return lines()[0] + ' ' + types + ' ' + all('img').length`,
		`people {"name": "<img src=x onerror=alert(1)>", "big": 1267650600228229401496703205376, "pi": 1.0, "no": null, "yes": true, "in": [1, {"a": "\u202egnp"}]} `+
			`key,str,key,int,key,float,key,null,key,bool,key,int,key,str 0`)

	post("n", numbered(0, 1000))
	tab.expect("the newest at the bottom", `
		await until(() => lines().at(-1) === 'n {"n": 999}')
		return (rows().length < 200) + ' ' + $('#count').textContent`, "true 1,001 records")

	tab.expect("scrolled up", `
		$('#list').scrollTop = 4000
		await until(() => $('#pause').textContent === 'Paused')
		await until(() => lines().includes('n {"n": 199}'))
		return $('#new').hidden`, "true")
	post("n", numbered(1000, 1500))
	tab.expect("paused", `
		await until(() => $('#new').textContent === '500 new ↓')
		return $('#list').scrollTop + ' ' + lines().includes('n {"n": 199}')`, "4000 true")
	tab.expect("gone on", `
		$('#new').click()
		await until(() => lines().at(-1) === 'n {"n": 1499}')
		return $('#new').hidden + ' ' + $('#pause').textContent`, "true Pause")

	w.set(true)
	tab.expect("cut", `
		await until(() => /^(not connected|connecting again)/.test($('#state').textContent))
		return $('#state').className`, "bad")
	post("n", numbered(1500, 1600))
	w.set(false)
	tab.expect("connected again", `
		await until(() => lines().at(-1) === 'n {"n": 1599}')
		return $('#state').textContent.replace(/from .*/, 'from') + ' ' + $('#count').textContent`,
		"connected again, from 1,601 records")

	post("orders.eu", `{"n":1}`)
	tab.expect("a pattern", `
		type('#topic', 'orders.*')
		await until(() => rows().length === 1)
		return lines()[0] + ' ' + location.hash`, `orders.eu {"n": 1} #topic=orders.*`)
}
