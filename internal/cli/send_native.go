package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/dictwire/dictwire/internal/client"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store"
)

// dialer returns the settings for native sessions.
func (s *send) dialer() dictwire.Dialer {
	return s.as(dictwire.Dialer{
		Codec: s.wire()[s.format.value], Limits: unlimited, Producer: "send", AcceptLost: s.acceptLost,
		OnRejected: func(r *dictwire.RejectedError) {
			s.rejected.Add(1)
			s.tell(serverError{r})
		},
		OnReply: s.showReply,
		OnState: s.server.changed,
		Logger:  slog.New(lineHandler{s.stderr}),
	})
}

// A serverError has a text made by the server, so flags in it are the server's.
type serverError struct{ error }

func (e serverError) Error() string {
	return ofServer.Replace(e.error.Error())
}

func (e serverError) Unwrap() error { return e.error }

func (s *send) showReply(_ string, _ uint64, reply *dict.Dict) {
	if !s.reply {
		return
	}
	if _, err := s.stdout.Write(append(json.Render(nil, reply, nil), '\n')); err != nil {
		s.tell(err)
	}
}

// tell prints an error after which the command goes on; its exit code will be 1.
func (s *send) tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	tell(s.stderr, err)
}

// native sends a source over native sessions, and returns when everything is settled.
func (s *send) native(ctx context.Context, next source) (err error) {
	var c *dictwire.Client
	if err := s.dial(ctx, func() (err error) {
		c, err = s.dialer().Dial(ctx, s.addr)
		return err
	}); err != nil {
		return err
	}
	s.server.await()
	s.use(c, func() int64 {
		st := c.Stats()
		return st.Pending + st.Lost
	}, nil)
	return s.mayLose(errors.Join(s.asyncAll(ctx, c, next), c.Flush(ctx)))
}

// use sets the client that is closed at the end, and whose records must be settled if a
// signal ends the command.
func (s *send) use(c *dictwire.Client, left, lost func() int64) {
	s.count(left, lost)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
}

// flush waits until everything sent is settled, except for a file with a producer's name,
// which the next run continues.
func (s *send) flush(ctx context.Context) error {
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	if c == nil || s.producer != "" {
		return nil
	}
	return c.Flush(ctx)
}

// asyncAll passes a source to the client.
func (s *send) asyncAll(ctx context.Context, c *dictwire.Client, next source) error {
	return s.each(ctx, next, func(d *dict.Dict) error { return c.SendAsync(ctx, s.topic, d) })
}

// numbered sends the file as the log of a producer.
func (s *send) numbered(ctx context.Context, _ source) error {
	log := &fileLog{
		path: s.file, producer: s.producer, topic: s.topic,
		read: func(r io.Reader) source { return s.readFile(s.file, r, &s.input) }, to: s.wire()[s.format.value],
	}
	bad, err := log.open(ctx)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		for _, err := range bad[:min(len(bad), 16)] {
			tell(s.stderr, err)
		}
		return hintError{
			fmt.Errorf("nothing was sent: with --producer all records of the file must be good, and %d are not", len(bad)),
			"mend the file first, as this would shift the numbers of the records after them",
		}
	}
	if log.next == 1 {
		return nil
	}
	if err := s.knock(ctx); err != nil {
		return err
	}
	d := s.dialer()
	d.Spool = log
	s.all.Store(int64(log.next - 1))
	s.sent.Store(s.all.Load())
	c, err := d.Dial(ctx, s.addr)
	if err != nil {
		return err
	}
	s.server.await()
	s.use(c, log.left, lost(c))
	err = c.Flush(ctx)
	if errors.Is(err, dictwire.ErrConflict) {
		err = hintError{err, "this is not the file that was sent under this name; give it a --producer of its own"}
	}
	return s.mayLose(err)
}

// lost returns a function that returns how many records the client has given up.
func lost(c *dictwire.Client) func() int64 { return func() int64 { return c.Stats().Lost } }

