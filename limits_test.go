package dictwire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// onNetwork runs a test in virtual time against a server on a network of hosts. dial
// connects from a host.
func onNetwork(t *testing.T, srv *dictwire.Server, test func(t *testing.T, dial func(host string) net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		servertest.StartAt(t, srv, dictwire.Endpoint{Listener: network.Host("server").Listen()})
		test(t, func(host string) net.Conn {
			c, err := network.Host(host).Dial(t.Context(), "server")
			if err != nil {
				t.Fatal(err)
			}
			return c
		})
	})
}

// A talk is a native session on a connection.
type talk struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func talkTo(t *testing.T, c net.Conn, greeting string) *talk {
	t.Helper()
	k := &talk{t, c, bufio.NewReader(c)}
	k.say(greeting + "\n")
	return k
}

func (k *talk) say(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.c, text); err != nil {
		k.t.Error(err)
	}
}

// until reads lines up to the first that contains a text, and returns it.
func (k *talk) until(text string) string {
	k.t.Helper()
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			k.t.Errorf("%v after %q, want %s", err, line, text)
			return ""
		}
		if strings.Contains(line, text) {
			return line
		}
	}
}

// besideCrowd opens n connections from another host one by one, and sends a record after
// every so many of them. It returns the connections. No record may wait for any of them.
func (k *talk) besideCrowd(n, each int, dial func(host string) net.Conn, deal func(i int, c net.Conn)) (held []net.Conn) {
	k.t.Helper()
	k.until(`"ack":0`)
	began := time.Now()
	for i := range n {
		c := dial("mallory")
		held = append(held, c)
		if i%each == 0 {
			k.say("{}\n")
			k.until(fmt.Sprintf(`"ack":%d}`, i/each+1))
		}
		deal(i, c)
	}
	if took := time.Since(began); took > 0 {
		k.t.Errorf("another host's records took %v", took)
	}
	return held
}

// Thousands of connections from one host get no more slots than one host may have, are told
// so, and delay no other host.
func TestConnectionsOfOneHost(t *testing.T) {
	const places, crowd = 50, 5000
	onNetwork(t, &dictwire.Server{MaxHostConns: places}, func(t *testing.T, dial func(string) net.Conn) {
		honest := talkTo(t, dial("honest"), `{"dictwire":1,"topic":"orders","producer":"till"}`)
		held := honest.besideCrowd(crowd, 100, dial, func(i int, c net.Conn) {
			if i < places {
				return
			}
			const want = `"your host has 50 connections, as many as Server.MaxHostConns allows; use fewer connections, or connect again later","code":"unavailable"`
			if told, _ := io.ReadAll(c); !strings.Contains(string(told), want) {
				t.Fatalf("connection %d is told %q", i+1, told)
			}
		})
		_ = held[0].Close()
		synctest.Wait()
		again := talkTo(t, dial("mallory"), `{"dictwire":1}`)
		again.until(`"ack":0`) // there is a free slot again
		for _, c := range held {
			_ = c.Close()
		}
		_ = again.c.Close()
		_ = honest.c.Close()
	})
}

