package web_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var (
	shots = flag.String("page.shots", "", "a directory for pictures of all views of the page")
	axe   = filepath.Join("..", "..", ".tools", "npm", "node_modules", "axe-core", "axe.min.js")
)

// shop starts a server that has something to show in each view.
func shop(t *testing.T) (addr string) {
	t.Helper()
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1, Keep: func(topic string) store.Keep {
		if strings.HasPrefix(topic, "sensors") {
			return store.Keep{Age: 30 * 24 * time.Hour, Bytes: 10 << 30}
		}
		return log.DefaultKeep(topic)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	addr = start(t, &dictwire.Server{
		Store: s, Version: "v1.2.3",
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			if strings.Contains(string(r.Bytes), `"age": "`) {
				return nil, dictwire.Reject("wrong_age", "/age: want an int, got a string")
			}
			return nil, nil
		}),
	})
	for second := range 3 {
		if second > 0 {
			time.Sleep(1100 * time.Millisecond)
		}
		var sensors, orders strings.Builder
		for i := range 40 * (second + 1) {
			fmt.Fprintf(&sensors, `{"device": "sensor-%d", "temperature": %d.%d, "ok": %t, "tags": ["hall", "floor %d"]}`+"\n", i%7, 18+i%5, i*3%10, i%9 != 0, i%3)
		}
		for i := range 4 {
			fmt.Fprintf(&orders, `{"id": %d, "customer": {"name": "Zoë", "city": "Oslo"}, "items": [{"sku": "tea", "n": %d}], "paid": null}`+"\n", 1000+10*second+i, i)
		}
		post(t, addr, "sensors.eu", sensors.String())
		post(t, addr, "orders", orders.String())
	}
	kinds := `{'name': 'Zoë', 'age': 30, 'big': 9007199254740993, 'price': Decimal('19.90'), 'when': datetime.datetime(2026, 11, 25, 10, 0, tzinfo=datetime.timezone.utc), ` +
		`'key': b'\x00\xffdictwire', 'where': (59.91, 10.75), 'tags': {'new', 'vip'}, 'address': {'city': 'Oslo', 'zip': '0150'}, 'id': UUID('12345678-1234-5678-1234-567812345678')}`
	do(t, addr, ask{path: "/v1/topics/people", body: kinds, header: "Content-Type: text/x-python"})
	for _, bad := range []string{`{"name": "Bob", "age": "four"}`, `{"name": "Eve", "name": "Mallory"}`, `{"name": "Al", "age": tru}`, `[1, 2, 3]`} {
		do(t, addr, ask{path: "/v1/topics/people", body: bad})
	}
	for i, name := range []string{"till-7.k2x9", "till-8.m4q1", "gate.zz19"} {
		p := store.Producer{Principal: store.Anonymous, Topic: []string{"orders", "orders", "sensors.eu"}[i], Name: name}
		if _, err := s.Claim(t.Context(), p, store.ClaimRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []store.CursorName{{Name: "billing", Subscription: "orders"}, {Name: "warehouse", Subscription: "*"}} {
		c.Principal = store.Anonymous
		if _, err := s.ClaimCursor(t.Context(), c, store.CursorRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	return addr
}

// views lists the views, each with a script that waits until it is ready.
var views = []struct{ name, hash, ready string }{
	{"live", "", `await until(() => rows().length > 20 && $('#rate path').getAttribute('d'))`},
	{"record", "", `await until(() => rows().length > 20); const row = await until(() => rows().find((r) => r.textContent.includes('Decimal'))); row.click(); await until(() => all('.leaf').length > 8 && $('#rate path').getAttribute('d'))`},
	{"columns", "#topic=sensors.eu&columns=device,temperature,ok,tags&find=temperature>20", `await until(() => all('.cell').length > 20 && $('#rate path').getAttribute('d'))`},
	{"topics", "#view=topics", `await until(() => all('#table td').length && !$('#table').textContent.includes('NaN'))`},
	{"producers", "#view=producers", `await until(() => all('#table td').length)`},
	{"cursors", "#view=cursors", `await until(() => all('#table td').length)`},
	{"rejected", "", `$('nav a[data-view=rejected]').click(); await until(() => rows().length >= 3 && $('#rate path').getAttribute('d'))`},
	{"server", "#view=server", `await until(() => all('#table td').length)`},
	{"send", "#view=send", `$('#send-text').value = '{"name": "Alice", "age": 30}'; $('#send-topic').value = 'people'; $('#sending button').click(); await until(() => $('#sent').className)`},
	{"login", "", `$('#why').textContent = 'this server wants a token'; $('#login').showModal()`},
	{"help", "", `$('#help').showModal()`},
}

// looks lists the ways in which each view is shown.
var looks = []struct {
	name, scheme string
	width, high  int
	rules        string // of axe
}{
	{"light", "light", 1280, 760, ``},
	{"dark", "dark", 1280, 760, `{runOnly: ['color-contrast']}`}, // the rest is as in light mode
	{"phone", "light", 390, 780, `{runOnly: ['color-contrast', 'target-size', 'scrollable-region-focusable']}`},
}

// axe finds no serious fault in any view, in light mode, in dark mode and on a phone, and
// nothing is wider than the screen. With -page.shots the test saves screenshots.
func testLooks(t *testing.T, b *browser) {
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("%v\nscripts/test tools installs it", err)
	}
	addr := shop(t)
	for _, look := range looks {
		for i, view := range views {
			if *shots == "" && look.rules != "" && i%2 == 1 { // similar views are checked once
				continue
			}
			began := time.Now()
			tab := b.open("about:blank")
			tab.call(tab.session, "Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": look.scheme}}})
			tab.call(tab.session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": look.width, "height": look.high, "deviceScaleFactor": 1, "mobile": look.name == "phone"})
			tab.call(tab.session, "Page.navigate", map[string]any{"url": "http://" + addr + "/" + view.hash})
			b.until(func(r reply) bool { return r.Method == "Page.loadEventFired" && r.SessionID == tab.session })
			tab.expect(look.name+" "+view.name, view.ready+`; return document.documentElement.scrollWidth <= innerWidth`, "true")
			if *shots != "" {
				if view.name == "topics" { // the second request knows the rates
					tab.on(`await until(() => /\d/.test(all('#table td')[2].textContent)); return ''`)
				}
				tab.shot(filepath.Join(*shots, "page-"+view.name+"-"+look.name+".png"))
			}
			tab.run(string(script))
			tab.expect(look.name+" "+view.name, `
				const {violations} = await axe.run({exclude: [['#list .row:nth-child(n+5)']]}, {resultTypes: ['violations'], ...`+cmp.Or(look.rules, "{}")+`})
				return violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id + ': ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join('; ')).join('\n')`, "")
			tab.close()
			t.Logf("%s %s: %v", look.name, view.name, time.Since(began).Round(10*time.Millisecond))
		}
	}
}

