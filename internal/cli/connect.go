package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
)

// connectFlags are what the commands that talk to a server share.
type connectFlags struct {
	addr string
	wait waitTime
}

func (f *connectFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.addr, "addr", dictwire.DefaultAddr, "`address` of the server, where ADDR is not given")
	flags.Var(&f.wait, "wait", "how long to try again while nothing listens")
}

// argument takes the address from the front of the arguments, where there is
// one.
func (f *connectFlags) argument(args []string) []string {
	if len(args) > 0 && isAddr.MatchString(args[0]) {
		f.addr = args[0]
		return args[1:]
	}
	return args
}

// dial calls do, and again for f.wait while nothing listens.
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

// reader returns a client that reads whatever is stored.
func (f *connectFlags) reader(ctx context.Context, cmd *cobra.Command) (c *dictwire.Client, err error) {
	err = f.dial(ctx, func() error {
		c, err = dictwire.Dialer{
			Codec: json.Codec{DuplicateKeys: json.KeepLast}, Limits: unlimited,
			Logger: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
		}.Dial(ctx, f.addr)
		return err
	})
	return c, err
}