// A peer that exceeds its rate is read more slowly, over every protocol: everything is
// stored, and nobody else waits.
func TestRates(t *testing.T) {
	const rate, each, conns = 100, 500, 4
	record := `{"n":"` + strings.Repeat("x", 92) + "\"}" // 100 bytes
	for _, test := range []struct {
		name     string
		srv      *dictwire.Server
		greeting string
	}{
		{"records of a session", &dictwire.Server{MaxRecordRate: rate}, `{"dictwire":1,"topic":"flood","producer":"p%d"}`},
		{"records of a bare sequence", &dictwire.Server{MaxRecordRate: rate, Topic: "flood"}, ""},
		{"bytes of a session", &dictwire.Server{MaxByteRate: rate * int64(len(record))}, `{"dictwire":1,"topic":"flood","producer":"p%d"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := memory.New(nil)
			stored := func(topic string) (n int) {
				all, err := st.Topics(context.Background())
				if err != nil {
					t.Error(err)
				}
				for _, s := range all {
					if s.Name == topic {
						n = int(s.Records)
					}
				}
				return n
			}
			test.srv.Store = st
			onNetwork(t, test.srv, func(t *testing.T, dial func(string) net.Conn) {
				began := time.Now()
				var sending sync.WaitGroup
				for i := range conns {
					sending.Go(func() {
						c := dial("mallory")
						defer c.Close()
						if test.greeting != "" {
							k := talkTo(t, c, fmt.Sprintf(test.greeting, i))
							k.until(`"ack":0`)
							for n := range each {
								k.say(record + "\n")
								k.until(fmt.Sprintf(`"ack":%d}`, n+1))
							}
							return
						}
						for range each {
							_, _ = io.WriteString(c, record+"\n")
							time.Sleep(time.Millisecond)
						}
						_ = c.(interface{ CloseWrite() error }).CloseWrite()
						_, _ = io.ReadAll(c) // until the server has read everything
					})
				}
				honest := talkTo(t, dial("honest"), `{"dictwire":1,"topic":"orders","producer":"till"}`)
				honest.until(`"ack":0`)
				for n := range 100 {
					before := time.Now()
					honest.say(record + "\n")
					honest.until(fmt.Sprintf(`"ack":%d}`, n+1))
					if took := time.Since(before); took > 0 {
						t.Errorf("another host's record took %v", took)
					}
					time.Sleep(100 * time.Millisecond)
					if most := rate * (int(time.Since(began)/time.Second) + 3); stored("flood") > most+conns {
						t.Fatalf("%d records are stored after %v", stored("flood"), time.Since(began))
					}
				}
				_ = honest.c.Close()
				sending.Wait()
				all := conns * each
				if n := stored("flood"); n != all {
					t.Errorf("%d of %d records are stored", n, all)
				}
				least := time.Duration(all/rate-2) * time.Second
				if took := time.Since(began); took < least || took > least+10*time.Second {
					t.Errorf("they took %v, want about %v", took, least)
				}
			})
		})
	}
}

// A server that ends stores what has arrived, however fast it came.
func TestRateAtTheEnd(t *testing.T) {
	st := memory.New(nil)
	srv := &dictwire.Server{MaxRecordRate: 1, Store: st}
	onNetwork(t, srv, func(t *testing.T, dial func(string) net.Conn) {
		early := talkTo(t, dial("mallory"), `{"dictwire":1,"producer":"p"}`)
		early.until(`"ack":0`)
		early.say(strings.Repeat("{}\n", 30))
		early.until(`"ack":30`)
		late := talkTo(t, dial("mallory"), `{"dictwire":1,"producer":"q"}`)
		late.until(`"ack":0`)
		late.say("{}\n")
		synctest.Wait()
		began := time.Now()
		go func() { _ = srv.Shutdown(t.Context()) }()
		late.until(`"ack":1`)
		late.until(`"shutdown"`)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the end took %v", took)
		}
		_ = early.c.Close()
		_ = late.c.Close()
	})
}

// A principal at its limit of stored bytes is refused, and told so. It sends unacked
// records again once there is room. Another principal is not slowed down meanwhile.
func TestQuotaOfPrincipal(t *testing.T) {
	st := memory.New(&memory.Options{KeepBytes: -1, MaxStoredBytes: 256 << 10})
	srv := &dictwire.Server{Store: st, Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		return access.Grant{Principal: c.Token}, nil
	}}
	record := fmt.Sprintf(`{"text":%q}`+"\n", strings.Repeat("x", 8<<10))
	onNetwork(t, srv, func(t *testing.T, dial func(string) net.Conn) {
		honest := talkTo(t, dial("honest"), `{"dictwire":1,"topic":"orders","producer":"till","token":"alice"}`)
		honest.until(`"ack":0`)
		kept := 0
		keeps := func() {
			t.Helper()
			before := time.Now()
			honest.say("{}\n")
			kept++
			honest.until(fmt.Sprintf(`"ack":%d}`, kept))
			if took := time.Since(before); took > 0 {
				t.Errorf("a record took %v", took)
			}
		}
		stored := 0
		flood := func() (told string) {
			t.Helper()
			k := talkTo(t, dial("mallory"), `{"dictwire":1,"topic":"flood","producer":"p","token":"mallory"}`)
			defer k.c.Close()
			if told := k.until(`"next":`); !strings.Contains(told, fmt.Sprintf(`"next":%d`, stored+1)) {
				t.Fatalf("%d records are acked, and a new session is told %s", stored, told)
			}
			for k.until(`"ack":`); ; stored++ {
				k.say(record)
				if told := k.until("}"); !strings.Contains(told, fmt.Sprintf(`"ack":%d`, stored+1)) {
					return told
				}
				if stored > 100 {
					t.Fatal("nobody stops it")
				}
				keeps()
			}
		}
		for range 3 {
			if told := flood(); !strings.Contains(told, `"unavailable"`) || !strings.Contains(told, `there are `) || !strings.Contains(told, ` stored bytes of \"mallory\", as many as MaxStoredBytes allows`) {
				t.Fatalf("beyond what it may, it is told %s", told)
			}
			keeps()
		}
		if stored < 20 || stored > 32 {
			t.Errorf("%d records of 8 KiB are stored", stored)
		}
		before := stored
		head, err := st.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Trim(t.Context(), "flood", head); err != nil {
			t.Fatal(err)
		}
		if flood(); stored != 2*before {
			t.Errorf("%d records were trimmed, and %d more are stored", before, stored-before)
		}
		_ = honest.c.Close()
	})
}

