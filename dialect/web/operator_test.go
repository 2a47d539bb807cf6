package web_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// rights are those of the tokens that lookedAfter knows: topics by right, where * is all
// but those that begin with "_".
var rights = map[string]map[access.Right]string{
	"red":  {access.Send: "*", access.Read: "red.*"},
	"blue": {access.Send: "*", access.Read: "*", access.Admin: "blue.*"},
	"root": {access.Read: "*", access.Admin: "*"},
}

// lookedAfter starts a server with a store on disk and principals with rights. Each of them
// sends to the topics red.a and blue.a, and reads by a cursor.
func lookedAfter(t *testing.T) (addr string, s *log.Store, backups string) {
	t.Helper()
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	backups = t.TempDir()
	addr = start(t, &dictwire.Server{
		Store: s, BackupDir: backups,
		Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
			may, ok := rights[c.Token]
			if !ok {
				return access.Grant{}, dictwire.ErrUnauthenticated
			}
			return access.Grant{Principal: c.Token, Allows: func(right access.Right, topic string) bool {
				pattern := may[right]
				return pattern == topic || pattern != "" && store.Match([]string{pattern}, topic)
			}}, nil
		},
	})
	for _, who := range []string{"red", "blue"} {
		for i, topic := range []string{"red.a", "blue.a"} {
			key := fmt.Sprintf("Idempotency-Key: k%d", i)
			r, text := do(t, addr, ask{path: "/v1/topics/" + topic, body: `{"n":1}{"n":2}{"n":3}x`, header: "Authorization: Bearer " + who + "\n" + key})
			check(t, topic, r, text, 200, `.*`)
			p := store.Producer{Principal: who, Topic: topic, Name: "p"}
			if _, err := s.Claim(t.Context(), p, store.ClaimRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		c := store.CursorName{Principal: who, Name: "c", Subscription: who + ".a"}
		if _, err := s.ClaimCursor(t.Context(), c, store.CursorRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	return addr, s, backups
}

// Principals see what they have rights to, and change what they administer.
func TestOperator(t *testing.T) {
	addr, s, backups := lookedAfter(t)
	const time, position = `"\d{4}-[^"]+Z"`, `"[a-z2-7]{8}\.\d+\.\d+"`
	topic := func(name, records string) string {
		return `\{"topic":"` + name + `","records":` + records + `,"bytes":\d+,"first":` + position + `,"next":` + position + `,"oldest":(null|` + time + `),"newest":(null|` + time + `)(,"keep":\{[^}]*\})?\}`
	}
	const forbidden, missing = `.*"code":"forbidden"\}\n`, `.*"code":"unsupported"\}\n`
	for _, c := range []struct {
		who    string
		method string
		path   string
		status int
		answer string
	}{
		{"", "GET", "topics", 401, `.*`},
		{"", "GET", "producers", 401, `.*`},
		{"", "POST", "backup", 401, `.*`},
		{"red", "GET", "topics", 200, `\{"topics":\[` + topic("red.a", "6") + `\]\}\n`},
		{"blue", "GET", "topics", 200, `\{"topics":\[` + topic("blue.a", "6") + `,` + topic("red.a", "6") + `\]\}\n`},
		{"red", "GET", "cursors", 200, `\{"cursors":\[\{"cursor":"c","subscription":"red.a","position":"[^"]*","lag":6,"saved":` + time + `\}\]\}\n`},
		{"red", "GET", "cursors?principal=blue", 403, forbidden},
		{"root", "GET", "cursors", 200, `\{"cursors":\[\]\}\n`},
		{"root", "GET", "cursors?principal=blue", 200, `\{"cursors":\[\{"cursor":"c","subscription":"blue.a",.*`},
		{"red", "GET", "producers", 200, `\{"producers":\[\{"producer":"p","topic":"blue.a","next":1,"seen":` + time + `\},\{"producer":"p","topic":"red.a",.*?\}\]\}\n`},
		{"blue", "GET", "producers?principal=red", 403, forbidden},
		{"root", "GET", "producers?principal=red", 200, `\{"producers":\[\{"producer":"p","topic":"blue.a",.*`},
		{"red", "GET", "status", 200, `\{"principal":"red","durability":"fsync","max_record":1048576,"ready":true\}\n`},
		{"root", "GET", "status", 200, `\{"principal":"root",.*"ready":true,"started":` + time + `,"connections":\d+,"records":12,"rejected":4,"bytes":84,"memory":\{"receiving":\d+,"reading":\d+,"heap":\d+\},"disk":\{"bytes":\d+,"free":\d+\},"syncs":\{"count":\d+,"p50":[\d.e-]+,"p99":[\d.e-]+\}\}\n`},

		{"red", "DELETE", "topics/red.a?before=latest", 403, forbidden},
		{"blue", "DELETE", "topics/red.a?before=latest", 403, forbidden},
		{"root", "DELETE", "topics/_rejected?before=latest", 403, forbidden},
		{"blue", "DELETE", "topics/blue.b?before=latest", 404, missing},
		{"blue", "DELETE", "topics/blue.a", 400, `.*before: want a place.*`},
		{"blue", "DELETE", "topics/blue.a?before=soon", 400, `.*before: want earliest.*`},
		{"blue", "DELETE", "topics/blue.a?before=zzzzzzzz.1.0", 410, `.*`},
		{"blue", "DELETE", "topics/blue.a?before=latest", 200, topic("blue.a", "0") + `\n`},
		{"root", "GET", "cursors?principal=blue", 200, `.*"lag":0,.*`},

		{"red", "POST", "cursors/c/reset?to=latest", 403, forbidden},
		{"red", "POST", "cursors/c/reset?to=latest&principal=blue", 403, forbidden},
		{"blue", "POST", "cursors/d/reset?to=latest", 404, missing},
		{"blue", "POST", "cursors/c/reset", 400, `.*to: want a place.*`},
		{"blue", "POST", "cursors/c/reset?to=latest&reads=red.a", 404, missing},
		{"blue", "POST", "cursors/c/reset?to=latest&reads=blue.a", 200, `\{"cursor":"c","subscription":"blue.a","from":"[^"]*","position":` + position + `\}\n`},
		{"root", "POST", "cursors/c/reset?to=latest&principal=red", 200, `.*"position":` + position + `\}\n`},
		{"red", "GET", "cursors", 200, `.*"lag":0,.*`},

		{"blue", "POST", "backup", 403, forbidden},
		{"root", "POST", "backup?name=../x", 400, `.*name: want.*`},
		{"root", "POST", "backup?name=.x", 400, `.*name: want.*`},
		{"root", "POST", "backup?name=one", 201, `\{"directory":".*/one"\}\n`},
		{"root", "POST", "backup?name=one", 422, `.*is there already.*`},
		{"root", "POST", "backup", 201, `\{"directory":".*/\d{8}T\d{6}\.\d{3}Z"\}\n`},
		{"root", "GET", "backup", 405, `.*`},

		{"red", "GET", "topics?limit=0", 400, `.*limit: want.*`},
		{"red", "GET", "topics?limit=1001", 400, `.*limit: want.*`},
		{"red", "GET", "topics?limit=1&limit=1", 400, `.*want each of.*`},
		{"red", "GET", "topics?after=?", 400, `.*after: want.*`},
		{"red", "GET", "cursors?after=YQ", 400, `.*after: want.*`},
	} {
		header := ""
		if c.who != "" {
			header = "Authorization: Bearer " + c.who
		}
		r, text := do(t, addr, ask{method: c.method, path: "/v1/" + c.path, header: header})
		check(t, c.who+" "+c.method+" "+c.path, r, text, c.status, c.answer)
	}
	copied, err := log.Open(t.Context(), filepath.Join(backups, "one"), &log.Options{Reserve: -1, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if got, want := stored(t, copied, "red.a"), stored(t, s, "red.a"); got != want || got == "" {
		t.Errorf("the backup has %q, want %q", got, want)
	}
	if all, err := os.ReadDir(backups); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

// Pages list all names once.
func TestPages(t *testing.T) {
	addr, s, _ := lookedAfter(t)
	for i := range 7 {
		b := &store.Block{Topic: fmt.Sprint("red.", i), Codec: "json", Principal: "x"}
		b.Add([]byte(`{}`))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if _, err := s.Claim(t.Context(), store.Producer{Principal: "red", Topic: b.Topic, Name: "a"}, store.ClaimRequest{}); err != nil {
			t.Fatal(err)
		}
		c := store.CursorName{Principal: "red", Name: fmt.Sprint(i / 2), Subscription: fmt.Sprint("red.", i)}
		if _, err := s.ClaimCursor(t.Context(), c, store.CursorRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for list, want := range map[string]string{
		"topics": "red.0 red.1 red.2 red.3 red.4 red.5 red.6 red.a", "cursors": "0 0 1 1 2 2 3 c",
		"producers": "p a a a a a a a p",
	} {
		var got []string
		after, pages := "", 0
		for pages = range 20 {
			_, text := do(t, addr, ask{path: "/v1/" + list + "?limit=3&after=" + after, header: "Authorization: Bearer red"})
			d, err := (json.Codec{}).Decode([]byte(text), codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			items, _ := d.Get(list)
			for item := range items.Items() {
				e, _ := item.Dict()
				name, _ := e.Get(strings.TrimSuffix(list, "s"))
				text, _ := name.Text()
				got = append(got, text)
			}
			next, _ := d.Get("next")
			if after, _ = next.Text(); after == "" {
				break
			}
		}
		if strings.Join(got, " ") != want || pages < 2 {
			t.Errorf("%s: %q in %d pages, want %s", list, got, pages+1, want)
		}
	}
}

// Without an authorizer, nobody can administer.
func TestNobodyAdministers(t *testing.T) {
	addr := start(t, &dictwire.Server{BackupDir: t.TempDir()})
	do(t, addr, ask{body: `{"n":1}`})
	for _, a := range []ask{
		{method: "DELETE", path: "/v1/topics/t?before=latest"},
		{method: "POST", path: "/v1/backup"},
		{path: "/v1/cursors?principal=red"},
	} {
		r, text := do(t, addr, a)
		check(t, a.path, r, text, 403, `.*anonymous has no right to administer.*knows who speaks.*`)
	}
	_, text := do(t, addr, ask{})
	if text != "{\"n\":1}\n" {
		t.Error(text)
	}
}
