package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

const (
	execRecords = 1000    // the most records for one run of a command, unless one batch has more
	execBytes   = 1 << 20 // and the most bytes

	minExecPause = 100 * time.Millisecond
	maxExecPause = 30 * time.Second
)

// A delivery is a record for a command.
type delivery struct {
	record    []byte // as it is stored
	format    string
	topic     string
	principal string // "" means anonymous
	producer  string
	number    uint64
	position  string
	line      []byte
}

// deliveries returns the records of a parcel.
func (p *parcel) deliveries() []delivery {
	b, all, begin := p.batch, make([]delivery, 0, len(p.records)), 0
	text := slices.Clone(p.text)
	principal := ""
	if b.Principal != store.Anonymous {
		principal = b.Principal
	}
	for _, r := range p.records {
		record := b.Record(r.index)
		all = append(all, delivery{
			record: slices.Clone(record.Bytes), format: b.Codec.Name(), topic: b.Topic, principal: principal, producer: b.Producer,
			number: record.Number, position: record.Position(), line: text[begin:r.end],
		})
		begin = r.end
	}
	return all
}

// A load is what a command gets of one batch; it may get several at once.
type load struct {
	batch      *dictwire.Batch
	deliveries []delivery
	bytes      int
	done       chan struct{} // closed after the commit; nil: nobody waits
}

// An executor is the sink that passes records to a command.
type executor struct {
	command        string
	attempts       int
	maxRejected    int // negative: no limit
	stdout, stderr io.Writer
	addr           string
	identity       *identityFlags

	loads  chan *load
	enough chan struct{} // closed when no further command is to be run
	ended  chan struct{}
	err    error // why it ended; valid when ended is closed

	// These belong to run:
	failed    []failure // current records that are to be rejected once the others are done
	failedRow int       // consecutive records on which the command failed
}

// A failure is a record on which the command failed.
type failure struct {
	delivery
	text string
}

// start starts running the command.
func (e *executor) start(ctx context.Context) {
	e.loads = make(chan *load, 16)
	e.enough = make(chan struct{})
	e.ended = make(chan struct{})
	go func() {
		defer close(e.ended)
		e.err = e.run(ctx)
	}()
}

func (e *executor) stop() <-chan error {
	close(e.enough)
	done := make(chan error, 1)
	go func() {
		<-e.ended
		done <- e.err
	}()
	return done
}

func (e *executor) waits() string { return "the command to end" }

