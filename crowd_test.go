package dictwire_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// stuck is a store that stores nothing in the topic "stuck" for a while.
type stuck struct {
	store.Store
	over chan struct{}
}

func (s *stuck) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	if slices.ContainsFunc(blocks, func(b *store.Block) bool { return b.Topic == "stuck" }) {
		<-s.over
	}
	return s.Store.Append(ctx, blocks...)
}

// A peer whose records were good does not wait for memory behind a crowd of peers that have
// stored nothing yet, or whose records are mostly rejected.
func TestKnownPeers(t *testing.T) {
	const (
		good, bad = "\x81\xa1a\x01", "\x82\xa1a\x01\xa1a\x02" // a duplicate key
		numbered  = `{"dictwire":1,"topic":"good","producer":"p","format":"msgpack"}` + "\n"
	)
	for _, test := range []struct {
		name     string
		greeting string
		first    string // sent before the crowd comes
		again    bool   // it reconnects
		waits    bool
	}{
		{"new", "", "", false, true},
		{"known", "", good, false, false},
		{"mostly bad", "", strings.Repeat(good, 60) + bad, false, true},
		{"seldom bad", "", strings.Repeat(good, 70) + bad, false, false},
		{"another connection", "", good, true, true},
		{"another connection of a producer", numbered, good, true, false},
		{"another connection of a producer without records", numbered, "", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &stuck{Store: memory.New(nil)}
			inBubble(t, &dictwire.Server{Store: s, MaxMemory: 16 << 20}, func(t *testing.T, l *pipeListener) {
				s.over = make(chan struct{})
				head := func() store.Position {
					synctest.Wait()
					p, err := s.Head(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					return p
				}
				c := call(t, l)
				say := func(text string) {
					c.say(text)
					synctest.Wait()
				}
				say(test.greeting)
				say(test.first)
				if test.again {
					c.Close()
					c = call(t, l)
					say(test.greeting)
				}
				for range 100 { // of 16 MiB, one is for records of unknown peers
					crowd := call(t, l)
					crowd.say(`{"dictwire":1,"topic":"stuck"}` + "\n" + fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 15_000)))
				}
				before := head()
				say(good)
				if waits := head() == before; waits != test.waits {
					t.Errorf("it waits: %v", waits)
				}
				close(s.over)
			})
		})
	}
}

// The log has a limited number of lines per second about a crowd of peers.
func TestLogRate(t *testing.T) {
	var log testlog.Buffer
	inBubble(t, &dictwire.Server{Logger: log.Logger()}, func(t *testing.T, l *pipeListener) {
		wrong := func(n int) {
			for range n {
				c := call(t, l)
				c.say("not a dictionary\n")
				synctest.Wait()
			}
		}
		wrong(300)
		if n := strings.Count(log.String(), "\n"); n != 200 {
			t.Errorf("%d lines are logged within a second", n)
		}
		time.Sleep(time.Second)
		wrong(1)
		if lines := strings.Split(log.String(), "\n"); len(lines) != 203 || !strings.Contains(lines[200], `msg="lines about peers were left out" count=100`) {
			t.Errorf("%d lines a second later: %s", len(lines), lines[200:])
		}
	})
}
