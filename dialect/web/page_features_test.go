package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// post sends records that must be accepted.
func post(t *testing.T, addr, topic, body string) {
	t.Helper()
	if r, text := do(t, addr, ask{path: "/v1/topics/" + topic, body: body}); r.StatusCode != http.StatusOK {
		t.Fatal(text)
	}
}

// press presses a key.
func (t *tab) press(key, text string) {
	t.t.Helper()
	down := map[string]any{"type": "keyDown", "key": key}
	if text != "" {
		down["text"] = text
	}
	t.call(t.session, "Input.dispatchKeyEvent", down)
	t.call(t.session, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key})
}

// drag drags the mouse from one point of the page to another.
func (t *tab) drag(x1, x2, y int) {
	t.t.Helper()
	for i, x := range []int{x1, x1, (x1 + x2) / 2, x2, x2} {
		kind := []string{"mouseMoved", "mousePressed", "mouseMoved", "mouseMoved", "mouseReleased"}[i]
		t.call(t.session, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1})
	}
}

// After a server was killed and restarted on the same store, the page continues where it
// was: nothing is missing, and nothing appears twice.
func testKilled(t *testing.T, b *browser) {
	dir := t.TempDir()
	begin := func() (addr string, kill func()) {
		s, err := log.Open(t.Context(), dir, &log.Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		srv := &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{web.Dialect}}
		addr = start(t, srv)
		return addr, func() {
			if err := errors.Join(srv.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	addr, kill := begin()
	w := servertest.NewProxy(t, addr)
	tab := b.open("http://" + w.Addr + "/#find=n:*")
	defer tab.close()
	post(t, addr, "n", numbered(0, 50))
	tab.expect("before", `await until(() => lines().at(-1) === 'n {"n": 49}' && !/^0/.test($('#count').textContent)); return $('#count').textContent`, "50 of 50")
	w.To("")
	w.Cut()
	kill()
	tab.expect("dead", `await until(() => /^not connected: .*; trying again from .*\.\d+\.50$/.test($('#state').textContent)); return $('#state').className`, "bad")
	addr, kill = begin()
	defer kill()
	post(t, addr, "n", numbered(50, 60))
	w.To(addr)
	tab.expect("back", `
		await until(() => lines().at(-1) === 'n {"n": 59}')
		const seen = lines().map((l) => Number(l.match(/\d+/)[0]))
		return $('#count').textContent + ' ' + $('#state').textContent.replace(/from .*/, 'from') + ' ' + seen.every((n, i) => i === 0 || n === seen[i - 1] + 1)`,
		"60 of 60 connected again, from true")
}

// A network with 40 KB/s and a latency of 0.4 s makes the page slow, but nothing worse.
func testSlow(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	tab := b.open("about:blank")
	defer tab.close()
	tab.call(tab.session, "Network.enable", nil)
	tab.call(tab.session, "Network.emulateNetworkConditions", map[string]any{
		"offline": false, "latency": 400, "downloadThroughput": 40_000, "uploadThroughput": 40_000,
	})
	began := time.Now()
	tab.call(tab.session, "Page.navigate", map[string]any{"url": "http://" + addr + "/"})
	b.until(func(r reply) bool { return r.Method == "Page.loadEventFired" && r.SessionID == tab.session })
	tab.expect("live", `await until(() => $('#state').textContent === 'live'); return ''`, "")
	t.Logf("live after %v", time.Since(began).Round(10*time.Millisecond))
	post(t, addr, "n", numbered(0, 500))
	tab.expect("records", `await until(() => lines().at(-1) === 'n {"n": 499}'); return $('#count').textContent`, "500 records")
}

// Records made to break the page are shown as text.
func testHostile(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil), Limits: codec.Limits{RecordBytes: 2 << 20}})
	var keys strings.Builder
	keys.WriteString(`{"first":true`)
	for i := range 10_000 {
		fmt.Fprintf(&keys, `,"key %d":%d`, i, i)
	}
	keys.WriteString("}")
	const evil = `<script>window.hit=1</script><img src=x onerror='window.hit=2'><svg onload='window.hit=3'>`
	hostile := []string{
		`{"html":"` + evil + `"}`,
		`{"` + evil + `":{"` + evil + `":"` + evil + `"}}`,
		`{"long":"` + strings.Repeat("x", 1<<20) + `"}`,
		strings.Repeat(`{"d":`, 127) + `{}` + strings.Repeat(`}`, 127),
		`{"bidi":"abc\u202edcba\u2066\u2069\u200f","\u202ekey":"\u0000\u0007\u001b[2J\u2028"}`,
		keys.String(),
		`{"__proto__":{"polluted":1},"constructor":1,"toString":"x","":"empty"}`,
	}
	post(t, addr, "h", strings.Join(hostile, "\n"))
	tab := b.open("http://" + addr + "/#columns=html,long,d,__proto__")
	defer tab.close()
	tab.expect("columns", `await until(() => rows().length === 7); return all('.cell', rows()[2]).map((c) => Math.round(c.textContent.length / 10)).join(' ')`, "0 51 0 0")
	tab.expect("lines", `
		location.hash = ''
		await until(() => lines()[0]?.includes('{"html"'))
		return [window.hit, {}.polluted, all('#list script, #list img, #list svg').length, lines()[4], lines()[6], Math.max(...lines().map((l) => l.length)) < 1100].join(' ')`,
		`  0 h {"bidi": "abc\u202edcba\u2066\u2069\u200f", "\u202ekey": "\u0000\u0007\u001b[2J\u2028"} h {"__proto__": {"polluted": 1}, "constructor": 1, "toString": "x", "": "empty"} true`)
	tab.expect("opened", `
		const said = []
		for (const row of rows()) {
			const before = $('#record .buttons')
			row.click()
			await until(() => $('#record .buttons') && $('#record .buttons') !== before)
			for (let n = -1; n !== all('.tree *').length;) { // what is open comes bit by bit
				n = all('.tree *').length
				await new Promise((resolve) => setTimeout(resolve, 100))
			}
			said.push(all('.tree .leaf').length + '/' + all('.tree details').length)
		}
		return said.join(' ') + ' ' + [window.hit, {}.polluted, all('#record script, #record img, #record svg').length].join(' ')`,
		"1/0 1/1 1/0 0/9 2/0 200/0 4/1   0")
	tab.expect("found", `
		const said = []
		for (const query of ['xxxxxxxxx', '"key 9999"=9999', '"key 9999">9998', '"__proto__".polluted=1', '""=empty', 'onerror', 'd.d.d.d.d:*']) {
			type('#find', query, 'input')
			await until(() => new URLSearchParams(location.hash.slice(1)).get('find') === query && / of 7$/.test($('#count').textContent))
			said.push($('#count').textContent.split(' ')[0])
		}
		return said.join(' ')`, "1 1 1 1 1 2 1")
}

