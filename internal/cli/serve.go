package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	jq "github.com/dictwire/dictwire/internal/filter"
	"github.com/dictwire/dictwire/internal/option"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/metrics"
	"github.com/dictwire/dictwire/schema"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A serve is the command serve with its flags.
type serve struct {
	formatFlags

	once          bool
	store         storeFlag
	nats          natsFlags
	origins       listFlag // that may use HTTP through a browser
	topic         string
	durability    choice
	reserve       byteLimit
	keep          keepFlags
	kept          atomic.Pointer[keepFlags] // keep, as last reloaded
	log           choice
	schemas       perTopic[string]
	checked       schema.Set // schemas, as last loaded
	print         choice
	reply         bool
	handlerCmd    string
	handlers      limit
	quiet         bool
	door          door    // set by flags
	doors         []*door // all endpoints
	forward       forwardFlags
	config        configFlag
	backups       string
	metrics       metricsFlag
	maxConns      limit
	maxHostConns  limit
	maxFilters    places
	recordRate    limit
	byteRate      byteLimit
	firstTimeout  timeLimit
	openTimeout   timeLimit
	maxTopics     limit
	maxProducers  limit
	maxCursors    limit
	maxStored     byteLimit
	maxMemory     byteSize
	idleTimeout   timeLimit
	recordTimeout timeLimit
	writeTimeout  timeLimit
	grace         timeLimit

	current  *cobra.Command // the command with the settings in force
	inMemory bool           // the store is in memory; its retention can't be reloaded
	disk     *log.Store     // the store if it is on disk, otherwise nil

	// more returns further errors in the settings. Nil means none.
	more func() error

	// fresh returns a new command of the same kind.
	fresh func() *cobra.Command

	// beside runs in addition to the server, on the same store. If it ends, so does the
	// server. Nil means nothing.
	beside func(context.Context, store.Store, *slog.Logger) error

	// prepare checks the store before it accepts anything. Nil means no check.
	prepare func(context.Context, store.Store) error

	stderr   io.Writer
	greeting *greeting // nil: not for a person
	system   supervisor
	srv      *dictwire.Server
	printer  *printer // nil: nothing is printed
}

func serveCommand() *cobra.Command {
	s := &serve{fresh: serveCommand}
	s.print = choice{"python", append(slices.Sorted(maps.Keys(s.codecs())), "none")}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive dictionaries, store and print them",
		Long: "serve receives dictionaries, stores them, and prints what it stores on standard output.\n" +
			"Everything else goes to standard error. Nothing is acknowledged, replied to or printed\n" +
			"before it is stored, and an output that is slow holds up nobody: it lags. The first\n" +
			"SIGINT or SIGTERM ends it when all that has come is stored and printed, the second at\n" +
			"once.\n\n" +
			"The store is a directory that one server has open at a time. With --store memory, and\n" +
			"with --once where no --store is given, nothing outlives the server, and an output that is\n" +
			"slow slows the senders down.",
		Example: "  dictwire serve\n" +
			"  dictwire serve --once --print json | jq .name\n" +
			"  dictwire serve --listen unix:/run/dictwire.sock\n" +
			"  dictwire serve --store /var/lib/dictwire --keep-age 30d --keep-bytes orders.*=50GiB\n" +
			"  dictwire serve --reply\n" +
			"  dictwire serve --handler 'python3 -u check.py' --handlers 2",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&s.once, "once", false, "serve one connection that sends or reads something, then end")
	flags.StringVar(&s.store.dir, "store", "", "`directory` of the store, memory, or nats://HOST:PORT,… of a cluster (default dictwire in $XDG_STATE_HOME or ~/.local/state)")
	s.nats.add(flags)
	s.keep.add(flags)
	flags.Var(&s.print, "print", "what is printed: none or one of "+names(s.codecs()))
	flags.BoolVar(&s.reply, "reply", false, "answer each dictionary with {\"received\": n}, counted from 1: an example of a handler")
	flags.StringVar(&s.handlerCmd, "handler", "", "`command` that judges each record: it reads lines of JSON and answers each with a line (see docs/guide/handler.md)")
	s.addServing(flags)
	flags.Var(&s.handlers, "handlers", "how many processes of --handler run")
	s.addLossy(flags)
	s.addPython(flags)
	return cmd
}

