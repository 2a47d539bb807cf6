package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// Browsers get the page. Other clients get the same answer as without a page.
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

// onPage defines helpers for scripts that inspect the page.
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
const text = (e) => {
	const copy = e.cloneNode(true)
	for (const b of all('button', copy)) b.remove()
	return copy.textContent.trim()
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

// expect compares the result of a script.
func (t *tab) expect(name, script, want string) {
	t.t.Helper()
	if got := t.on(script); got != want {
		t.t.Errorf("%s: %s\nwant %s", name, got, want)
	}
}

// numbered returns dictionaries with the numbers from ≤ n < to.
func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"n":%d}`+"\n", i)
	}
	return b.String()
}

// The page in a browser.
func TestPage(t *testing.T) {
	b := openBrowser(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *browser)
	}{
		{"live", testLive},
		{"killed", testKilled},
		{"slow", testSlow},
		{"record", testRecord},
		{"hostile", testHostile},
		{"find", testFind},
		{"jq", testJQ},
		{"export", testExport},
		{"keys", testKeys},
		{"rejected", testRejected},
		{"tables", testTables},
		{"looks", testLooks},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := b.t
			b.t = t
			defer func() { b.t = was }()
			c.test(t, b)
		})
	}
}

// Records are shown as they arrive, exactly and as text. Nothing moves while somebody
// reads, and nothing is missing after a lost connection.
func testLive(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	post := func(topic, body string) {
		t.Helper()
		if r, text := do(t, addr, ask{path: "/v1/topics/" + topic, body: body}); r.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
	}
	w := servertest.NewProxy(t, addr)
	tab := b.open("http://" + w.Addr + "/")

	post("people", `{"name":"<img src=x onerror=alert(1)>","big":1267650600228229401496703205376,"pi":1.0,"no":null,"yes":true,"in":[1,{"a":"\u202egnp"}]}`)
	tab.expect("a line", `
		await until(() => rows().length === 1)
		const types = all('bdi:not(.topic) span', rows()[0]).map((e) => e.className)
		return lines()[0] + ' ' + types + ' ' + all('img').length`,
		`people {"name": "<img src=x onerror=alert(1)>", "big": 1267650600228229401496703205376, "pi": 1.0, "no": null, "yes": true, "in": [1, {"a": "\u202egnp"}]} `+
			`str,int,float,null,bool,int,str 0`)

	post("n", numbered(0, 1000))
	tab.expect("the newest at the bottom", `
		await until(() => lines().at(-1) === 'n {"n": 999}' && $('#count').textContent === '1,001 records')
		return rows().length < 200`, "true")

	tab.expect("scrolled up", `
		$('#list').scrollTop = 4000
		await until(() => $('#pause').textContent === 'Paused')
		await until(() => lines().includes('n {"n": 199}'))
		return $('#new').hidden`, "true")
	tab.expect("selected", `
		$('#new').click()
		await until(() => $('#pause').textContent === 'Pause' && lines().at(-1) === 'n {"n": 999}')
		getSelection().selectAllChildren(rows().at(-2))
		await until(() => $('#pause').textContent === 'Paused')
		getSelection().removeAllRanges()
		$('#list').scrollTop = 4000
		await until(() => lines().includes('n {"n": 199}'))
		return ''`, "")
	post("n", numbered(1000, 1500))
	tab.expect("paused", `
		await until(() => $('#new').textContent === '500 new ↓')
		return $('#list').scrollTop + ' ' + lines().includes('n {"n": 199}')`, "4000 true")
	tab.expect("gone on", `
		$('#new').click()
		await until(() => lines().at(-1) === 'n {"n": 1499}')
		return $('#new').hidden + ' ' + $('#pause').textContent`, "true Pause")

	w.To("")
	w.Cut()
	tab.expect("cut", `
		await until(() => /^(not connected|connecting again)/.test($('#state').textContent))
		return $('#state').className`, "bad")
	post("n", numbered(1500, 1600))
	w.To(addr)
	tab.expect("connected again", `
		await until(() => lines().at(-1) === 'n {"n": 1599}' && $('#count').textContent === '1,601 records')
		return $('#state').textContent.replace(/from .*/, 'from')`, "connected again, from")

	post("orders.eu", `{"n":1}`)
	tab.expect("a pattern", `
		type('#topic', 'orders.*')
		await until(() => rows().length === 1)
		return lines()[0] + ' ' + location.hash`, `orders.eu {"n": 1} #topic=orders.*`)
}