// mayLose adds a hint to an error after which records may be lost.
func (s *send) mayLose(err error) error {
	if errors.Is(err, dictwire.ErrLost) || errors.Is(err, spool.ErrDamaged) && !s.acceptLost {
		return hintError{err, "--accept-lost goes on without what is lost"}
	}
	return err
}

// knock returns an error if nothing listens at the address.
func (s *send) knock(ctx context.Context) error {
	return s.dial(ctx, func() error {
		c, err := client.DialBare(ctx, s.addr, nil, s.config)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// A watched is a spool that reports when something is settled.
type watched struct {
	*disk.Spool
	settled chan struct{} // of capacity 1
}

// Settle implements [spool.Spool].
func (w *watched) Settle(ctx context.Context, topic string, number uint64, sum uint32) error {
	err := w.Spool.Settle(ctx, topic, number, sum)
	select {
	case w.settled <- struct{}{}:
	default:
	}
	return err
}

// left returns the number of unsettled records.
func (w *watched) left(ctx context.Context) (n uint64, err error) {
	topics, err := w.Topics(ctx)
	for _, t := range topics {
		n += t.Next - 1 - t.Acked
	}
	return n, err
}

// spooled appends a source to the spool, and sends the spool's records as far as the
// server accepts them.
func (s *send) spooled(ctx context.Context, next source) error {
	sp, err := disk.Open(ctx, s.spool, &disk.Options{AcceptLost: s.acceptLost})
	switch {
	case errors.Is(err, store.ErrLocked):
		return hintError{err, "another program sends from this spool; give this one a --spool of its own"}
	case errors.Is(err, storedir.ErrForeign):
		return hintError{err, "--spool names an empty directory, or one that does not exist yet"}
	case err != nil:
		return s.mayLose(err)
	}
	guard(s.spool, func(format string, args ...any) { say(s.stderr, format, args...) })
	s.closing = sp.Close
	s.server.stays = true
	w := &watched{sp, make(chan struct{}, 1)}
	before, err := w.left(ctx)
	if err != nil {
		return err
	}
	s.sent.Store(int64(before))
	d := s.dialer()
	d.Spool, d.AtSpool = w, true
	c, err := d.Dial(ctx, s.addr)
	if err != nil {
		return err
	}
	s.use(c, func() int64 {
		n, _ := w.left(context.WithoutCancel(ctx))
		return int64(n)
	}, lost(c))
	sent := errors.Join(s.asyncAll(ctx, c, next), c.Flush(context.WithoutCancel(ctx)))
	if sent != nil || ctx.Err() != nil {
		return s.mayLose(sent)
	}
	return s.drain(ctx, c, w)
}

// drain waits until everything in the spool is settled. If the server is away, it prints
// what stays in the spool.
func (s *send) drain(ctx context.Context, c *dictwire.Client, w *watched) error {
	wait := time.Duration(0)
	if s.knock(ctx) == nil { // it retries for --wait
		wait = patience
	}
	for {
		left, err := w.left(ctx)
		if err != nil {
			return err
		}
		if left == 0 {
			return s.mayLose(c.Flush(ctx))
		}
		late := time.NewTimer(wait)
		select {
		case <-w.settled:
			late.Stop()
			wait = patience
		case <-ctx.Done():
			late.Stop()
			return context.Cause(ctx)
		case <-late.C:
			if err := c.Flush(ctx); err != nil { // why the topic can't continue
				return s.mayLose(err)
			}
			say(s.stderr, "%s in the spool: the server at %s does not take them now",
				count(int64(left), "dictionary stays", "dictionaries stay"), s.addr)
			return nil
		}
	}
}

// each calls do for each dictionary of a source, and prints faults.
func (s *send) each(ctx context.Context, next source, do func(*dict.Dict) error) error {
	for ctx.Err() == nil {
		d, err := next(ctx)
		var bad *recordError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &bad):
			s.tell(err)
			continue
		case err != nil:
			return err
		}
		if err := do(d); err != nil {
			return err
		}
		s.sent.Add(1)
	}
	return context.Cause(ctx)
}