// addServing adds the flags of all commands that serve.
func (s *serve) addServing(flags *pflag.FlagSet) {
	s.handlers = 1
	s.config.of, s.doors = s, []*door{&s.door}
	flags.Var(&s.config, "config", configUsage)
	s.door.add(flags)
	s.log = choice{"text", []string{"text", "json"}}
	flags.Var(&s.log, "log", "how what is logged is written to standard error: as text, or as JSON, an object on each line")
	flags.StringVar(&s.topic, "topic", client.DefaultTopic, "`topic` of what comes over connections that name none")
	s.durability = choice{string(store.Fsync), []string{string(store.Fsync), string(store.OS)}}
	flags.Var(&s.durability, "durability", "what is waited for before a record is acknowledged: fsync, which survives the loss of power, or os, which survives the end of the server alone")
	flags.Var(&s.reserve, "reserve", "`bytes` of the disk that stay free: below, nothing is stored; -1 for none (default 1 GiB, or 2 % of the disk if that is more, but at most a tenth of it)")
	flags.BoolVar(&s.quiet, "quiet", false, quietUsage)
	s.origins = listFlag{kind: "origins", check: checkOrigin}
	flags.Var(&s.origins, "allow-origin", "origins whose pages may read and write through a browser, as https://app.example; may be repeated")
	s.forward.add(flags)
	s.metrics.add(flags)
	flags.StringVar(&s.backups, "backups", "", "`directory` in which those who may administer all topics have copies of the store made, over HTTP")
	s.addSchemas(flags)
	s.maxConns, s.maxHostConns, s.maxMemory = option.Conns, option.HostConns, option.Memory
	flags.Var(&s.maxConns, "max-conns", "most connections at once, -1 for no limit")
	flags.Var(&s.maxHostConns, "max-host-conns", "most of them from one host, -1 for no limit")
	s.maxFilters = 8
	flags.Var(&s.maxFilters, "max-filters", "most readers over HTTP with a filter, each of which is a process; of one principal, or host of who is anonymous, half of them; 0 for none")
	s.recordRate, s.byteRate = option.RecordRate, byteLimit{option.ByteRate}
	flags.Var(&s.recordRate, "max-record-rate", "most records of one principal, or host of who is anonymous, in a second; what is more is read more slowly; -1 for no limit")
	flags.Var(&s.byteRate, "max-byte-rate", "likewise, `bytes` of records")
	flags.Var(&s.maxTopics, "max-topics", "most topics; of one principal half of them; -1 for no limit (default 20000)")
	flags.Var(&s.maxProducers, "max-producers", "most producers that the store remembers, as --max-topics (default 4000000, in memory 200000)")
	flags.Var(&s.maxCursors, "max-cursors", "most cursors, as --max-topics (default 100000, in memory 20000)")
	flags.Var(&s.maxStored, "max-stored", "most `bytes` of the disk that the records of one principal take, -1 for no limit (default half of what the disk has beside the reserve; all of it for who is anonymous)")
	flags.Var(&s.maxMemory, "max-memory", "most `bytes` of memory for records that are being received and decoded")
	s.idleTimeout, s.recordTimeout, s.writeTimeout = timeLimit(option.IdleTime), timeLimit(option.RecordTime), timeLimit(option.WriteTime)
	s.grace = timeLimit(10 * time.Second)
	s.firstTimeout, s.openTimeout = timeLimit(option.FirstTime), timeLimit(option.OpenTime)
	flags.Var(&s.firstTimeout, "first-timeout", "how long a connection may be silent before its first byte, -1s for no limit")
	flags.Var(&s.openTimeout, "open-timeout", "how long the first bytes, a TLS handshake, and a greeting may take each, -1s for no limit")
	flags.Var(&s.idleTimeout, "idle-timeout", "how long a connection may be silent between records, -1s for no limit")
	flags.Var(&s.recordTimeout, "record-timeout", "how long one record may take, -1s for no limit")
	flags.Var(&s.writeTimeout, "write-timeout", "how long a peer may leave its replies unread, -1s for no limit")
	flags.Var(&s.grace, "grace", "how long the first signal leaves connections to finish what they send, -1s for no limit")
	s.addReading(flags)
}