// Records with values of all types are shown, found and copied exactly.
func testRecord(t *testing.T, b *browser) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	kinds := []struct{ python, shown string }{
		{"9007199254740993", "9007199254740993"},
		{"-18446744073709551617", "-18446744073709551617"},
		{"1e300", "1e+300"},
		{"-0.0", "-0.0"},
		{"0.1", "0.1"},
		{"1e22", "1e+22"},
		{"nan", "nan"},
		{"(1+2j)", "(1+2j)"},
		{"Decimal('1.50')", "Decimal('1.50')"},
		{"Decimal('-1E+400')", "Decimal('-1E+400')"},
		{"Decimal('0.00000012')", "Decimal('1.2E-7')"},
		{"Decimal('NaN')", "Decimal('NaN')"},
		{"'\\ud800'", `"\ud800"`},
		{"b'a\\x00\\xff'", `b'a\x00\xff'`},
		{"bytearray(b'ab')", "bytearray(b'ab')"},
		{"UUID('00000000-0000-0000-0000-000000000005')", "00000000-0000-0000-0000-000000000005"},
		{"datetime.datetime(2026, 11, 25, 10, 0, 0, 500000, tzinfo=datetime.timezone.utc)", "2026-11-25T10:00:00.500000Z"},
		{"datetime.datetime(2026, 11, 25, 10, 0)", "2026-11-25T10:00:00"},
		{"datetime.date(2026, 11, 25)", "2026-11-25"},
		{"datetime.time(10, 0)", "10:00:00"},
		{"datetime.timedelta(days=1, seconds=2)", "1 day, 0:00:02"},
		{"datetime.timedelta(days=-1)", "-1 day, 0:00:00"},
		{"[1, (2,)]", "[1, (2,)]"},
		{"{1, 2}", "{1, 2}"},
		{"frozenset({1})", "frozenset({1})"},
		{"OrderedDict([('a', 1)])", `OrderedDict({"a": 1})`},
		{"CBORTag(4000, 1)", "tag 4000(1)"},
	}
	var sent strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&sent, "{'v': %s}\n", k.python)
	}
	sent.WriteString("{(1, 'x'): '<b>', 'deep': {'er': {'number': 9007199254740993}}}\n")
	r, text := do(t, addr, ask{path: "/v1/topics/kinds", body: sent.String(), header: "Content-Type: text/x-python"})
	check(t, "kinds", r, text, http.StatusOK, `.*"rejections":0.*`)

	tab := b.open("http://" + addr + "/")
	defer tab.close()
	var shown strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&shown, "kinds {\"v\": %s}\n", k.shown)
	}
	shown.WriteString(`kinds {(1, "x"): "<b>", "deep": {"er": {"number": 9007199254740993}}}`)
	tab.expect("lines", fmt.Sprintf(`
		await until(() => $('#count').textContent === '%d records')
		await until(() => rows().length > 10)
		return lines().join('\n')`, len(kinds)+1), shown.String())

	tab.expect("found", `
		const found = []
		for (const query of ['number', 'v:9007199254740993', 'deep.er.number>9007199254740992', 'deep.er.number>9007199254740993', '"1 day"', '-v:1 deep', 'v:nan']) {
			type('#find', query, 'input')
			await until(() => new URLSearchParams(location.hash.slice(1)).get('find') === query)
			await until(() => / of [\d,]+$/.test($('#count').textContent))
			found.push($('#count').textContent.split(' ')[0])
		}
		return found.join(' ')`, "1 1 1 0 2 1 2")

	tab.expect("opened", `
		type('#find', 'deep', 'input')
		await until(() => rows().length === 1)
		rows()[0].click()
		await until(() => !$('#record').hidden && $('.tree'))
		await until(() => all('.tree details').length === 2 && all('.tree .leaf').length === 2)
		return all('.tree .leaf').map(text).join('; ') + ' ' + all('b').length`,
		`(…): "<b>"; "number": 9007199254740993 int 0`)
	tab.expect("copied", `
		const texts = []
		navigator.clipboard.writeText = async (text) => { texts.push(text) }
		const buttons = all('#record .buttons button')
		for (const [i, b] of buttons.slice(0, 4).entries()) {
			b.click()
			await until(() => texts.length === i + 1)
		}
		window.link = texts.pop()
		return texts.join('\n')`,
		`{"(1, 'x')":"<b>","deep":{"er":{"number":9007199254740993}}}
{(1, 'x'): '<b>', 'deep': {'er': {'number': 9007199254740993}}}
curl -s -H 'Content-Type: text/x-python' --data-binary '{(1, '\''x'\''): '\''<b>'\'', '\''deep'\'': {'\''er'\'': {'\''number'\'': 9007199254740993}}}' 'http://`+addr+`/v1/topics/kinds'`)

	again := b.open(tab.on(`return window.link`))
	defer again.close()
	again.expect("a link", `
		await until(() => !$('#record').hidden && $('.tree'))
		return text($('#record dd')) + ' ' + text($('.tree .leaf')) + ' ' + $('#find').value`, `kinds (…): "<b>" deep`)
}

