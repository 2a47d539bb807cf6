package simulate

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// subscribe reads like run, but with the project's own client.
func (r *reader) subscribeAll(ctx context.Context) {
	d := dictwire.Dialer{
		MaxBackoff:  time.Second,
		Token:       r.principal,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.host.Dial(ctx, r.server) },
	}
	for ctx.Err() == nil {
		client, err := d.Dial(ctx, r.server+":1")
		if err == nil {
			err = r.loop(ctx, client)
			client.Close()
		}
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			r.ledger.say(r.name, "loop ends: committed %v, %.200v", r.committed, err)
		}
		var remote *fault.Error
		if errors.Is(err, dictwire.ErrProtocol) || errors.As(err, &remote) && r.ledger.livesNow() == 0 {
			r.ledger.fail(r.name, "an error for no reason: %v", err)
		}
		time.Sleep(time.Duration(r.rng.IntN(1000)) * time.Millisecond)
	}
}

// loop reads until an error.
func (r *reader) loop(ctx context.Context, client *dictwire.Client) error {
	before := map[string]bool{}
	began := false
	for b, err := range client.Subscribe(ctx, dictwire.SubscribeRequest{
		Topics: []string{r.subscribe}, Cursor: r.cursor, From: "earliest", Follow: true,
	}) {
		var skipped *dictwire.GapError
		switch {
		case errors.As(err, &skipped) && skipped.Text == "": // trimmed
			r.ledger.say(r.name, "%v", err)
			r.gaps = append(r.gaps, gap{skipped.From, skipped.To, skipped.Topic})
		case err != nil:
			return err
		}
		next, err := store.ParsePosition(b.Next)
		if err != nil {
			return err
		}
		if !began || next.Tag != r.tag {
			began = true
			if err := r.begins(next); err != nil {
				r.ledger.fail(r.name, "%v", err)
			}
		}
		for _, record := range b.Records {
			key := b.Topic + " " + string(record)
			if before[key] && r.ledger.livesNow() == 0 {
				r.ledger.fail(r.name, "one loop got it twice: %.80q", key)
			}
			before[key] = true
			r.done[key]++
		}
		r.ledger.do(func() { r.at = next })
		if err := r.dawdle(ctx); err != nil {
			return err
		}
		if r.nocommit > 0 && r.rng.IntN(r.nocommit) > 0 || next.Compare(r.asked) <= 0 && next.Tag == r.asked.Tag {
			continue
		}
		r.asked = next
		if err := b.Commit(ctx); err != nil {
			return err
		}
		if next.Tag == r.committed.Tag || r.committed.IsZero() {
			r.committed = next
		}
	}
	return errors.New("the loop ended")
}
