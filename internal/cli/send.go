package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/store"
)

// A send is the command send with its flags.
type send struct {
	formatFlags

	connectFlags

	file   string
	input  inputFlags // of file
	format choice     // in which records are sent
	reply  bool
	bare   bool

	topic      string
	producer   string
	spool      string
	acceptLost bool
	timeout    waitTime
	quiet      bool

	stdout, stderr io.Writer
	progress       *progress
	reading        fileReading // of input
	server         *presence
	resume         string       // how to send unsettled records again
	closing        func() error // closes the spool; nil without one

	account

	mu     sync.Mutex
	failed bool             // a record was bad or refused; guarded by mu
	client *dictwire.Client // whose records must be settled; guarded by mu
}

func sendCommand() *cobra.Command {
	s := new(send)
	cmd := &cobra.Command{
		Use:   "send [ADDR] [DICT…]",
		Short: "Send dictionaries to a server",
		Long: "send sends each DICT, which is a JSON text; or pairs that make one dictionary together,\n" +
			"key=text and key:=json; or else a file's or standard input's sequence of JSON\n" +
			"dictionaries, which may be compressed by gzip or zstd; or CSV: see convert. The first argument is the address if it has the form host:port,\n" +
			"tls://host:port or unix:PATH.\n\n" +
			"It ends when all are settled: durable in the topic, or, if the server rejects one, among\n" +
			"the rejected ones; then, or if one is bad, the exit code is 1. A connection that breaks\n" +
			"is made again, and each is stored once. Standard input may go on for ever. The last line\n" +
			"says how many are stored, rejected and not settled, also when SIGINT or --timeout ends it.\n\n" +
			"With --producer the records of a file have their numbers by their order, under the name\n" +
			"that is given: run again after any end, it goes on where it stopped, also in a file that\n" +
			"has grown. With --spool they are on disk before they are sent; what the server does not\n" +
			"take now is sent the next time.",
		Example: "  dictwire send name=Alice age:=30 city=Paris\n" +
			"  dictwire send 127.0.0.1:65432 '{\"name\": \"Alice\"}' '{\"name\": \"Bob\"}'\n" +
			"  dictwire send --reply -f people.ndjson\n" +
			"  tail -F app.log | dictwire send --topic logs -\n" +
			"  dictwire send --topic orders --producer import-7 -f orders.ndjson\n" +
			"  dictwire send --spool ~/spool --topic sensors temperature:=21.5",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	flags := cmd.Flags()
	s.add(flags)
	flags.StringVarP(&s.file, "file", "f", "", "send the dictionaries of a `file`, - for standard input")
	s.format = choice{"json", slices.Sorted(maps.Keys(s.wire()))}
	flags.Var(&s.format, "format", "what is sent: "+strings.Join(s.format.of, ", "))
	s.addInput(flags, &s.input)
	flags.StringVar(&s.topic, "topic", client.DefaultTopic, "`topic` to send to")
	flags.StringVar(&s.producer, "producer", "", "send a file under this `name`: run again, it goes on where it stopped")
	flags.StringVar(&s.spool, "spool", "", "keep what is not settled in this `directory`, and send what is there from before")
	flags.BoolVar(&s.acceptLost, "accept-lost", false, "go on where the server has less than it acknowledged, as after a backup was restored, or where the spool is damaged")
	flags.BoolVar(&s.bare, "bare", false, "use a plain socket, over which nothing is acknowledged")
	flags.BoolVar(&s.reply, "reply", false, "print what the server answers, as JSON")
	flags.Var(&s.timeout, "timeout", "how long it may take until all is settled (default for ever)")
	flags.BoolVar(&s.quiet, "quiet", false, quietUsage)
	s.addReading(flags)
	s.addLossy(flags)
	return cmd
}

// isAddr matches arguments that are addresses: host:port, :port, unix:PATH.
var isAddr = regexp.MustCompile(`^(unix:.+|[^={}"'\s]*:\d+)$`)

func (s *send) run(cmd *cobra.Command, args []string) error {
	s.stdout = cmd.OutOrStdout()
	s.progress = newProgress(cmd.ErrOrStderr(), s.state)
	s.stderr = s.progress
	next, closing, err := s.source(cmd, args)
	if err != nil {
		return err
	}
	defer closing()
	send, err := s.way()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if s.timeout > 0 {
		late := fmt.Errorf("not all is settled within %v", &s.timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(s.timeout), late)
		defer cancel()
	}
	s.server = s.present(ctx, true, s.stderr)
	defer s.server.close()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if s.file != "" {
		go s.progress.run()
	} else {
		close(s.progress.ended)
	}
	err = s.wait(send, next, signals)
	s.progress.end()
	return s.end(err)
}

// wait waits until everything is sent and settled, or until something ends it earlier.
func (s *send) wait(send func(context.Context, source) error, next source, signals <-chan os.Signal) error {
	reading, enough := context.WithCancel(s.server.ctx)
	defer enough()
	sent := make(chan error, 1)
	go func() { sent <- send(reading, next) }()
	select {
	case err := <-sent:
		return s.server.cause(err)
	case <-s.server.ctx.Done():
		return context.Cause(s.server.ctx)
	case <-signals:
	}
	enough()
	settled := make(chan error, 1)
	go func() { // reading a pipe or terminal can't be interrupted, so there is no waiting for it
		ctx, cancel := context.WithTimeout(s.server.ctx, patience)
		defer cancel()
		settled <- s.flush(ctx)
	}()
	_ = ending(settled, signals, s.stderr, "the server to settle what was sent") // the summary has the unsettled records
	return exitError(exitInterrupted)
}

// source returns the source of the dictionaries to send.
func (s *send) source(cmd *cobra.Command, args []string) (next source, closing func(), err error) {
	closing = func() {}
	if err := s.input.check(); err != nil {
		return nil, nil, err
	}
	args, err = s.arguments(cmd, args)
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 1 && args[0] == "-" && s.file == "" {
		args, s.file = nil, "-"
	}
	if len(args) > 0 && s.file != "" {
		return nil, nil, usagef("--file and dictionaries on the command line exclude each other")
	}
	records, err := s.parse(args)
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 && s.file == "" {
		if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, nil, usagef("nothing to send: name a dictionary, or a file by --file")
		}
		s.file = "-"
	}
	if s.file == "" || s.producer != "" {
		return func(context.Context) (*dict.Dict, error) {
			if len(records) == 0 {
				return nil, io.EOF
			}
			d := records[0]
			records = records[1:]
			return d, nil
		}, closing, nil
	}
	in, name, err := input(cmd, []string{s.file})
	if err != nil {
		return nil, nil, err
	}
	return s.readFile(name, s.reading.of(in), &s.input), func() { _ = in.Close() }, nil
}