func (s *serve) run(cmd *cobra.Command) error {
	s.stderr = cmd.ErrOrStderr()
	log := newLogger(s.stderr, s.log.value)
	if s.log.value == "json" {
		s.stderr = lineLogger{log}
	}
	err := s.serve(cmd, log)
	if err == nil || s.log.value != "json" || errors.As(err, new(exitError)) {
		return err
	}
	tell(s.stderr, err)
	return exitError(exitCode(err))
}

func (s *serve) serve(cmd *cobra.Command, log *slog.Logger) error {
	if err := s.check(); err != nil {
		return err
	}
	signals, hangups, uncatch := catchSignals(!terminal.Is(cmd.ErrOrStderr()))
	defer uncatch()
	s.kept.Store(&s.keep)
	s.current = cmd
	s.greeting = s.newGreeting(cmd)
	s.system = supervisorOf()
	if err := s.checked.Load(s.schemas.values); err != nil {
		return err
	}
	at, err := s.listen(cmd.Context(), log)
	if err != nil {
		return err
	}
	defer at.close()
	st, err := s.openStore(cmd.Context(), log)
	if err != nil {
		return err
	}
	if err := s.openPrinter(cmd.Context(), outputOf(cmd), st, log); err != nil {
		return errors.Join(err, st.Close())
	}
	s.srv = s.server()
	if at.forward != nil {
		s.srv.Dialects = append(slices.Clip(s.srv.Dialects), at.forward.dialect)
	}
	s.srv.Schema, s.srv.Handler, s.srv.Store, s.srv.Logger = s.checked.Of, s.handler(), st, log
	if s.handlerCmd != "" {
		h := startHandler(cmd.Context(), s.handlerCmd, int(s.handlers), handlerTime, cmd.ErrOrStderr(), log)
		defer h.Close()
		s.srv.Handler = h
	}
	served := s.start(at)
	end := s.runBeside(cmd.Context(), st, log, served)
	if at.metrics != nil {
		s.tell("metrics", "metrics at", "http://%s/metrics", at.metrics.Addr())
	}
	if s.greeting != nil {
		s.greeting.next(&at.endpoints[0])
		s.greeting.write()
	}
	watching, unwatch := context.WithCancel(cmd.Context())
	defer unwatch()
	s.system.watch(watching, func() { s.srv.Stats() })
	s.system.tell("READY=1")
	defer serveMetrics(at.metrics, metrics.Options{Server: s.srv, Store: st, Version: version()})()
	err = s.wait(cmd.Context(), served, signals, hangups)
	var exit exitError
	if errors.As(err, &exit) {
		return err // at once
	}
	return errors.Join(err, end(), st.Close())
}

// listeners are all that a server listens on.
type listeners struct {
	endpoints []dictwire.Endpoint // one for each door
	doors     func()              // closes them
	forward   *forwardDoor        // Fluent Forward with a shared key, or nil
	metrics   net.Listener        // or nil
}

// listen opens all listeners, or none.
func (s *serve) listen(ctx context.Context, log *slog.Logger) (_ *listeners, err error) {
	at := new(listeners)
	defer func() {
		if err != nil {
			at.close()
		}
	}()
	if at.metrics, err = s.metrics.open(ctx); err != nil {
		return nil, err
	}
	if at.endpoints, at.doors, err = s.open(ctx, log); err != nil {
		return nil, err
	}
	if at.forward, err = s.forward.open(ctx, at.endpoints[0]); err != nil {
		return nil, err
	}
	return at, nil
}

func (at *listeners) close() {
	if at.forward != nil {
		at.forward.endpoint.Listener.Close()
	}
	if at.doors != nil {
		at.doors()
	}
	if at.metrics != nil {
		at.metrics.Close()
	}
}

// openPrinter starts the printer on out, unless nothing is to be printed.
func (s *serve) openPrinter(ctx context.Context, out *terminal.Output, st store.Store, log *slog.Logger) (err error) {
	if s.print.value == "none" {
		return nil
	}
	looks := dressed(out, s.print.value, false)
	what := &written{format: s.printed(looks), codecs: s.stored()}
	s.printer, err = newPrinter(ctx, st, out, what, looks, log)
	return err
}

