package web_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// A browser is a headless Chromium that resolves all names to this machine. It is driven by
// the DevTools protocol.
type browser struct {
	t   testing.TB
	to  io.Writer
	out *bufio.Reader
	ids int
}

func openBrowser(t testing.TB, flags ...string) *browser {
	t.Helper()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chromium", append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-extensions", "--disable-background-networking", "--disable-sync", "--no-first-run", "--window-size=1280,900", "--force-color-profile=srgb", "--no-proxy-server",
		"--host-resolver-rules=MAP * 127.0.0.1", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirs, written} // 3 and 4
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = errors.Join(theirs.Close(), written.Close())
	b := &browser{t: t, to: ours, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_, _ = io.WriteString(ours, `{"id":0,"method":"Browser.close"}`+"\x00")
		_, _ = io.Copy(io.Discard, b.out)
		_ = cmd.Wait() // it was told to end
		_ = errors.Join(ours.Close(), out.Close())
		if t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
	return b
}

// A reply is a message of the browser: a result or an event.
type reply struct {
	ID        int
	Method    string
	SessionID string
	Error     json.RawMessage
	Params    json.RawMessage
	Result    struct {
		Data               []byte
		UsedSize           float64
		BackingStorageSize float64
		TargetID           string
		SessionID          string
		ErrorText          string
		Result             struct{ Value any }
		ExceptionDetails   json.RawMessage
	}
}

// call calls a method and returns its result.
func (b *browser) call(session, method string, params map[string]any) reply {
	b.t.Helper()
	b.ids++
	id := b.ids
	m := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	r := b.until(func(r reply) bool { return r.ID == id })
	if len(r.Error) > 0 || r.Result.ErrorText != "" || len(r.Result.ExceptionDetails) > 0 {
		b.t.Fatalf("%s: %s%s%s", method, r.Error, r.Result.ErrorText, r.Result.ExceptionDetails)
	}
	return r
}

// until returns the next message for which is returns true.
func (b *browser) until(is func(reply) bool) (r reply) {
	b.t.Helper()
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatal(err)
		}
		r = reply{}
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &r); err != nil {
			b.t.Fatalf("%v: %.1000s", err, text)
		}
		if is(r) {
			return r
		}
	}
}

// run runs a script in a page, and returns its result as text.
func (b *browser) run(page, script string) string {
	b.t.Helper()
	tab := b.open(page)
	defer tab.close()
	return tab.run(script)
}

// A tab is an open page.
type tab struct {
	*browser
	target, session string
}

// open opens a page.
func (b *browser) open(page string) *tab {
	b.t.Helper()
	target := b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}).Result.TargetID
	session := b.call("", "Target.attachToTarget", map[string]any{"targetId": target, "flatten": true}).Result.SessionID
	b.call(session, "Page.enable", nil)
	b.call(session, "Page.navigate", map[string]any{"url": page})
	b.until(func(r reply) bool { return r.Method == "Page.loadEventFired" })
	return &tab{b, target, session}
}

func (t *tab) close() { t.call("", "Target.closeTarget", map[string]any{"targetId": t.target}) }

// run runs a script in the page, and returns its result as text.
func (t *tab) run(script string) string {
	t.t.Helper()
	r := t.call(t.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true})
	return fmt.Sprint(r.Result.Result.Value)
}

// servePage serves a foreign page, and returns its port at 127.0.0.1.
func servePage(t *testing.T, html string) (port string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, html)
	}))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A page of the server's own origin reads and writes as programs do. A page of another
// origin, or one whose name resolves to the server, can't.
func TestBrowser(t *testing.T) {
	b := openBrowser(t)
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	_, port, _ := strings.Cut(addr, ":")
	own := "http://" + addr + "/healthz"
	expect := func(name, page, script, want string) {
		t.Helper()
		if got := b.run(page, script); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}

	expect("fetch and EventSource", own, `(async () => {
		const posted = await fetch('/v1/topics/t', {method: 'POST', body: JSON.stringify({name: 'Zoë'})})
		const read = await fetch('/v1/topics/t')
		const texts = [posted.status, (await posted.json()).accepted, (await read.text()).trim()]
		return new Promise((resolve) => {
			const source = new EventSource('/v1/topics/t?follow=1')
			source.onmessage = (event) => {
				texts.push(event.data)
				if (texts.length == 4) fetch('/v1/topics/t', {method: 'POST', body: '{"a":1}'})
				if (texts.length == 5) { source.close(); resolve(texts.join(' ')) }
			}
		})
	})()`, `200 1 {"name":"Zoë"} {"name":"Zoë"} {"a":1}`)
	if got := stored(t, s, "t"); got != socketStored {
		t.Errorf("stored %s", got)
	}
	expect("WebSocket", "http://localhost:"+port+"/healthz", socketScript("ws://localhost:"+port, "")+`all()`,
		strings.Replace(socketPrints, socketStored, socketStored+" "+socketStored, 1))

	evil := servePage(t, "<!doctype html><iframe name=frame></iframe>")
	for _, page := range []string{"http://evil.example:" + evil, "http://localhost:" + evil} {
		expect("a page of "+page, page, `(async () => {
			const topic = 'http://`+addr+`/v1/topics/t', tried = []
			for (const options of [{}, {mode: 'no-cors'}, {headers: {'Content-Type': 'application/json'}}, {keepalive: true, mode: 'no-cors'}]) {
				tried.push(await fetch(topic, {method: 'POST', body: '{"evil":1}', ...options}).then((r) => 'taken', () => 'refused'))
			}
			tried.push(navigator.sendBeacon(topic, '{"evil":2}'))
			tried.push(await fetch(topic).then((r) => 'read', () => 'refused'))
			tried.push(await new Promise((resolve) => {
				const form = document.createElement('form')
				form.action = topic; form.method = 'POST'; form.enctype = 'text/plain'; form.target = 'frame'
				form.innerHTML = '<input name=\'{"evil":"\' value=\'"}\'>'
				document.body.append(form)
				document.querySelector('iframe').onload = () => resolve('submitted')
				form.submit()
			}))
			tried.push(await new Promise((resolve) => {
				const socket = new WebSocket('ws://`+addr+`/v1/connect', 'dictwire.1')
				socket.onopen = () => resolve('open')
				socket.onerror = () => resolve('refused')
			}))
			tried.push(await new Promise((resolve) => {
				const source = new EventSource(topic + '?follow=1')
				source.onmessage = (event) => resolve(event.data)
				source.onerror = () => { source.close(); resolve('refused') }
			}))
			return tried.join(' ')
		})()`, "refused refused refused refused true refused submitted refused refused")
	}
	// A foreign name that resolves to the server now.
	expect("a rebound name", "http://rebound.example:"+port+"/healthz", `(async () => {
		const posted = await fetch('/v1/topics/t', {method: 'POST', body: '{"evil":1}'}), read = await fetch('/v1/topics/t')
		return posted.status + ' ' + read.status + ' ' + await new Promise((resolve) => {
			const socket = new WebSocket('ws://' + location.host + '/v1/connect', 'dictwire.1')
			socket.onopen = () => resolve('open')
			socket.onerror = () => resolve('refused')
		})
	})()`, "421 421 refused")
	if got := stored(t, s, "*"); got != socketStored+" "+socketStored {
		t.Errorf("stored %s", got)
	}
}