// Floods of names and bad records from one principal do not slow down another one.
func TestFloods(t *testing.T) {
	const flood = 500
	st := memory.New(&memory.Options{MaxTopics: 100, MaxProducers: 100, MaxCursors: 100})
	srv := &dictwire.Server{Store: st, Authorizer: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		return access.Grant{Principal: c.Token}, nil
	}}
	onNetwork(t, srv, func(t *testing.T, dial func(string) net.Conn) {
		honest := talkTo(t, dial("honest"), `{"dictwire":1,"topic":"orders","producer":"till","token":"alice"}`)
		honest.until(`"ack":0`)
		n := 0
		keeps := func(what string) {
			t.Helper()
			before := time.Now()
			honest.say("{}\n")
			n++
			honest.until(fmt.Sprintf(`"ack":%d}`, n))
			for _, greeting := range []string{
				fmt.Sprintf(`{"dictwire":1,"topic":"mine.%s.%d","producer":"till","token":"alice"}`, what, n),
				fmt.Sprintf(`{"dictwire":1,"subscribe":"orders","cursor":"mine.%s.%d","token":"alice"}`, what, n),
			} {
				k := talkTo(t, dial("honest"), greeting)
				if told := k.until(`{`); !strings.Contains(told, `"next"`) {
					t.Errorf("amid %s, alice is told %s", what, told)
				}
				if strings.Contains(greeting, `"producer"`) {
					k.say("{}\n")
					k.until(`"ack":1`)
				}
				_ = k.c.Close()
			}
			if took := time.Since(before); took > 0 {
				t.Errorf("amid %s, a record took %v", what, took)
			}
		}
		for what, greeting := range map[string]string{
			"topics":    `{"dictwire":1,"topic":"flood.%d","token":"mallory"}`,
			"producers": `{"dictwire":1,"topic":"flood","producer":"p%d","token":"mallory"}`,
			"cursors":   `{"dictwire":1,"subscribe":"orders","cursor":"c%d","token":"mallory"}`,
		} {
			refused := 0
			for i := range flood {
				c := dial("mallory")
				_, _ = io.WriteString(c, fmt.Sprintf(greeting, i)+"\n")
				if what == "topics" {
					_, _ = io.WriteString(c, "{}\n")
				}
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
				told, _ := io.ReadAll(c)
				if strings.Contains(string(told), `\"mallory\", as many as half of Max`) {
					refused++
				}
				_ = c.Close()
				if i%100 == 0 {
					keeps(what)
				}
			}
			keeps(what)
			if refused < flood/2 {
				t.Errorf("%d of %d %s were refused", refused, flood, what)
			}
		}
		for i := range flood {
			c := dial("mallory")
			_, _ = io.WriteString(c, `{"dictwire":1,"topic":"flood","token":"mallory"}`+"\n"+`{"a":1,"a":2}`+"\n")
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			_, _ = io.ReadAll(c)
			_ = c.Close()
			if i%100 == 0 {
				keeps("rejections")
			}
		}
		keeps("rejections")
		_ = honest.c.Close()
	})
}
