package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/spool"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func openStore(t *testing.T) *log.Store {
	s, err := log.Open(t.Context(), "store", &log.Options{FS: vfs.NewMem(), KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// put appends a block of numbered records to topic a.
func put(t *testing.T, s store.Store, from, to int) {
	t.Helper()
	b := &store.Block{Topic: "a", Codec: "json"}
	for n := from; n <= to; n++ {
		b.Add(fmt.Appendf(nil, `{"n":%d}`, n))
	}
	if err := s.Append(t.Context(), b)[0].Err; err != nil {
		t.Fatal(err)
	}
}

func openOutbox(t *testing.T, s store.Store, log *bytes.Buffer) *outbox {
	t.Helper()
	o, err := open(t.Context(), s, "", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// stands checks the place of topic a.
func stands(t *testing.T, o *outbox, first, next, acked uint64, sum uint32) {
	t.Helper()
	all, err := o.Topics(t.Context())
	want := spool.Topic{Topic: "a", First: first, Next: next, Acked: acked, Sum: sum}
	if err != nil || len(all) != 1 || all[0] != want {
		t.Fatalf("%+v, %v, want %+v", all, err, want)
	}
}

// firstRead returns the first batch from a number on, as text.
func firstRead(t *testing.T, o *outbox, from uint64) (string, error) {
	t.Helper()
	for b, err := range o.Read(t.Context(), "a", from) {
		return fmt.Sprintf("%d: %s", b.First, bytes.Join(b.Records, nil)), err
	}
	return "", errors.New("nothing")
}

// TestPlaces settles a part of a block: the place is inside it, is found again, and numbers
// continue from there.
func TestPlaces(t *testing.T) {
	s := openStore(t)
	var log bytes.Buffer
	put(t, s, 1, 2)
	put(t, s, 3, 7)
	o := openOutbox(t, s, &log)
	stands(t, o, 1, 8, 0, 0)
	for from, want := range map[uint64]string{1: `1: {"n":1}{"n":2}`, 2: `2: {"n":2}`, 5: `5: {"n":5}{"n":6}{"n":7}`} {
		if got, err := firstRead(t, o, from); err != nil || got != want {
			t.Fatalf("read from %d: %s, %v, want %s", from, got, err, want)
		}
	}
	if err := o.Settle(t.Context(), "a", 4, 44); err != nil {
		t.Fatal(err)
	}
	if err := o.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, 8, 9)
	for range 2 {
		o = openOutbox(t, s, &log)
		stands(t, o, 5, 10, 4, 44)
		if got, err := firstRead(t, o, 5); err != nil || got != `5: {"n":5}{"n":6}{"n":7}` {
			t.Fatalf("%s, %v", got, err)
		}
		if got, err := firstRead(t, o, 9); err != nil || got != `9: {"n":9}` {
			t.Fatalf("%s, %v", got, err)
		}
	}
	if err := o.Settle(t.Context(), "a", 10, 0); err == nil {
		t.Error("a record is settled that there never was")
	}
	if o.Producer() == "" || log.Len() > 0 {
		t.Errorf("producer %q, log %s", o.Producer(), log.String())
	}
}

// asking is a logger that returns how much is pending.
type asking struct {
	slog.Handler
	o *outbox
}

func (a asking) Handle(ctx context.Context, r slog.Record) error {
	r.Add("pending", a.o.pending())
	return a.Handler.Handle(ctx, r)
}

// TestGap trims unsettled records: later ones have no numbers any more, and that is
// reported.
func TestGap(t *testing.T) {
	s := openStore(t)
	var log bytes.Buffer
	put(t, s, 1, 2)
	o := openOutbox(t, s, &log)
	o.logger = slog.New(asking{o.logger.Handler(), o})
	put(t, s, 3, 4)
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(t.Context(), "a", head); err != nil {
		t.Fatal(err)
	}
	put(t, s, 5, 6)
	if err := o.count(t.Context(), false, func(string, uint64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	stands(t, o, 1, 3, 0, 0)
	if n := strings.Count(log.String(), "pending=2"); n != 1 {
		t.Errorf("the logger sees %s", log.String())
	}
	var trimmed *store.TrimmedError
	if got, err := firstRead(t, o, 1); !errors.As(err, &trimmed) {
		t.Errorf("it reads %s, %v", got, err)
	}
	if n := strings.Count(log.String(), "not passed on"); n != 1 {
		t.Errorf("it is said %d times: %s", n, log.String())
	}
	if _, err := o.Append(context.Background(), "a", "json", []byte("{}")); err == nil {
		t.Error("records come by another way")
	}
}
