package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
)

// connectFlags are the flags of all commands that connect to a server.
type connectFlags struct {
	identityFlags

	addr string
	wait waitTime
}

func (f *connectFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.addr, "addr", address.Default, "`address` of the server, where ADDR is not given")
	flags.Var(&f.wait, "wait", "how long to try again while no server answers")
	f.addIdentity(flags)
}

// arguments reads the identity of the caller, and takes the address from the arguments if
// the first one is an address.
func (f *connectFlags) arguments(cmd *cobra.Command, args []string) ([]string, error) {
	if err := f.readIdentity(cmd); err != nil {
		return nil, err
	}
	if len(args) > 0 && isAddr.MatchString(args[0]) {
		f.addr = args[0]
		return args[1:], nil
	}
	return args, nil
}

// dial calls do, and retries for f.wait while nothing listens.
func (f *connectFlags) dial(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(time.Duration(f.wait))
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := do()
		nobody := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
		if nobody && f.wait == 0 {
			err = hintError{err, "is the server running? dictwire serve starts one; --wait 5s waits for it"}
		}
		if err == nil || !nobody || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(min(pause, max(time.Until(deadline), 0))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A presence ends a command when its server has been away for longer than --wait. A
// server that accepts connections but never answers counts as away. A command that
// follows stays after the first answer, and says when the server goes away and comes
// back.
type presence struct {
	wait    time.Duration
	until   time.Time // when waiting for the first answer ends
	follows bool
	stays   bool // unsent records are kept, so the command may end without an answer
	stderr  io.Writer
	ctx     context.Context //nolint:containedctx // of the command
	end     context.CancelCauseFunc

	mu   sync.Mutex
	had  bool        // there was an answer
	away error       // why there is no session, or nil
	late *time.Timer // ends the command; nil: nothing does
}

// present returns a presence for the sessions of a command, and the context that it ends.
func (f *connectFlags) present(ctx context.Context, follows bool, stderr io.Writer) *presence {
	p := &presence{wait: time.Duration(f.wait), until: time.Now().Add(time.Duration(f.wait)), follows: follows, stderr: stderr}
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// await starts waiting for the first answer of a server that listens.
func (p *presence) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait > 0 && !p.had {
		p.late = time.AfterFunc(time.Until(p.until), func() { p.gone(errors.New("nothing came")) })
	}
}

func (p *presence) gone(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away != nil {
		err = p.away
	}
	text := "the server does not answer: "
	if p.had {
		text = "the server is gone: "
	}
	err = errors.New(text + trimName(err.Error()))
	if p.wait == 0 {
		err = hintError{err, "--wait 5s waits so long for it"}
	}
	p.end(err)
}

// changed notes that a session has begun, or why there is none: see
// [dictwire.Dialer.OnState].
func (p *presence) changed(state dictwire.State) {
	err := state.Err
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.away
	p.away = err
	var remote *fault.Error
	switch {
	case err == nil:
		if p.late != nil {
			p.late.Stop()
			p.late = nil
		}
		if p.had && p.follows && was != nil {
			say(p.stderr, "the server is back")
		}
		p.had = true
	case p.stays && !p.had:
	case p.follows && (p.had || errors.As(err, &remote)): // the server is there, and may accept it later
		p.had = true
		say(p.stderr, "%s; trying again", err)
	case p.late == nil:
		p.late = time.AfterFunc(p.wait, func() { p.gone(err) })
	}
}

// close ends the watch.
func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late != nil {
		p.late.Stop()
	}
	p.end(context.Canceled)
}

// cause returns why a command has ended: the cause of its context, or else err.
func (p *presence) cause(err error) error {
	if ended := context.Cause(p.ctx); err != nil && ended != nil && !errors.Is(ended, context.Canceled) {
		return ended
	}
	return err
}

// reader returns a client that accepts all stored formats.
func (f *connectFlags) reader(ctx context.Context, cmd *cobra.Command, p *presence) (c *dictwire.Client, err error) {
	err = f.dial(ctx, func() error {
		c, err = f.as(dictwire.Dialer{
			Codec: json.Codec{DuplicateKeys: json.KeepLast}, Limits: unlimited,
			OnState: p.changed, Logger: slog.New(lineHandler{cmd.ErrOrStderr()}),
		}).Dial(ctx, f.addr)
		return err
	})
	p.await()
	return c, err
}
