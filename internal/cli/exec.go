package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

const (
	execRecords = 1000    // most records that a command is given at once, if one batch is not more
	execBytes   = 1 << 20 // and bytes

	minExecPause = 100 * time.Millisecond
	maxExecPause = 30 * time.Second

	// exitTemporary is what a command exits with that shall be run again until
	// it succeeds: EX_TEMPFAIL of sysexits.h.
	exitTemporary = 75
)

// A delivery is a record as it is given to a command.
type delivery struct {
	record   []byte // as it is stored
	format   string
	topic    string
	producer string
	number   uint64
	position string
	line     []byte
	err      error // why there is no line
}

// A parcel is the records of a batch, which are given to a command with those
// of others.
type parcel struct {
	batch      *dictwire.Batch
	deliveries []delivery
	bytes      int
	done       chan struct{} // closed when it is committed; nil: nobody wants to know
}

// An executor gives the records of a subscription to a command, and moves the
// cursor when that has taken them.
type executor struct {
	command        string
	attempts       int
	stdout, stderr io.Writer
	addr           string

	parcels chan *parcel
	enough  chan struct{} // closed when no other command is to be run
	ended   chan struct{}
	err     error // why it ended; valid when ended is closed
}

// start begins to run the command.
func (e *executor) start(ctx context.Context) {
	e.parcels = make(chan *parcel, 16)
	e.enough = make(chan struct{})
	e.ended = make(chan struct{})
	go func() {
		defer close(e.ended)
		e.err = e.run(ctx)
	}()
}

// stop ends it when the command that runs has ended. What it returns is closed
// then.
func (e *executor) stop() <-chan struct{} {
	close(e.enough)
	return e.ended
}

// put gives it a parcel, and waits until that is committed where wait says so.
func (e *executor) put(ctx context.Context, p *parcel, wait bool) error {
	if wait {
		p.done = make(chan struct{})
	}
	select {
	case e.parcels <- p:
	case <-e.ended:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !wait {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-e.ended:
		return e.err
	}
}

var errEnough = errors.New("no more is to be done")

func (e *executor) run(ctx context.Context) error {
	for {
		var p *parcel
		select {
		case <-e.enough:
			return nil
		default:
		}
		select {
		case p = <-e.parcels:
		case <-e.enough:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		batch := p.deliveries
		size := p.bytes
		for more := true; more && len(batch) < execRecords && size < execBytes && p.done == nil; {
			select {
			case next := <-e.parcels:
				p = next
				batch = append(batch, p.deliveries...)
				size += p.bytes
			default:
				more = false
			}
		}
		err := e.rejectUnwritten(ctx, batch)
		if err == nil {
			batch = slices.DeleteFunc(batch, func(d delivery) bool { return d.err != nil })
			err = e.deliver(ctx, batch, e.attempts)
		}
		if err == nil {
			err = e.patiently(ctx, p.batch.Commit)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.done != nil {
			close(p.done)
		}
	}
}

// rejectUnwritten rejects the records that can't be given to the command.
func (e *executor) rejectUnwritten(ctx context.Context, batch []delivery) error {
	for _, d := range batch {
		if d.err == nil {
			continue
		}
		if err := e.reject(ctx, d, dialect.Loss, d.err.Error()); err != nil {
			return err
		}
	}
	return nil
}

// deliver gives records to the command until that has taken them. Where it does
// not after so many attempts, it gets their halves; one that stands alone then
// is rejected.
func (e *executor) deliver(ctx context.Context, batch []delivery, attempts int) error {
	if len(batch) == 0 {
		return nil
	}
	pause := minExecPause
	for failures := 0; ; {
		err := e.once(ctx, batch)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitTemporary {
			failures++
		}
		if failures >= attempts {
			if len(batch) == 1 {
				return e.reject(ctx, batch[0], dialect.Handler, fmt.Sprintf("%s: %v", e.command, err))
			}
			break
		}
		e.say("the command failed with %s from %s on: %v; again in %v", count(int64(len(batch)), "record", "records"), batch[0].position, err, pause)
		if err := e.sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxExecPause)
	}
	e.say("the command failed with %s from %s on, which are halved", count(int64(len(batch)), "record", "records"), batch[0].position)
	for _, half := range [][]delivery{batch[:len(batch)/2], batch[len(batch)/2:]} {
		again := 1 // it is known by now that something is wrong with these
		if len(half) == 1 {
			again = e.attempts
		}
		if err := e.deliver(ctx, half, again); err != nil {
			return err
		}
	}
	return nil
}

func (e *executor) say(format string, args ...any) {
	fmt.Fprintf(e.stderr, "dictwire: "+format+"\n", args...)
}

// sleep waits, unless there is enough.
func (e *executor) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-e.enough:
		return errEnough
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patiently calls what waits for the server. Once there is enough, it waits a
// moment at most, since the server may be away.
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

// once runs the command.
func (e *executor) once(ctx context.Context, batch []delivery) error {
	var in []byte
	for _, d := range batch {
		in = append(in, d.line...)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", e.command) //nolint:gosec // it is the user's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), e.stdout, e.stderr
	cmd.Env = append(os.Environ(), "DICTWIRE_RECORDS="+strconv.Itoa(len(batch)), "DICTWIRE_FIRST="+batch[0].position)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's SIGINT is not for it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

// reject keeps a record in the topic _rejected, once for each text, however often
// it is delivered: its producer is named by both, so that another text, of another
// command or at another time, is no conflict.
func (e *executor) reject(ctx context.Context, d delivery, code codec.Code, text string) error {
	r := rejection.Of(d.record) // without a time: it is the same at each delivery
	r.Code, r.Text, r.Dialect, r.Format = code, text, "exec", d.format
	r.Topic, r.Position, r.Producer, r.Number = d.topic, d.position, d.producer, d.number
	record, err := r.Append(nil)
	if err != nil {
		return err
	}
	tell(e.stderr, fmt.Errorf("%s is rejected: %s", d.position, text))
	sum := sha256.Sum256(record)
	name := fmt.Sprintf("exec.%s.%x", d.position, sum[:8])
	for pause := minExecPause; ; pause = min(2*pause, maxExecPause) {
		client, err := dictwire.Dialer{
			Codec: rejection.Codec, Logger: slog.New(slog.DiscardHandler),
			Spool: &oneRecord{producer: name, topic: store.Rejected, codec: rejection.Codec, record: record},
		}.Dial(ctx, e.addr)
		if err == nil {
			err = errors.Join(e.patiently(ctx, client.Flush), client.Close())
		}
		if refused := (*dictwire.RejectedError)(nil); errors.As(err, &refused) { // it is kept all the same
			e.say("%v", refused)
			return nil
		}
		if err == nil || errors.Is(err, errEnough) || ctx.Err() != nil {
			return err
		}
		e.say("it can't be kept in %s: %v; again in %v", store.Rejected, err, pause)
		if err := e.sleep(ctx, pause); err != nil {
			return err
		}
	}
}