// Searches find what they should, and clicks include or exclude values. Keys become
// columns, and a range of time can be dragged. The address reflects all of it.
func testFind(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "people", `{"name":"Zoë","age":30,"in":{"city":"Oslo"},"tags":["a","b"]}{"name":"Bob B","age":4.5}{"name":"Zoë","a.b":{"x y":1},"age":null}`)
	tab := b.open("http://" + addr + "/")
	defer tab.close()
	const find = `
		const found = async (query) => {
			type('#find', query, 'input')
			await until(() => (new URLSearchParams(location.hash.slice(1)).get('find') ?? '') === query && (query === '' || / of [\d,]+$/.test($('#count').textContent)))
			return $('#count').textContent.split(' ')[0]
		}
	`
	tab.expect("found", find+`
		await until(() => rows().length === 3)
		const said = []
		for (const query of ['zoë', 'name=Zoë', 'name=Zo', 'name:zo', 'name="Bob B"', 'age>4', 'age>=30', 'age<30', 'age:*', 'city:*', 'in.city=Oslo', 'tags=b', '"a.b"."x y"=1', '-name=Zoë', '-age:* zoë', '@topic=people', '-@topic=people', 'age=null', 'name:zo age>1'])
			said.push(await found(query))
		return said.join(' ')`, "2 2 0 2 1 2 1 1 3 0 1 1 1 1 0 3 0 1 1")
	tab.expect("by a click", find+`
		await found('')
		await until(() => rows().length === 3)
		rows()[0].click()
		await until(() => $('.tree .pick'))
		const pick = async (key, sign) => {
			all('.leaf').find((e) => e.textContent.startsWith('"' + key + '"')).querySelectorAll('.pick')[sign].click()
		}
		pick('name', 0)
		await until(() => $('#count').textContent === '2 of 3')
		pick('age', 1)
		await until(() => $('#count').textContent === '1 of 3')
		await until(() => rows().length === 1)
		pick('name', 2)
		pick('city', 2)
		await until(() => rows().length && all('.cell', rows()[0]).length === 2)
		return $('#find').value + ' | ' + all('#heads .cell bdi').map((c) => c.textContent) + ' | ' + all('.cell', rows()[0]).map((c) => c.textContent).join(',')`,
		`name="Zoë" -age="30" | name,in.city | "Zoë",`)
	tab.expect("columns", find+`
		await found('')
		$('#columns').parentNode.open = true
		await until(() => all('#columns label').length === 6)
		const box = all('#columns label').find((l) => l.textContent === 'a.b').firstChild
		box.click()
		await until(() => all('#heads .cell').length === 3)
		all('#heads button')[0].click()
		await until(() => all('#heads .cell').length === 2 && rows().length)
		return rows().map((r) => all('.cell', r).map((c) => c.textContent).join(',')).join('; ') + ' ' + new URLSearchParams(location.hash.slice(1)).get('columns')`,
		`"Oslo",; ,; ,{"x y": 1} in.city,"a.b"`)
	again := b.open(tab.on(`return location.href`))
	again.expect("the address", `
		await until(() => rows().length === 3 && $('.tree'))
		return all('#heads .cell bdi').map((c) => c.textContent) + ' ' + !$('#record').hidden`, `in.city,"a.b" true`)
	again.close()

	time.Sleep(2100 * time.Millisecond)
	post(t, addr, "people", `{"late":1}`)
	tab.expect("bars", `
		location.hash = ''
		await until(() => $('#rate path').getAttribute('d')?.split('M').length === 3 && $('#count').textContent === '4 records')
		return $('#rate').textContent.replace(/(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d/g, 'T')`, "T to T, at most 3 records a second")
	y := 0
	_, _ = fmt.Sscan(tab.on(`return Math.round($('#rate').getBoundingClientRect().top + 10)`), &y)
	tab.drag(700, 1279, y)
	tab.expect("a range", `
		await until(() => $('#count').textContent === '1 record' && $('#state').textContent === 'all of that time')
		await until(() => rows().length === 1) // drawn in the next frame
		const is = new URLSearchParams(location.hash.slice(1))
		return lines() + ' ' + /^\d{4}.*:\d\d\.000Z$/.test(is.get('from')) + ' ' + (Date.parse(is.get('to')) > Date.parse(is.get('from'))) + ' ' + $('#until').hidden`, `people {"late": 1} true true false`)
	tab.expect("all again", `
		$('#until').click()
		await until(() => $('#count').textContent === '4 records' && $('#state').textContent === 'live')
		$('#range-from').value = '2001-01-01T00:00:00'
		$('#range-to').value = '2001-01-02T00:00:00'
		$('#range button').click()
		await until(() => $('#count').textContent === '0 records' && $('#state').textContent === 'all of that time')
		return $('#from').selectedOptions[0].textContent`, "2001-01-01 00:00:00.000")
}