// With a token, a page sees and sends what its principal may, and no address contains the
// token.
func testTables(t *testing.T, b *browser) {
	addr, _, _ := lookedAfter(t)
	tab := b.open("http://" + addr + "/#view=topics")
	defer tab.close()
	const cells = `
		const cells = (n) => all('#table tbody tr').map((r) => all('td', r).slice(0, n).map((c) => c.textContent).join(' ')).join('; ')
		const go = async (view) => {
			$('nav a[data-view=' + view + ']').click()
			await until(() => location.hash.includes('view=' + view) && $('#' + (view === 'send' ? 'send' : 'table')).hidden === false)
		}
	`
	tab.expect("a token", cells+`
		await until(() => $('#login').open)
		$('#token').value = 'nobody'
		$('#login button').click()
		await until(() => $('#login').open && $('#token').value === '')
		$('#token').value = 'red'
		$('#login button').click()
		await until(() => cells(2) && !$('#logout').hidden)
		return cells(2) + ' ' + [location.hash, $('#logout').title, sessionStorage.length, localStorage.length, document.cookie].join(' ')`, "red.a 6 #view=topics red 0 0 ")
	tab.expect("producers", cells+`await go('producers'); await until(() => cells(2)); return cells(3)`, "p blue.a 1; p red.a 1")
	tab.expect("cursors", cells+`await go('cursors'); await until(() => cells(2)); return cells(3)`, "c red.a 6")
	tab.expect("server", cells+`await go('server'); await until(() => cells(2)); return all('#table tr').map((r) => r.textContent).join('; ').replace(/; largest.*/, '')`, "you arered; an acknowledged record survivesloss of power (fsync); takes recordsyes")
	tab.expect("sent", cells+`
		await go('send')
		const said = []
		for (const [topic, format, text] of [
			['red.a', 'application/json', '{"big":9007199254740993}'],
			['red.a', 'application/json', '{"a":1,"a":2}'],
			['red.a', 'text/x-python', "{'t': (1, 2)}"],
			['_no', 'application/json', '{}'],
		]) {
			$('#send-topic').value = topic
			$('#send-format').value = format
			$('#send-text').value = text
			$('#sending button').click()
			await until(() => $('#sent').className)
			said.push($('#sent').className + ' ' + $('#sent').textContent.match(/\((\d+)\): .*?("accepted":\d|"code":"\w+")/).slice(1).join(' '))
		}
		return said.join('; ')`, `good 200 "accepted":1; bad 422 "code":"duplicate_key"; good 200 "accepted":1; bad 404 "code":"topic"`)
	tab.expect("what was sent", cells+`
		$('nav a[data-view=live]').click()
		type('#topic', 'red.*')
		await until(() => lines().at(-1) === 'red.a {"t": (1, 2)}')
		return lines().at(-2)`, `red.a {"big": 9007199254740993}`)
	tab.on(`$('#logout').click(); return ''`)
	b.until(func(r reply) bool { return r.Method == "Page.loadEventFired" && r.SessionID == tab.session })
	tab.expect("logged out", `await until(() => $('#login').open); return rows().length`, "0")
	tab.expect("many requests that want one login", `
		const {get} = await import('/page/api.js'), log = () => {
			$('#token').value = 'red'
			$('#login button').click()
		}
		log()
		await until(() => !$('#logout').hidden)
		await fetch('/v1/logout', {method: 'POST'})
		const answers = Promise.all(Array.from({length: 5}, () => get('/v1/status')))
		await until(() => $('#login').open)
		log()
		return (await answers).map((answer) => answer.status).join(' ') + ' ' + $('#login').open`, "200 200 200 200 200 false")
}
