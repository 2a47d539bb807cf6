package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// A cursor keeps a reader's position between requests.
func TestCursor(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	at := fill(t, s, 3, "o.eu")
	const read = "/v1/topics/o.*?cursor=billing"
	commit := func(name string, query ...string) ask {
		values := url.Values{}
		for i := 0; i < len(query); i += 2 {
			values.Set(query[i], query[i+1])
		}
		return ask{method: "POST", path: "/v1/cursors/" + name + "?" + values.Encode()}
	}
	place := func(p string) string {
		return `\{"position":"` + p + `"\}` + "\n"
	}
	// A HEAD request changes nothing.
	do(t, addr, ask{method: "HEAD", path: read})
	r, text := do(t, addr, commit("billing", "reads", "o.*", "to", after(at[0])))
	check(t, "a cursor that is not there", r, text, 404, `.*there is no cursor.*billing.*that reads.*`)
	for range 2 { // what is not committed is read again
		r, text = do(t, addr, ask{path: read + "&limit=2"})
		check(t, "before the commit", r, text, 200, `\{"n":0\}\n\{"n":1\}\n`)
	}
	_, text = do(t, addr, ask{path: read + "&envelope=1&limit=1"})
	var e struct{ Position, Next string }
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Position != at[0].String() || e.Next != after(at[0]) {
		t.Fatalf("%v %s", err, text)
	}
	r, text = do(t, addr, commit("billing", "reads", "o.*", "to", e.Next))
	check(t, "a commit", r, text, 200, place(e.Next))
	r, text = do(t, addr, ask{path: read + "&from=earliest"})
	check(t, "after the commit", r, text, 200, `\{"n":1\}\n\{"n":2\}\n`)
	r, text = do(t, addr, commit("billing", "reads", "o.*", "to", at[0].String()))
	check(t, "back", r, text, 200, place(e.Next))
	for name, c := range map[string]struct {
		ask    ask
		status int
		want   string
	}{
		"nowhere":              {commit("billing", "reads", "o.*"), 400, `.*to: .*`},
		"latest":               {commit("billing", "reads", "o.*", "to", "latest"), 400, `.*to: .*`},
		"beyond the end":       {commit("billing", "reads", "o.*", "to", at[0].Tag+".99.0"), 410, `.*`},
		"beyond its block":     {commit("billing", "reads", "o.*", "to", at[0].Tag+".1.7"), 400, `.*after the end of its block.*`},
		"another store":        {commit("billing", "reads", "o.*", "to", "zzzzzzzz.1.0"), 410, `.*`},
		"reads nothing":        {commit("billing", "to", e.Next), 404, `.*"code":"topic".*`},
		"reads something else": {commit("billing", "reads", "o.eu", "to", e.Next), 404, `.*there is no cursor.*`},
		"no pattern":           {commit("billing", "reads", "o..*", "to", e.Next), 404, `.*"code":"topic".*`},
		"without a name":       {ask{path: "/v1/topics/o.*?cursor="}, 400, `.*cursor: want a name.*`},
		"a long name":          {ask{path: "/v1/topics/o.*?cursor=" + strings.Repeat("x", 600)}, 400, `.*more than 512 bytes.*`},
	} {
		r, text := do(t, addr, c.ask)
		check(t, name, r, text, c.status, c.want)
	}
	if p, _, err := s.Cursor(t.Context(), store.CursorName{Principal: store.Anonymous, Name: "billing", Subscription: "o.*"}); err != nil || p.String() != e.Next {
		t.Errorf("it stands at %v, %v", p, err)
	}
}

// A reader that follows continues as long as what it got is committed, until another reader
// takes the cursor.
func TestCursorFollows(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const path = "/v1/topics/t?follow=1&cursor=c"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path+"&envelope=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := bufio.NewReader(answer.Body)
	next := ""
	for range 3 {
		do(t, addr, ask{body: `{"n":1}`})
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Next string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		next = e.Next
		r, text := do(t, addr, ask{method: "POST", path: "/v1/cursors/c?reads=t&to=" + next})
		check(t, "a commit", r, text, 200, `.*"position":"`+next+`".*`)
	}
	if r, text := do(t, addr, ask{path: "/v1/topics/t?cursor=c"}); r.StatusCode != http.StatusOK || text != "" {
		t.Error(text)
	}
	rest, err := io.ReadAll(in)
	if err == nil || !strings.HasPrefix(string(rest), `{"error":"another connection has taken over","code":"fenced"}`) {
		t.Errorf("%v %s", err, rest)
	}
	if p, _, err := s.Cursor(t.Context(), store.CursorName{Principal: store.Anonymous, Name: "c", Subscription: "t"}); err != nil || p.String() != next {
		t.Errorf("it stands at %v, want %s, %v", p, next, err)
	}
}

// A commit over HTTP does not take a cursor from the session that reads by it.
func TestCursorOfSession(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	at := fill(t, s, 2, "t")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	in := bufio.NewReader(nc)
	say := func(line, want string) {
		t.Helper()
		if _, err := io.WriteString(nc, line+"\n"); err != nil {
			t.Fatal(err)
		}
		for {
			got, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got, want) {
				return
			}
		}
	}
	say(`{"dictwire":1,"subscribe":"t","cursor":"c","follow":true}`, `"at":"`+at[1].String())
	r, text := do(t, addr, ask{method: "POST", path: "/v1/cursors/c?reads=t&to=" + after(at[0])})
	check(t, "a commit", r, text, 200, `.*"position":"`+after(at[0])+`".*`)
	say(`{"commit":"`+after(at[1])+`"}`, `{"committed":"`+after(at[1])+`"}`)
}