// A source returns the next dictionary, io.EOF at the end, or a *recordError.
type source func(context.Context) (*dict.Dict, error)

// way returns the function that sends as the flags say. The context of the source ends
// reading.
func (s *send) way() (func(context.Context, source) error, error) {
	if err := checkTopic(s.topic); err != nil {
		return nil, err
	}
	switch {
	case s.bare && s.tokenFile != "":
		return nil, usagef("--token-file is of the native session: it can't be had with --bare")
	case s.bare && (s.producer != "" || s.spool != "" || s.topic != client.DefaultTopic || s.acceptLost):
		return nil, usagef("--bare has no --topic, --producer, --spool and --accept-lost: a plain socket can't say them")
	case s.producer != "" && s.spool != "":
		return nil, usagef("--producer and --spool exclude each other: a spool has its own producer")
	case s.producer != "" && (s.file == "" || s.file == "-"):
		return nil, usagef("--producer wants a --file, whose records have the numbers")
	case s.producer != "":
		if err := (store.Producer{Topic: s.topic, Name: s.producer}).Check(); err != nil {
			return nil, usageError{err}
		}
		s.resume = "the same command goes on where this one ended"
		return s.numbered, nil
	case s.spool != "":
		s.resume = "what is not settled is in the spool: dictwire send --spool " + s.spool + " --topic " + s.topic + " </dev/null sends it"
		return s.spooled, nil
	case s.bare:
		return s.overBare, nil
	default:
		s.resume = "what is not settled may be stored or not; with --producer NAME -f FILE, or with --spool DIR, another run goes on where one ended"
		return s.native, nil
	}
}

// parse parses the dictionaries on the command line.
func (s *send) parse(args []string) ([]*dict.Dict, error) {
	var all []*dict.Dict
	pairs := new(dict.Dict)
	for i, arg := range args {
		text := strings.TrimSpace(arg)
		if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
			d, err := s.json().Decode([]byte(arg), s.limits())
			if err != nil {
				return nil, fmt.Errorf("argument %d: %w", i+1, err)
			}
			all = append(all, d)
			continue
		}
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("argument %d: want a JSON text, key=text or key:=json, or in front of all an address, host:port or unix:PATH; got %q", i+1, arg)
		}
		v := dict.String(value)
		if name, isJSON := strings.CutSuffix(key, ":"); isJSON {
			var err error
			if key, v, err = s.parsePair(name, value); err != nil {
				return nil, fmt.Errorf("argument %d: %w", i+1, err)
			}
		}
		if _, twice := pairs.Get(key); twice {
			return nil, usagef("argument %d: the key %q comes twice", i+1, key)
		}
		pairs.Set(key, v)
	}
	if pairs.Len() > 0 && len(all) > 0 {
		return nil, usagef("JSON texts and key=value pairs exclude each other")
	}
	if pairs.Len() > 0 {
		all = append(all, pairs)
	}
	return all, nil
}

// parsePair parses the value of key:=json.
func (s *send) parsePair(key, text string) (string, dict.Value, error) {
	const before = `{"":`
	d, err := s.json().Decode([]byte(before+text+"}"), s.limits())
	if err == nil && d.Len() == 1 {
		v, _ := d.Get("")
		return key, v, nil
	}
	var bad *codec.SyntaxError
	if errors.As(err, &bad) {
		bad.Offset -= len(before)
		bad.Path = "/" + key + strings.TrimPrefix(bad.Path, "/")
		return key, dict.Value{}, bad
	}
	return key, dict.Value{}, usagef("want one JSON value after %s:=, got %q", key, text)
}