// What is shown can be saved as files, which the server writes.
func testExport(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "o.a", `{"n":1,"big":9007199254740993}{"n":2,"s":"a\n\"b\",c"}`)
	post(t, addr, "o.b", `{"n":3,"s":"=1+1","big":null}{"n":4}{"n":5,"in":{"x":[1.0]}}`)
	tab := b.open("http://" + addr + "/#topic=o.*&find=-n=4")
	defer tab.close()
	const keep = `
		const kept = []
		URL.createObjectURL = (blob) => { kept.push(blob); return 'about:blank#' }
		HTMLAnchorElement.prototype.click = function () { kept.push(this.download) }
		const keep = async (format) => {
			kept.length = 0
			$('[data-save=' + format + ']').click()
			await until(() => kept.length === 2 || $('#state').className === 'bad')
			return kept.length ? kept[1] + ' ' + kept[0].type + '\n' + await kept[0].text() : $('#state').textContent
		}
		await until(() => rows().length === 4)
	`
	tab.expect("NDJSON", keep+`return await keep('ndjson')`, `o.all.ndjson application/x-ndjson
{"n":1,"big":9007199254740993}
{"n":2,"s":"a\n\"b\",c"}
{"n":3,"s":"=1+1","big":null}
{"n":5,"in":{"x":[1.0]}}
`)
	tab.expect("JSON", keep+`const got = await keep('json'); return JSON.parse(got.slice(got.indexOf('\n'))).length + got.slice(0, 60)`,
		"4o.all.json application/json\n[{\"n\":1,\"big\":9007199254740993},")
	tab.expect("CSV", keep+`return await keep('csv')`, "o.all.csv text/csv\nn,big,s,in\n1,9007199254740993,,\n2,,\"a\n\"\"b\"\",c\",\n3,,'=1+1,\n5,,,\"{\"\"x\"\":[1.0]}\"\n")
	tab.expect("columns", keep+`
		location.hash += '&columns=s,in.x'
		await until(() => !$('#heads').hidden)
		return await keep('csv')`, "o.all.csv text/csv\ns,in\n,\n\"a\n\"\"b\"\",c\",\n'=1+1,\n,\"{\"\"x\"\":[1.0]}\"\n")
}

