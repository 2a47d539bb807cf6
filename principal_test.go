package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// doorman accepts three tokens, and peers without a token.
func doorman(_ context.Context, c access.Credentials) (access.Grant, error) {
	switch c.Token {
	case "":
		return access.Grant{}, nil
	case "red's secret":
		return access.Grant{Principal: "red"}, nil
	case "blue's secret":
		return access.Grant{Principal: "blue"}, nil
	case "shop's secret":
		return access.Grant{Principal: "shop", Allows: func(right access.Right, topic string) bool {
			return right == access.Send && topic == "orders" || right == access.Read && strings.HasPrefix(topic, "prices.")
		}}, nil
	case "a name of the server's":
		return access.Grant{Principal: "_relay"}, nil
	case "too long":
		return access.Grant{Principal: strings.Repeat("x", 513)}, nil
	case "broken":
		return access.Grant{}, fmt.Errorf("the list of tokens can't be read, looking for %s", c.Token)
	case "away":
		return access.Grant{}, fmt.Errorf("the list of tokens is away: %w", dictwire.ErrUnavailable)
	default:
		return access.Grant{}, fmt.Errorf("no such token: %w", dictwire.ErrUnauthenticated)
	}
}

// Two principals and anonymous peers use the same topic and the same names of producers and
// cursors, and never interfere, neither in one run of a server nor in the next.
func TestPrincipals(t *testing.T) {
	tokens := map[string]string{"anonymous": "", "red": `,"token":"red's secret"`, "blue": `,"token":"blue's secret"`}
	dir := t.TempDir()
	who := dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if strings.Contains(string(r.Bytes), "reject") {
			return nil, dictwire.Reject("", "not of "+r.Principal)
		}
		return nil, nil
	})
	for life := range 2 {
		st, err := log.Open(t.Context(), dir, &log.Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		srv := &dictwire.Server{Store: st, Handler: who, Authorizer: doorman}
		addr := start(t, srv)
		writers, readers := map[string]*session{}, map[string]*session{}
		for name, token := range tokens {
			writers[name] = greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":"orders","producer":"till","attempt":%d%s}`, life+1, token))
			readers[name] = greet(t, addr, `{"dictwire":1,"subscribe":"orders","cursor":"billing","follow":true`+token+`}`)
		}
		for name, w := range writers {
			next := 1
			if life == 1 {
				next = 2 + len(name) // of the first run, in which each sent a different number of records
				w.hear(`\{"dictwire":1,"next":`+fmt.Sprint(next)+`,.*`, exact(`{"rejected":1,"code":"handler","error":"not of `+name+`"}`), `\{"ack":\d+\}`)
			} else {
				w.hear(`\{"dictwire":1,"next":1,.*`, exact(`{"ack":0}`))
				w.say(`{"reject":true}` + "\n")
				w.hear(exact(`{"rejected":1,"code":"handler","error":"not of `+name+`"}`), exact(`{"ack":1}`))
				next++
			}
			for i := range len(name) {
				w.say(fmt.Sprintf(`{"n":%d,"of":%q}`+"\n", next+i, name))
				w.hear(exact(fmt.Sprintf(`{"ack":%d}`, next+i)))
			}
		}
		for name, r := range readers { // each has a cursor of its own over everything that was sent
			r.hear(`\{"dictwire":1,"next":.*`)
			seen, last := map[string]int{}, ""
			for n := 0; n < len("anonymous")+len("red")+len("blue"); {
				line := r.hear(`.*`)
				m := regexp.MustCompile(`"next":"([^"]*)","topic":"orders",(?:"principal":"(\w*)",)?"producer":"till","first":\d+,.*"lengths":\[(\d+)\]`).FindStringSubmatch(line)
				if m == nil {
					continue // progress
				}
				var length int
				_, _ = fmt.Sscan(m[3], &length)
				body := make([]byte, length)
				if _, err := io.ReadFull(r.r, body); err != nil {
					t.Fatal(err)
				}
				of := m[2]
				if of == "" {
					of = "anonymous"
				}
				if !strings.Contains(string(body), of) {
					t.Errorf("a record of %s: %s", of, body)
				}
				last = m[1]
				seen[of]++
				n++
			}
			if name != "blue" { // which has read nothing, as far as the server knows
				r.say(`{"commit":"` + last + `"}` + "\n")
				for !strings.HasPrefix(r.hear(`.*`), `{"committed"`) {
				}
			}
			for of, n := range seen {
				if n != len(of) && life == 0 {
					t.Errorf("%s read %d records of %s", name, n, of)
				}
			}
		}
		if life == 0 {
			if got := strings.Join(stored(t, st, store.Rejected), "\n"); !strings.Contains(got, "'principal': 'red', 'producer': 'till', 'number': 1") ||
				strings.Contains(got, "'principal': 'anonymous'") {
				t.Errorf("rejected:\n%s", got)
			}
		}
		if life == 1 {
			cursors, err := st.Cursors(t.Context())
			if err != nil || len(cursors) != 3 || cursors[1].Position.Compare(cursors[0].Position) >= 0 || cursors[2].Position.Compare(cursors[0].Position) != 0 {
				t.Errorf("cursors %v, %v", cursors, err) // ordered by name: blue is the second
			}
		}
		for _, s := range writers {
			_ = s.Close()
		}
		for _, s := range readers {
			_ = s.Close()
		}
		if err := errors.Join(srv.Close(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A peer without a right is told so, and nothing of it is stored.
func TestAuthorizer(t *testing.T) {
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st, Topic: "orders", Authorizer: doorman})
	for greeting, want := range map[string]string{
		`"topic":"orders","producer":"p","token":"guess"`:                    `"error":"the token is unknown, or not valid any more","code":"unauthenticated"`,
		`"subscribe":"*","token":"guess"`:                                    `"code":"unauthenticated"`,
		`"topic":"money","producer":"p","token":"shop's secret"`:             `"error":"shop has no right to send to money","code":"forbidden"`,
		`"topic":"_rejected","producer":"p","token":"shop's secret"`:         `"code":"forbidden"`,
		`"subscribe":"orders","token":"shop's secret"`:                       `"error":"shop has no right to read from orders","code":"forbidden"`,
		`"subscribe":"_rejected","token":"shop's secret"`:                    `"code":"forbidden"`,
		`"subscribe":["prices.eu","*"],"cursor":"c","token":"shop's secret"`: `"error":"shop has no right to read from \*","code":"forbidden"`,
		`"topic":"orders","token":"a name of the server's"`:                  `"code":"internal"`,
		`"topic":"orders","token":"too long"`:                                `"code":"internal"`,
		`"topic":"orders","token":"broken"`:                                  `"error":"the server can't find out who speaks","code":"internal"`,
		`"topic":"orders","token":"away"`:                                    `"code":"unavailable","retry_ms":500`,
		`"topic":"orders","token":7`:                                         `"code":"malformed"`,
	} {
		s := greet(t, addr, `{"dictwire":1,`+greeting+`}`)
		s.hear(`\{.*` + want + `\}`)
		s.end()
	}
	// No number was taken, and no name was created.
	for token, topic := range map[string]string{"shop's secret": "orders", "red's secret": "money"} {
		s := greet(t, addr, fmt.Sprintf(`{"dictwire":1,"topic":%q,"producer":"p","token":%q}`, topic, token))
		s.hear(welcome(1, ""), exact(`{"ack":0}`))
	}
	s := greet(t, addr, `{"dictwire":1,"subscribe":"prices.*","token":"shop's secret"}`)
	for !strings.HasPrefix(s.hear(`\{.*`), `{"end":`) {
	}
	if topics, err := st.Topics(t.Context()); err != nil || len(topics) != 0 {
		t.Errorf("topics %v, %v", topics, err)
	}
	if cursors, err := st.Cursors(t.Context()); err != nil || len(cursors) != 0 {
		t.Errorf("cursors %v, %v", cursors, err)
	}
}

// A bare sequence has no credentials: if they are required, all of it is refused.
func TestAuthorizerBare(t *testing.T) {
	st := memory.New(nil)
	strict := func(context.Context, access.Credentials) (access.Grant, error) {
		return access.Grant{}, dictwire.ErrUnauthenticated
	}
	c := dial(t, start(t, &dictwire.Server{Store: st, Authorizer: strict}))
	defer c.Close()
	if _, err := io.WriteString(c, `{"a":1}{"a":`); err != nil {
		t.Fatal(err)
	}
	told, err := io.ReadAll(c)
	if want := `{"error":"this server wants to know who speaks; send a \"token\" in the greeting","code":"unauthenticated"}` + "\n"; string(told) != want || err != nil {
		t.Errorf("told %s, %v", told, err)
	}
	wantStored(t, st, "default")
	wantStored(t, st, store.Rejected)
}

// An Authorizer that does not answer blocks nobody for long, and one that panics affects
// one connection.
func TestAuthorizerFails(t *testing.T) {
	for token, want := range map[string]string{"hangs": `"code":"unavailable","retry_ms":500`, "panics": `"error":"internal error","code":"internal"`} {
		srv := &dictwire.Server{Authorizer: func(ctx context.Context, c access.Credentials) (access.Grant, error) {
			if c.Token == "panics" {
				panic("on purpose")
			}
			<-ctx.Done()
			return access.Grant{}, ctx.Err()
		}}
		onNetwork(t, srv, func(t *testing.T, dial func(string) net.Conn) {
			c := dial("client")
			_, _ = io.WriteString(c, `{"dictwire":1,"token":"`+token+`"}`+"\n")
			began := time.Now()
			told, _ := io.ReadAll(c)
			if !strings.Contains(string(told), want) || time.Since(began) > 12*time.Second {
				t.Errorf("%s: told %s after %v", token, told, time.Since(began))
			}
			_ = c.Close()
		})
	}
}

// The log says who was denied what, once per second for each address, and contains no
// secret.
func TestAuthorizerLog(t *testing.T) {
	var lines testlog.Buffer
	srv := &dictwire.Server{Authorizer: doorman, Logger: lines.Logger()}
	onNetwork(t, srv, func(t *testing.T, dial func(string) net.Conn) {
		try := func(host, greeting string) {
			c := dial(host)
			_, _ = io.WriteString(c, greeting+"\n")
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		for range 3 {
			for i := range 20 {
				if i < 2 { // further ones would have to wait
					try("a", `{"dictwire":1,"token":"a wrong secret"}`)
				}
				try("b", `{"dictwire":1,"topic":"money","token":"shop's secret"}`)
			}
			time.Sleep(2 * time.Second)
		}
		try("c", `{"dictwire":1,"token":"broken"}`)
		_ = srv.Close()
		synctest.Wait()
		text := lines.String()
		if n := strings.Count(text, "code=unauthenticated"); n != 3 {
			t.Errorf("%d lines of one address in 6 s, want 3", n)
		}
		if n := strings.Count(text, `shop has no right to send to money`); n != 3 {
			t.Errorf("%d lines of the other, want 3", n)
		}
		if strings.Contains(text, "secret") || strings.Contains(text, "for broken") || !strings.Contains(text, "can't be read, looking for …") {
			t.Errorf("a secret, or no cause:\n%s", text)
		}
	})
}

// Answers to wrong tokens from one address are delayed more and more; right tokens never
// are.
func TestWrongTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		srv := &dictwire.Server{Authorizer: doorman}
		servertest.StartAt(t, srv, dictwire.Endpoint{Listener: network.Host("server").Listen()})
		try := func(host, token string) time.Duration {
			began := time.Now()
			c, err := network.Host(host).Dial(t.Context(), "server")
			if err != nil {
				t.Error(err)
				return 0
			}
			_, _ = io.WriteString(c, `{"dictwire":1,"subscribe":"*","token":"`+token+`"}`+"\n")
			_, _ = io.ReadAll(c)
			_ = c.Close()
			return time.Since(began)
		}
		const quick, most = 500 * time.Millisecond, 11 * time.Second
		for i := range 5 {
			if took := try("a", "guess"); took > quick {
				t.Errorf("wrong token %d: answered after %v", i, took)
			}
		}
		var all sync.WaitGroup
		for range 30 { // concurrently
			all.Go(func() {
				if took := try("a", "guess"); took > most {
					t.Errorf("a wrong token is answered after %v", took)
				}
			})
		}
		began := time.Now()
		time.Sleep(100 * time.Millisecond)
		for host, token := range map[string]string{"a": "red's secret", "b": "guess"} {
			if took := try(host, token); took > quick {
				t.Errorf("%s of %s: answered after %v", token, host, took)
			}
		}
		if took := try("a", "guess"); took < 5*time.Second || took > most {
			t.Errorf("the next wrong token is answered after %v", took)
		}
		all.Wait()
		if took := time.Since(began); took < 9*time.Second {
			t.Errorf("30 wrong tokens took %v", took)
		}
		time.Sleep(time.Minute)
		if took := try("a", "guess"); took > quick {
			t.Errorf("a minute later it is answered after %v", took)
		}
		for range 20 {
			go try("a", "guess")
		}
		time.Sleep(time.Second)
		_ = srv.Shutdown(t.Context())
	})
}
