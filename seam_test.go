package dictwire_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// An answering store returns given errors from appends.
type answering struct {
	*memory.Store
	next atomic.Pointer[error] // for the next append
}

func (s *answering) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	if err := s.next.Swap(nil); err != nil {
		results := make([]store.Result, len(blocks))
		for i := range results {
			results[i].Err = *err
		}
		return results
	}
	return s.Store.Append(ctx, blocks...)
}

// If an error shows that the producer has moved since its claim, the client reconnects. The
// server is not at fault.
func TestClaimAgain(t *testing.T) {
	for _, err := range []error{store.ErrDuplicate, &store.SequenceError{Want: 9}} {
		s := &answering{Store: memory.New(nil)}
		addr := start(t, &dictwire.Server{Store: s})
		peer := greet(t, addr, `{"dictwire":1,"producer":"p"}`)
		peer.hear(welcome(1, ""), exact(`{"ack":0}`))
		s.next.Store(&err)
		peer.say("{}\n")
		peer.hear(`\{"error":".*connect again.*","code":"unavailable","retry_ms":500\}`)
		peer.end()

		c, dialing := dictwire.Dialer{Codec: json.Codec{}}.Dial(t.Context(), addr)
		if dialing != nil {
			t.Fatal(dialing)
		}
		defer c.Close()
		if _, err := c.Send(t.Context(), "default", map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		s.next.Store(&err)
		for n := range 3 {
			if _, err := c.Send(t.Context(), "default", map[string]int{"n": n + 2}); err != nil {
				t.Fatalf("%v: %v", err, err)
			}
		}
		if got := strings.Join(stored(t, s, "default"), ", "); got != `1 {"n":1}, 2 {"n":2}, 3 {"n":3}, 4 {"n":4}` {
			t.Errorf("%v: stored %s", err, got)
		}
	}
}

// Two servers of one store fence each other's sessions.
func TestTwoServers(t *testing.T) {
	s := memory.New(nil)
	one, two := start(t, &dictwire.Server{Store: s}), start(t, &dictwire.Server{Store: s})
	fenced := `\{"error":"another connection has taken over","code":"fenced"\}`

	a := greet(t, one, `{"dictwire":1,"producer":"p","attempt":1}`)
	a.hear(welcome(1, ""), exact(`{"ack":0}`))
	a.say("{}\n")
	a.hear(exact(`{"ack":1}`))
	b := greet(t, two, `{"dictwire":1,"producer":"p","attempt":2,"acked":1}`)
	b.hear(welcome(2, sumOf(`{}`)), exact(`{"ack":1}`))
	a.hear(fenced)
	a.end()
	late := greet(t, one, `{"dictwire":1,"producer":"p","attempt":1}`)
	late.hear(exact(`{"error":"a later attempt has the producer","code":"stale"}`))

	topic := "default"
	x := greet(t, one, fmt.Sprintf(`{"dictwire":1,"subscribe":%q,"cursor":"c","follow":true,"attempt":5}`, topic))
	x.hear(`.*"next":.*`)
	late = greet(t, two, fmt.Sprintf(`{"dictwire":1,"subscribe":%q,"cursor":"c","follow":true,"attempt":4}`, topic))
	late.hear(exact(`{"error":"a later attempt has the cursor","code":"stale"}`))
	y := greet(t, two, fmt.Sprintf(`{"dictwire":1,"subscribe":%q,"cursor":"c","follow":true,"attempt":6}`, topic))
	y.hear(`.*"next":.*`)
	for range 3 { // the record, its rejections, and progress may come first
		if line := x.hear(`.*`); strings.Contains(line, "fenced") {
			x.end()
			return
		}
	}
	t.Error("the reader at the other server is not fenced")
}

// A small store accepts blocks of up to 128 KiB.
type small struct{ *memory.Store }

const smallBlock = 128 << 10

func (s small) Limits() store.Limits {
	return store.Limits{Durability: store.Memory, BlockBytes: smallBlock}
}

func (s small) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	for _, b := range blocks {
		if len(b.Data) > smallBlock {
			panic(fmt.Sprintf("a block of %d bytes", len(b.Data)))
		}
	}
	return s.Store.Append(ctx, blocks...)
}

// Records that arrive together are split into as many blocks as the store requires, and a
// record that fits in none is refused.
func TestSmallBlocks(t *testing.T) {
	s := small{memory.New(nil)}
	addr := start(t, &dictwire.Server{Store: s, RecordTimeout: 30 * time.Second})
	peer := greet(t, addr, `{"dictwire":1,"producer":"p"}`)
	peer.hear(`.*"max_record":131072,.*`, exact(`{"ack":0}`))
	record := `{"x":"` + strings.Repeat("x", 50_000) + `"}`
	peer.say(strings.Repeat(record+"\n", 20))
	for line := ""; line != `{"ack":20}`; {
		line = peer.hear(`\{"ack":\d+\}`)
	}
	if n := len(stored(t, s, "default")); n != 20 {
		t.Errorf("%d records, want 20", n)
	}
	peer.say(`{"x":"` + strings.Repeat("x", smallBlock) + `"}` + "\n")
	peer.hear(`\{"rejected":21,"code":"too_large",.*`)
}

// A store without room for another name says so, and serves known names.
func TestNoRoomForNames(t *testing.T) {
	addr := start(t, &dictwire.Server{Store: memory.New(&memory.Options{MaxTopics: 2, MaxProducers: 2, MaxCursors: 2})})
	refused := func(limit string) string {
		return `\{"error":"there are 1 ` + limit + ` of \\"anonymous\\", as many as half of Max\w+ allows","code":"unavailable","retry_ms":60000\}`
	}
	a := greet(t, addr, `{"dictwire":1,"topic":"a","producer":"p"}`)
	a.hear(welcome(1, ""), exact(`{"ack":0}`))
	a.say("{}\n")
	a.hear(exact(`{"ack":1}`))
	greet(t, addr, `{"dictwire":1,"topic":"a","producer":"q"}`).hear(refused("producers"))
	b := greet(t, addr, `{"dictwire":1,"topic":"b"}`+"\n{}")
	b.hear(welcome(1, ""), exact(`{"ack":0}`), refused("topics"))
	c := greet(t, addr, `{"dictwire":1,"subscribe":"a","cursor":"c","follow":true}`)
	c.hear(`.*"next":.*`)
	greet(t, addr, `{"dictwire":1,"subscribe":"a","cursor":"d"}`).hear(refused("cursors"))
	a.say("{}\n")
	a.hear(exact(`{"ack":2}`))
	greet(t, addr, `{"dictwire":1,"subscribe":"a","cursor":"c"}`).hear(`.*"next":.*`)
}