// start serves all listeners and prints their addresses. served receives the result of
// each, and has room for one more.
func (s *serve) start(at *listeners) (served chan error) {
	served = make(chan error, len(at.endpoints)+2)
	for _, e := range at.endpoints {
		s.tell("address", "listening on", "%s", where(e.Listener))
		e.Once = s.once
		go func() { served <- s.srv.Serve(e) }()
	}
	if f := at.forward; f != nil {
		s.tell("forward", "listening on", "%s for Fluent Forward with a shared key", where(f.endpoint.Listener))
		go func() { served <- f.serve(s.srv) }()
	}
	return served
}

// runBeside runs s.beside, whose error ends the server. end ends it.
func (s *serve) runBeside(ctx context.Context, st store.Store, log *slog.Logger, served chan<- error) (end func() error) {
	if s.beside == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		err := s.beside(ctx, st, log)
		if ctx.Err() == nil {
			served <- err
			err = nil
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// A closingStore is a store that this process opened.
type closingStore interface {
	store.Store
	Close() error
}

// checkTopic refuses a topic that can't be written.
func checkTopic(name string) error {
	if err := store.CheckTopic(name); err != nil {
		return usageError{err}
	}
	if strings.HasPrefix(name, "_") {
		return usagef("--topic %s: topics that begin with _ are the server's own", name)
	}
	return nil
}

// open listens at all doors. end closes them.
func (s *serve) open(ctx context.Context, log *slog.Logger) (all []dictwire.Endpoint, end func(), err error) {
	var ends []func()
	end = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, d := range s.doors {
		at, endOne, err := d.open(ctx, log, s.say)
		if err != nil {
			end()
			return nil, nil, err
		}
		all, ends = append(all, at), append(ends, endOne)
	}
	return all, end, nil
}

// server returns a server with the settings, without handler, store and logger.
func (s *serve) server() *dictwire.Server {
	options := &web.Options{AllowOrigins: s.origins.all}
	if s.maxFilters > 0 {
		options.Filters = jq.New(int(s.maxFilters))
	}
	http, _ := web.New(options) // each origin was checked
	return &dictwire.Server{
		Topic: s.topic, Dialects: append([]dictwire.Dialect{http}, dialects[1:]...), JSON: s.json(), Limits: s.limits(),
		MaxConns: int(s.maxConns), MaxHostConns: int(s.maxHostConns), MaxMemory: int64(s.maxMemory),
		MaxRecordRate: int64(s.recordRate), MaxByteRate: int64(s.byteRate.byteSize),
		FirstTimeout: time.Duration(s.firstTimeout), OpenTimeout: time.Duration(s.openTimeout), IdleTimeout: time.Duration(s.idleTimeout),
		RecordTimeout: time.Duration(s.recordTimeout), WriteTimeout: time.Duration(s.writeTimeout),
		BackupDir: s.backups, Version: version(),
	}
}

// check returns all errors in the settings at once.
func (s *serve) check() error {
	var faults []error
	if s.maxMemory <= 0 {
		faults = append(faults, usagef("--max-memory wants a positive number of bytes"))
	}
	if err := checkTopic(s.topic); err != nil {
		faults = append(faults, err)
	}
	if s.handlerCmd != "" && s.reply {
		faults = append(faults, usagef("--handler and --reply exclude each other"))
	}
	if s.handlerCmd != "" && s.handlers < 1 {
		faults = append(faults, usagef("--handlers wants a number from 1 on"))
	}
	for _, d := range s.doors {
		if err := d.check(); err != nil {
			faults = append(faults, err)
		}
	}
	if err := s.checkBroker(); err != nil {
		faults = append(faults, err)
	}
	if s.more != nil {
		faults = append(faults, s.more())
	}
	return errors.Join(faults...)
}

// printed returns the appender for printing. With looks, time and topic replace the line
// before each record.
func (s *serve) printed(looks *dress) appender {
	format := s.appenders()[s.print.value]
	if s.print.value == "json" {
		return rendered
	}
	if s.print.value != "python" || looks != nil {
		return format
	}
	return func(dst []byte, d *dict.Dict) ([]byte, error) {
		return format(append(dst, "Received Dictionary from Client:\n"...), d)
	}
}

// handler returns the handler of --reply, or nil.
func (s *serve) handler() dictwire.Handler {
	if !s.reply {
		return nil
	}
	var received atomic.Int64
	return dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		return dict.Of("received", received.Add(1)), nil
	})
}

// say prints a line about the server.
func (s *serve) say(format string, args ...any) {
	if !s.quiet {
		say(s.stderr, format, args...)
	}
}
