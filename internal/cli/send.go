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

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// A send is the command send with its flags.
type send struct {
	formatFlags

	connectFlags

	file   string
	from   choice // format of file
	format choice // what is sent
	reply  bool
	bare   bool

	topic      string
	producer   string
	spool      string
	acceptLost bool

	stdout, stderr io.Writer

	mu     sync.Mutex
	failed bool             // a record was bad, or refused; guarded by mu
	client *dictwire.Client // whose records are to be settled; guarded by mu
}

func sendCommand() *cobra.Command {
	s := new(send)
	cmd := &cobra.Command{
		Use:   "send [ADDR] [DICT…]",
		Short: "Send dictionaries to a server",
		Long: "send sends each DICT, which is a JSON text; or pairs that make one dictionary together,\n" +
			"key=text and key:=json; or else a file's or standard input's sequence of JSON\n" +
			"dictionaries. The first argument is the address if it has the form host:port or\n" +
			"unix:PATH.\n\n" +
			"It ends when all are settled: durable in the topic, or, if the server rejects one, among\n" +
			"the rejected ones; then, or if one is bad, the exit code is 1. A connection that breaks\n" +
			"is made again, and each is stored once. Standard input may go on for ever.\n\n" +
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
	s.from = choice{"json", slices.Sorted(maps.Keys(s.codecs()))}
	flags.Var(&s.format, "format", "what is sent: "+strings.Join(s.format.of, ", "))
	flags.Var(&s.from, "from", "format of the file: "+strings.Join(s.from.of, ", "))
	flags.StringVar(&s.topic, "topic", dictwire.DefaultTopic, "`topic` to send to")
	flags.StringVar(&s.producer, "producer", "", "send a file under this `name`: run again, it goes on where it stopped")
	flags.StringVar(&s.spool, "spool", "", "keep what is not settled in this `directory`, and send what is there from before")
	flags.BoolVar(&s.acceptLost, "accept-lost", false, "go on where the server has less than it acknowledged, as after a backup was restored, or where the spool is damaged")
	flags.BoolVar(&s.bare, "bare", false, "use a plain socket, over which nothing is acknowledged")
	flags.BoolVar(&s.reply, "reply", false, "print what the server answers, as JSON")
	s.addReading(flags)
	s.addLossy(flags)
	return cmd
}

// isAddr matches the arguments that are addresses: host:port, :port, unix:PATH.
var isAddr = regexp.MustCompile(`^(unix:.+|[^={}"'\s]*:\d+)$`)

func (s *send) run(cmd *cobra.Command, args []string) error {
	s.stdout, s.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	args = s.argument(args)
	if len(args) == 1 && args[0] == "-" && s.file == "" {
		args, s.file = nil, "-"
	}
	if len(args) > 0 && s.file != "" {
		return usagef("--file and dictionaries on the command line exclude each other")
	}
	records, err := s.parse(args)
	if err != nil {
		return err
	}
	if len(args) == 0 && s.file == "" {
		if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("nothing to send: name a dictionary, or a file by --file")
		}
		s.file = "-"
	}
	next := func(context.Context) (*dict.Dict, error) { // of the command line
		if len(records) == 0 {
			return nil, io.EOF
		}
		d := records[0]
		records = records[1:]
		return d, nil
	}
	send, err := s.way()
	if err != nil {
		return err
	}
	progress := new(progress)
	if s.file != "" && s.producer == "" {
		in, name, err := input(cmd, []string{s.file})
		if err != nil {
			return err
		}
		defer in.Close()
		progress = newProgress(s.stderr, in)
		next = newSequence(name, progress.reading(in), s.codecs()[s.from.value], s.limits()).dict
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	sent := make(chan error, 1)
	go func() {
		err := instead(send(ctx, next, progress), "--format cbor")
		progress.end()
		sent <- err
	}()
	select {
	case err = <-sent:
	case <-ctx.Done(): // what reads a pipe or terminal can't be woken, so it is not waited for
		s.settle()
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil && cmd.Context().Err() == nil:
		return exitError(exitInterrupted)
	case err == nil && s.failed:
		return exitError(exitFailure)
	}
	return err
}

// A source yields dictionaries, io.EOF at the end, or a *recordError.
type source func(context.Context) (*dict.Dict, error)

// way returns how the flags have dictionaries sent.
func (s *send) way() (func(context.Context, source, *progress) error, error) {
	if err := checkTopic(s.topic); err != nil {
		return nil, err
	}
	switch {
	case s.bare && (s.producer != "" || s.spool != "" || s.topic != dictwire.DefaultTopic || s.acceptLost):
		return nil, usagef("--bare has no --topic, --producer, --spool and --accept-lost: a plain socket can't say them")
	case s.producer != "" && s.spool != "":
		return nil, usagef("--producer and --spool exclude each other: a spool has its own producer")
	case s.producer != "" && (s.file == "" || s.file == "-"):
		return nil, usagef("--producer wants a --file, whose records have the numbers")
	case s.producer != "":
		if err := (store.Producer{Topic: s.topic, Name: s.producer}).Check(); err != nil {
			return nil, usageError{err}
		}
		return s.numbered, nil
	case s.spool != "":
		return s.spooled, nil
	case s.bare:
		return s.overBare, nil
	default:
		return s.native, nil
	}
}

// parse reads the dictionaries of the command line.
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

// parsePair reads the value of key:=json.
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
	return key, dict.Value{}, usagef("want one JSON value behind %s:=, got %q", key, text)
}

// overBare sends what next yields as a bare sequence, and shows what is
// answered.
func (s *send) overBare(ctx context.Context, next source, p *progress) error {
	var c *dictwire.BareConn
	err := s.dial(ctx, func() (err error) {
		c, err = dictwire.Dialer{Codec: s.wire()[s.format.value]}.DialBare(ctx, s.addr)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	answered := make(chan error, 1)
	refused := false // read after answered
	go func() {
		var err error
		refused, err = s.receive(ctx, c)
		answered <- err
	}()
	sent := s.each(ctx, next, p, func(d *dict.Dict) error { return c.Send(ctx, d) })
	if err := c.CloseWrite(); sent == nil { // in any case: the server answers what it has
		sent = err
	}
	if ctx.Err() != nil {
		_ = c.Close()
	}
	err = <-answered
	if refused {
		return nil // what the server said is why writing failed, if it did
	}
	if sent != nil {
		return sent
	}
	return err
}

// receive shows what the server answers until it closes the connection. It
// reports whether that was a refusal.
func (s *send) receive(ctx context.Context, c *dictwire.BareConn) (refused bool, err error) {
	var line []byte
	for {
		d, err := c.Receive(ctx)
		var remote *dictwire.RemoteError
		switch {
		case err == io.EOF:
			return refused, nil
		case errors.As(err, &remote):
			s.tell(remote)
			refused = true
			continue
		case err != nil:
			return refused, err
		}
		if !s.reply {
			continue
		}
		if line, err = (json.Codec{Lossy: true}).Append(line[:0], d); err != nil {
			return refused, err
		}
		if _, err := s.stdout.Write(append(line, '\n')); err != nil {
			return refused, err
		}
	}
}