// Everything can be done from the keyboard.
func testKeys(t *testing.T, b *browser) {
	addr := start(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "n", numbered(0, 100))
	tab := b.open("http://" + addr + "/")
	defer tab.close()
	tab.expect("begin", `await until(() => $('#count').textContent === '100 records'); await until(() => rows().length); return ''`, "")
	for _, k := range []struct{ key, text, script, want string }{
		{"k", "k", `await until(() => $('[aria-selected=true]')); return text($('[aria-selected=true]')).slice(-9) + $('#pause').textContent`, `{"n": 99}Paused`},
		{"k", "k", `await until(() => text($('[aria-selected=true]')).endsWith('98}')); return $('#list').getAttribute('aria-activedescendant') === $('[aria-selected=true]').id`, "true"},
		{"Enter", "\r", `await until(() => $('.tree')); return text($('.leaf'))`, `"n": 98 int`},
		{"Escape", "", `await until(() => $('#record').hidden); return location.hash`, ""},
		{"j", "j", `await until(() => text($('[aria-selected=true]')).endsWith('99}')); return ''`, ""},
		{" ", " ", `await until(() => $('#pause').textContent === 'Pause'); return ''`, ""},
		{" ", " ", `await until(() => $('#pause').textContent === 'Paused'); return ''`, ""},
		{"?", "?", `await until(() => $('#help').open); $('#help').close(); return ''`, ""},
		{"/", "/", `await until(() => document.activeElement === $('#find')); return ''`, ""},
		{"7", "7", `await until(() => $('#count').textContent === '19 of 100'); return $('#find').value`, "7"},
	} {
		tab.press(k.key, k.text)
		tab.expect("key "+k.key, k.script, k.want)
	}
	tab.expect("theme", `
		const themes = []
		for (let i = 0; i < 3; i++) {
			$('#theme').click()
			themes.push(document.documentElement.dataset.theme + getComputedStyle(document.body).backgroundColor)
		}
		return themes.join(' ')`, "lightrgb(255, 255, 255) darkrgb(20, 23, 27) rgb(255, 255, 255)")
}

// Rejected records are shown with their reason and bytes, and can be sent again, once.
func testRejected(t *testing.T, b *browser) {
	s := memory.New(nil)
	var takes atomic.Bool
	addr := start(t, &dictwire.Server{Store: s, Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if strings.Contains(string(r.Bytes), "age") && !takes.Load() {
			return nil, dictwire.Reject("wrong_age", "/age: want an int")
		}
		return nil, nil
	})})
	do(t, addr, ask{path: "/v1/topics/people", body: `{"age":"x"}`})
	do(t, addr, ask{path: "/v1/topics/people", body: `{"a":1,"a":2}`})
	tab := b.open("http://" + addr + "/")
	defer tab.close()
	tab.expect("listed", `
		$('nav a[data-view=rejected]').click()
		await until(() => rows().length === 2)
		return $('nav [aria-current]').textContent + '; ' + rows().map((r) => all('.cell', r).map((c) => c.textContent.slice(0, 22)).join(' ')).join('; ')`,
		`Rejected; "handler" "wrong_age" "/age: want an int" "people"  b'{"age":"x"}'; "duplicate_key"  "json: the key \"a\" c "people"  b'{"a":1,"a":2}'`)
	const retry = `
		const retry = async (i) => {
			rows()[i].click()
			await until(() => $('#record dd') && text(all('#record dd')[1]).endsWith(new URLSearchParams(location.hash.slice(1)).get('open').split('@')[1]))
			$('#record [role=status]').textContent = ''
			all('#record .buttons button').find((b) => b.textContent === 'Retry').click()
			await until(() => $('#record [role=status]').textContent)
			return $('#record [role=status]').className + ' ' + $('#record [role=status]').textContent
		}
	`
	tab.expect("rejected again", retry+`return (await retry(1)).slice(0, 34)`, `bad json: the key "a" comes twice `)
	takes.Store(true)
	tab.expect("taken", retry+`return await retry(0)`, `good Retry: 1 stored in people`)
	tab.expect("and once", retry+`return await retry(0)`, `good Retry: 1 stored in people`)
	if got := stored(t, s, "people"); got != `{"age":"x"}` {
		t.Errorf("stored %s", got)
	}
}