func (e *executor) put(ctx context.Context, p *parcel, settle bool) error {
	l := &load{batch: p.batch, deliveries: p.deliveries(), bytes: len(p.text)}
	if settle {
		l.done = make(chan struct{})
	}
	select {
	case e.loads <- l:
	case <-e.ended:
		return errStopped // run has the cause
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !settle {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-e.ended:
		return errStopped
	}
}

var errEnough = errors.New("no more is to be done")

func (e *executor) run(ctx context.Context) error {
	for {
		select {
		case <-e.enough:
			return nil
		default:
		}
		select {
		case l := <-e.loads:
			if err := e.take(ctx, l); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
		case <-e.enough:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take passes a load to the command, together with the loads that wait, and then moves
// the cursor.
func (e *executor) take(ctx context.Context, l *load) error {
	batch, size := l.deliveries, l.bytes
	for more := true; more && len(batch) < execRecords && size < execBytes && l.done == nil; {
		select {
		case l = <-e.loads:
			batch = append(batch, l.deliveries...)
			size += l.bytes
		default:
			more = false
		}
	}
	e.failed = e.failed[:0]
	if err := e.deliver(ctx, batch, e.attempts); err != nil {
		return err
	}
	for _, f := range e.failed {
		if err := e.reject(ctx, f); err != nil {
			return err
		}
	}
	if err := e.patiently(ctx, l.batch.Commit); err != nil {
		return err
	}
	if l.done != nil {
		close(l.done)
	}
	return nil
}

// deliver passes records to the command until it has accepted them. After the given
// number of failed attempts, each half is delivered separately. A single record that
// still fails is rejected.
func (e *executor) deliver(ctx context.Context, batch []delivery, attempts int) error {
	if len(batch) == 0 {
		return nil
	}
	many := count(int64(len(batch)), "record", "records")
	pause := minExecPause
	for failures := 0; ; {
		err := e.once(ctx, batch)
		if err == nil {
			e.failedRow = 0
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if reason := unrunnable(err); reason != "" {
			return hintError{
				fmt.Errorf("the command can't be run (%s): %s: %w", reason, e.command, err),
				"mend the command and run this again: it gets the same records",
			}
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitTemporary {
			failures++
		}
		if failures >= attempts {
			if len(batch) == 1 {
				return e.giveUp(batch[0], err)
			}
			break
		}
		say(e.stderr, "the command failed with %s from %s on: %s; again in %v", many, batch[0].position, err, pause)
		if pause, err = e.sleep(ctx, pause); err != nil {
			return err
		}
	}
	say(e.stderr, "the command failed with %s from %s on, which are halved", many, batch[0].position)
	for _, half := range [][]delivery{batch[:len(batch)/2], batch[len(batch)/2:]} {
		again := 1 // one attempt suffices: something is known to be wrong with these
		if len(half) == 1 {
			again = e.attempts
		}
		if err := e.deliver(ctx, half, again); err != nil {
			return err
		}
	}
	return nil
}

// giveUp notes a record on which the command failed. After too many of them in a row, the
// command itself must be wrong, and giveUp returns an error.
func (e *executor) giveUp(d delivery, err error) error {
	text := fmt.Sprintf("%s: %v", e.command, err)
	e.failedRow++
	if e.maxRejected >= 0 && e.failedRow > e.maxRejected {
		return hintError{
			fmt.Errorf("the command fails with one record after the other, the last at %s: %s", d.position, text),
			"mend the command and run this again; if it is the records that are bad, --max-rejected -1 keeps them all in " + store.Rejected,
		}
	}
	e.failed = append(e.failed, failure{d, text})
	return nil
}

// sleep waits before another attempt, unless enough is closed, and returns the length of
// the next pause.
func (e *executor) sleep(ctx context.Context, pause time.Duration) (time.Duration, error) {
	select {
	case <-time.After(pause):
		return min(2*pause, maxExecPause), nil
	case <-e.enough:
		return 0, errEnough
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// patiently calls do, which waits for the server. After enough is closed it waits only
// for a moment, since the server may be away.
func (e *executor) patiently(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-e.enough:
	}
	late := time.AfterFunc(patience, func() { cancel(errEnough) })
	defer late.Stop()
	return <-done
}

// reject stores a record in the topic _rejected, once for each text, however often it is
// delivered. Record and text name the producer, so that a different text, of another
// command or at another time, is no conflict.
func (e *executor) reject(ctx context.Context, f failure) error {
	r := rejection.Of(f.record) // without a time, so that each delivery is the same
	r.Code, r.Text, r.Dialect, r.Format = fault.Handler, f.text, "exec", f.format
	r.Topic, r.Position, r.Principal, r.Producer, r.Number = f.topic, f.position, f.principal, f.producer, f.number
	record, err := r.Append(nil)
	if err != nil {
		return err
	}
	tell(e.stderr, fmt.Errorf("%s is rejected: %s", f.position, f.text))
	sum := sha256.Sum256(record)
	name := fmt.Sprintf("exec.%s.%x", f.position, sum[:8])
	for pause := minExecPause; ; {
		c, err := e.identity.as(dictwire.Dialer{
			Codec: rejection.Codec, Logger: slog.New(slog.DiscardHandler),
			Spool: &client.OneRecord{Name: name, Topic: store.Rejected, Codec: rejection.Codec, Record: record},
		}).Dial(ctx, e.addr)
		if err == nil {
			err = errors.Join(e.patiently(ctx, func(ctx context.Context) error { return c.Flush(ctx) }), c.Close())
		}
		if refused := (*dictwire.RejectedError)(nil); errors.As(err, &refused) { // it was stored as rejected
			say(e.stderr, "%v", refused)
			return nil
		}
		if err == nil || errors.Is(err, errEnough) || ctx.Err() != nil {
			return err
		}
		say(e.stderr, "it can't be kept in %s: %s; again in %v", store.Rejected, err, pause)
		if pause, err = e.sleep(ctx, pause); err != nil {
			return err
		}
	}
}
