package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/dict"
)

// A serve is the command serve with its flags.
type serve struct {
	formatFlags

	listen        string
	once          bool
	print         choice
	reply         bool
	quiet         bool
	insecure      bool
	maxConns      int
	maxMemory     byteSize
	idleTimeout   time.Duration
	recordTimeout time.Duration
	writeTimeout  time.Duration

	stderr  io.Writer
	srv     *dictwire.Server
	printer *printer // nil: nothing is printed
}

func serveCommand() *cobra.Command {
	s := &serve{maxMemory: 256 << 20}
	s.print = choice{"python", append(slices.Sorted(maps.Keys(s.codecs())), "none")}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive dictionaries and print them",
		Long: "serve receives dictionaries and prints each on standard output. Everything else goes\n" +
			"to standard error. The first SIGINT or SIGTERM ends it when all that has come is\n" +
			"printed, the second at once.",
		Example: "  dictwire serve\n" +
			"  dictwire serve --once --print json | jq .name\n" +
			"  dictwire serve --listen unix:/run/dictwire.sock\n" +
			"  dictwire serve --reply",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.listen, "listen", dictwire.DefaultAddr, "`address`: host:port, unix:PATH or fd:N")
	flags.BoolVar(&s.once, "once", false, "serve one connection that sends something, then end")
	flags.Var(&s.print, "print", "what is printed: none or one of "+names(s.codecs()))
	flags.BoolVar(&s.reply, "reply", false, "answer each dictionary with {\"received\": n}, counted from 1: an example of a handler")
	flags.BoolVar(&s.quiet, "quiet", false, "leave out the address and the summary")
	flags.BoolVar(&s.insecure, "insecure", false, "listen on an address that other machines reach, without TLS and authentication")
	flags.IntVar(&s.maxConns, "max-conns", 10_000, "most connections at once, -1 for no limit")
	flags.Var(&s.maxMemory, "max-memory", "most `bytes` of memory for records that are being received and decoded")
	flags.DurationVar(&s.idleTimeout, "idle-timeout", time.Hour, "how long a connection may be silent between records, -1s for no limit")
	flags.DurationVar(&s.recordTimeout, "record-timeout", time.Minute, "how long one record may take, -1s for no limit")
	flags.DurationVar(&s.writeTimeout, "write-timeout", 10*time.Second, "how long a peer may leave its replies unread, -1s for no limit")
	s.addReading(flags)
	s.addLossy(flags)
	s.addPython(flags)
	return cmd
}

func (s *serve) run(cmd *cobra.Command) error {
	s.stderr = cmd.ErrOrStderr()
	if s.maxMemory <= 0 {
		return usagef("--max-memory wants a positive number of bytes")
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // a reader of stdout that goes away is an error like others
	defer signal.Reset(syscall.SIGPIPE)

	l, err := s.open(cmd.Context())
	if err != nil {
		return err
	}
	defer l.Close()
	limitHeap(int64(s.maxMemory))
	if s.print.value != "none" {
		s.printer = newPrinter(cmd.OutOrStdout(), s.printed())
	}
	s.srv = &dictwire.Server{
		Handler: s.handler(),
		JSON:    s.json(), Limits: s.limits(),
		MaxConns: s.maxConns, MaxMemory: int64(s.maxMemory),
		IdleTimeout: s.idleTimeout, RecordTimeout: s.recordTimeout, WriteTimeout: s.writeTimeout,
		Logger: slog.New(slog.NewTextHandler(s.stderr, nil)),
	}
	s.say("listening on %s", where(l))
	serve := s.srv.Serve
	if s.once {
		serve = s.srv.ServeOne
	}
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	return s.wait(cmd.Context(), served, signals)
}

// wait waits for the server's end, and for what ends it.
func (s *serve) wait(ctx context.Context, served <-chan error, signals <-chan os.Signal) error {
	var failed <-chan struct{}
	if s.printer != nil {
		failed = s.printer.failed
	}
	var err error
	select {
	case err = <-served:
	case <-signals:
		s.say("shutting down")
		drained := make(chan error, 1)
		go func() { drained <- s.srv.Shutdown(ctx) }()
		select {
		case err = <-drained:
		case <-failed:
		case <-signals:
			return exitError(exitInterrupted)
		}
	case <-failed:
	case <-ctx.Done():
	}
	_ = s.srv.Close()
	if errors.Is(err, dictwire.ErrServerClosed) {
		err = nil
	}
	if s.printer != nil {
		done := make(chan error, 1)
		go func() { done <- s.printer.close() }()
		select {
		case printed := <-done:
			err = errors.Join(err, printed)
		case <-signals: // standard output blocks
			return exitError(exitInterrupted)
		}
	}
	stats := s.srv.Stats()
	s.say("%s from %s, %d refused", count(stats.Records, "dictionary", "dictionaries"),
		count(stats.Connections, "connection", "connections"), stats.Rejected)
	return err
}

// open listens, and refuses addresses that other machines reach.
func (s *serve) open(ctx context.Context) (net.Listener, error) {
	l, err := dictwire.Listen(ctx, s.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, hintError{err, "another server runs there; --listen 127.0.0.1:0 takes any free port"}
	}
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !s.insecure {
		_ = l.Close()
		return nil, hintError{
			fmt.Errorf("refusing to listen on %s without TLS and authentication", tcp),
			"listen on 127.0.0.1, or say --insecure",
		}
	}
	return l, nil
}

func where(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// printed is what is printed for each dictionary.
func (s *serve) printed() appender {
	format := s.appenders()[s.print.value]
	if s.print.value != "python" {
		return format
	}
	return func(dst []byte, d *dict.Dict) ([]byte, error) {
		return format(append(dst, "Received Dictionary from Client:\n"...), d)
	}
}

// handler prints and replies. It is nil where neither is wanted.
func (s *serve) handler() dictwire.Handler {
	if s.printer == nil && !s.reply {
		return nil
	}
	var received atomic.Int64
	return dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if s.printer != nil {
			err := s.printer.print(r.Dict())
			var loss *codec.LossError
			if errors.As(err, &loss) {
				return nil, &dialect.Error{Code: dialect.Loss, Text: loss.Error(), Hint: loss.Hint, At: -1, Err: err}
			}
			if err != nil {
				return nil, &dialect.Error{Code: dialect.Unavailable, Text: "the server can't print", At: -1, Err: err}
			}
		}
		if !s.reply {
			return nil, nil
		}
		return dict.Of("received", received.Add(1)), nil
	})
}

// say writes a line about the server itself.
func (s *serve) say(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(s.stderr, "dictwire: "+format+"\n", args...)
	}
}

// count writes a number and what is counted.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// limitHeap makes the garbage collector keep the heap near what may be in use,
// unless GOMEMLIMIT says otherwise.
func limitHeap(maxMemory int64) {
	const rest = 12 << 20 // of a server without records
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(maxMemory + maxMemory/4 + rest)
	}
}
