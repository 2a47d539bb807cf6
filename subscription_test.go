package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// reading returns a client of a server that has records 1 to count of topic orders.
func reading(t *testing.T, count int) *dictwire.Client {
	t.Helper()
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(t.Context(), start(t, &dictwire.Server{Store: memory.New(nil)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for i := range count {
		if err := c.SendAsync(t.Context(), "orders", n(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// A loop can be left, its records committed, and another loop continues.
func TestSubscriptionLeft(t *testing.T) {
	c := reading(t, 6)
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Cursor: "billing"})
	defer sub.Close()
	var got []string
	for range 3 {
		var next string
		for r, err := range sub.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(r.Bytes))
			if next = r.Next(); len(got)%2 == 0 {
				break
			}
		}
		if err := sub.Commit(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{line(1), line(2), line(3), line(4), line(5), line(6)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for r, err := range sub.Records(t.Context()) {
		t.Errorf("after the last came %v, %v", r, err)
	}
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}, Cursor: "billing"}) {
		if err != nil || len(b.Records) > 0 {
			t.Errorf("the cursor stands before %q, %v", b.Records, err)
		}
	}
}

// A record's positions are ones from which a reader can start, whatever was filtered out
// before it.
func TestSubscriptionPositions(t *testing.T) {
	c := reading(t, 9)
	even := func(r *dictwire.Received) bool { return r.Number%2 == 0 }
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Filter: even})
	defer sub.Close()
	var seen []string
	for r, err := range sub.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(r.Bytes))
		if want := line(int(r.Number)); string(r.Bytes) != want {
			t.Errorf("record %d is %s, want %s", r.Number, r.Bytes, want)
		}
		for from, want := range map[string]uint64{r.Position(): r.Number, r.Next(): r.Number + 1} {
			// Records that were filtered out at the end of a block are passed with it.
			got := firstFrom(t, c, from)
			if want%2 == 1 && got == want+1 {
				continue
			}
			if got != want && want < 9 {
				t.Errorf("reading from %s begins with record %d, want %d", from, got, want)
			}
		}
	}
	if want := []string{line(2), line(4), line(6), line(8)}; !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}

	// A loop that is left among filtered records continues after the last one that it got.
	sub = c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Filter: even})
	defer sub.Close()
	for range sub.Records(t.Context()) {
		break
	}
	for b, err := range sub.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Records {
			if got := firstFrom(t, c, b.Record(i).Position()); line(int(got)) != string(b.Records[i]) {
				t.Errorf("at %s begins record %d, want %s", b.Record(i).Position(), got, b.Records[i])
			}
		}
	}
}

// firstFrom returns the number of the first record from a position on, or 0.
func firstFrom(t *testing.T, c *dictwire.Client, from string) uint64 {
	t.Helper()
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}, From: from}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Records) > 0 {
			return b.First
		}
	}
	return 0
}

// The contents of a batch stay valid, unless reuse is requested.
func TestSubscriptionKeeps(t *testing.T) {
	c := reading(t, 0)
	const batches = 20
	for i := range batches {
		if _, err := c.Send(t.Context(), "orders", dict.Of("text", strings.Repeat(string(rune('a'+i)), 1000))); err != nil {
			t.Fatal(err)
		}
	}
	var kept []*dict.Dict
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range b.All() {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, d)
		}
	}
	if len(kept) != batches {
		t.Fatalf("%d records, want %d", len(kept), batches)
	}
	for i, d := range kept {
		if got, want := textOf(d, "text"), strings.Repeat(string(rune('a'+i)), 1000); got != want {
			t.Errorf("record %d is %.10q…, want %.10q…", i, got, want)
		}
	}
}

