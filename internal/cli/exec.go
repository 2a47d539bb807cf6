package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
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

	maxRejectedBytes = 64 << 10 // of a record that are kept in _rejected
)

// A delivery is a record as it is given to a command.
type delivery struct {
	rejected *dict.Dict // what is kept of it where the command fails with it
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
		if errors.Is(err, errEnough) {
			return nil
		}
		if err == nil {
			err = p.batch.Commit(ctx)
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
		if err := e.reject(ctx, d, "loss", d.err.Error()); err != nil {
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
				return e.reject(ctx, batch[0], "handler", fmt.Sprintf("%s: %v", e.command, err))
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

// reject keeps a record in the topic _rejected, once, however often it is
// delivered.
func (e *executor) reject(ctx context.Context, d delivery, code, text string) error {
	d.rejected.Set("code", dict.String(code))
	d.rejected.Set("error", dict.String(text))
	record, err := cbor.Codec{}.Append(nil, d.rejected)
	if err != nil {
		return err
	}
	tell(e.stderr, fmt.Errorf("%s is rejected: %s", d.position, text))
	for pause := minExecPause; ; pause = min(2*pause, maxExecPause) {
		client, err := dictwire.Dialer{
			Codec: cbor.Codec{}, Logger: slog.New(slog.DiscardHandler),
			Spool: &oneRecord{producer: "exec." + d.position, topic: store.Rejected, codec: cbor.Codec{}, record: record},
		}.Dial(ctx, e.addr)
		if err == nil {
			err = errors.Join(client.Flush(ctx), client.Close())
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		e.say("it can't be kept in %s: %v; again in %v", store.Rejected, err, pause)
		if err := e.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// rejectedDict returns what is kept of a record that a command may fail with,
// but code and error.
func rejectedDict(b *dictwire.Batch, i int) *dict.Dict {
	record := b.Records[i]
	kept := record[:min(len(record), maxRejectedBytes)]
	sum := sha256.Sum256(record)
	d := dict.Of("code", "", "error", "", "topic", b.Topic, "position", b.Position(i))
	if b.Producer != "" {
		d.Set("producer", dict.String(b.Producer))
		d.Set("number", dict.Int(int64(b.First)+int64(i)))
	}
	for _, kv := range []struct {
		key   string
		value dict.Value
	}{
		{"dialect", dict.String("exec")},
		{"format", dict.String(b.Codec.Name())},
		{"size", dict.Int(int64(len(record)))},
		{"sha256", dict.String(hex.EncodeToString(sum[:]))},
		{"bytes", dict.Bytes(bytes.Clone(kept))},
	} {
		d.Set(kv.key, kv.value)
	}
	if len(kept) < len(record) {
		d.Set("truncated", dict.Bool(true))
	}
	return d
}