// shot saves a screenshot of a tab with at most 256 colours.
func (t *tab) shot(name string) {
	t.t.Helper()
	data := t.call(t.session, "Page.captureScreenshot", map[string]any{"format": "png"}).Result.Data
	from, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.t.Fatal(err)
	}
	bounds := from.Bounds()
	counts := map[color.RGBA]int{}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			counts[color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)]++
		}
	}
	all := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], bytes.Compare([]byte{a.R, a.G, a.B}, []byte{b.R, b.G, b.B}))
	})
	// Leave out colours that are close to one in the palette, to keep room for rare ones.
	var palette color.Palette
	for _, c := range all {
		if len(palette) < 64 && !slices.ContainsFunc(palette, func(p color.Color) bool { return near(p.(color.RGBA), c) }) {
			palette = append(palette, c)
		}
	}
	to := image.NewPaletted(bounds, palette)
	draw.Draw(to, bounds, from, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		t.t.Fatal(err)
	}
	if out.Len() > 100_000 {
		t.t.Errorf("%s: %d bytes", name, out.Len())
	}
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.t.Fatal(err)
	}
}

func near(a, b color.RGBA) bool {
	d := func(x, y uint8) int { return (int(x) - int(y)) * (int(x) - int(y)) }
	return d(a.R, b.R)+d(a.G, b.G)+d(a.B, b.B) < 300
}