// A record that the reader can't use is stored in _rejected, once.
func TestSubscriptionReject(t *testing.T) {
	c := reading(t, 2)
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}})
	defer sub.Close()
	var position string
	for r, err := range sub.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Number == 2 {
			position = r.Position()
			for range 2 {
				if err := sub.Reject(t.Context(), r, "no such customer"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var rows []string
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{store.Rejected}}) {
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range b.All() {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, fmt.Sprint(textOf(d, "error"), " at ", textOf(d, "position"), " in ", textOf(d, "topic")))
		}
	}
	if want := []string{"no such customer at " + position + " in orders"}; !slices.Equal(rows, want) {
		t.Errorf("_rejected holds %q, want %q", rows, want)
	}
}

// Closing a subscription ends its loops and commits.
func TestSubscriptionClose(t *testing.T) {
	c := reading(t, 1)
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Cursor: "billing", Follow: true})
	var next string
	for r, err := range sub.Records(t.Context()) {
		if r == nil {
			if err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("the loop ended with %v", err)
			}
			break
		}
		next = r.Next()
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := sub.Commit(t.Context(), next); err == nil || !strings.Contains(err.Error(), "the subscription is closed") {
		t.Errorf("Commit of %q = %v", next, err)
	}
}

// If a connection dies silently after the last record, a commit on it is repeated on
// another one.
func TestCommitOnDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		if _, err := srv.Client.Send(t.Context(), "t", n(1)); err != nil {
			t.Fatal(err)
		}
		sub := srv.Client.Subscription(dictwire.SubscribeRequest{Topics: []string{"t"}, Cursor: "c"})
		defer sub.Close()
		var next string
		for r, err := range sub.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			next = r.Next()
		}
		time.Sleep(time.Hour) // nothing arrives meanwhile
		srv.Swallow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := sub.Commit(ctx, next); err != nil {
			t.Errorf("Commit = %v", err)
		}
	})
}

// A rejection that waits for its server ends with the subscription, and with the client.
func TestRejectCloses(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*dictwire.Client, *dictwire.Subscription) error
		says func(error) bool
	}{
		"subscription": {
			func(_ *dictwire.Client, sub *dictwire.Subscription) error { return sub.Close() },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "the subscription is closed") },
		},
		"client": {
			func(c *dictwire.Client, _ *dictwire.Subscription) error { return c.Close() },
			func(err error) bool { return errors.Is(err, dictwire.ErrClientClosed) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := dictwiretest.NewServer(t, nil)
				if _, err := srv.Client.Send(t.Context(), "t", n(1)); err != nil {
					t.Fatal(err)
				}
				sub := srv.Client.Subscription(dictwire.SubscribeRequest{Topics: []string{"t"}})
				defer sub.Close()
				for r, err := range sub.Records(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					srv.Refuse(true)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					done := make(chan error, 1)
					go func() { done <- sub.Reject(ctx, r, "no") }()
					synctest.Wait()
					if err := test.end(srv.Client, sub); err != nil {
						t.Error(err)
					}
					for _, err := range []error{<-done, sub.Reject(ctx, r, "no")} {
						if !test.says(err) {
							t.Errorf("Reject = %v", err)
						}
					}
					break
				}
			})
		})
	}
}

// Event times stay with their records when a filter, or a loop that was left, removes the
// first ones of a batch.
func TestEventTimesFiltered(t *testing.T) {
	st := memory.New(nil)
	b := &store.Block{Topic: "orders", Codec: "json"}
	for n := range 5 {
		b.Add([]byte(line(n)))
		b.AddTime(int64(n))
	}
	if r := st.Append(t.Context(), b); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	c, err := dictwire.Dial(t.Context(), start(t, &dictwire.Server{Store: st}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Filter: func(r *dictwire.Received) bool {
		return r.EventTime.UnixNano() != 0 && r.EventTime.UnixNano() != 3
	}})
	defer sub.Close()
	var got []string
	for range 2 {
		for r, err := range sub.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(string(r.Bytes), " ", r.EventTime.UnixNano()))
			if len(got) == 1 {
				break
			}
		}
	}
	if want := []string{line(1) + " 1", line(2) + " 2", line(4) + " 4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
