package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/bench"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/internal/wire"
)

// A benchmark is the command bench with its flags.
type benchmark struct {
	connectFlags
	jsonFlag

	target   choice
	topic    string
	topics   int
	size     byteSize
	file     string
	format   choice
	conns    int
	follow   int
	inFlight int
	duration waitTime
	rate     float64
	bare     bool

	began time.Time
	now   atomic.Pointer[bench.Result] // nil: no result yet
}

func benchCommand() *cobra.Command {
	b := &benchmark{size: 45, duration: waitTime(10 * time.Second)}
	cmd := &cobra.Command{
		Use:   "bench [ADDR]",
		Short: "Measure how many dictionaries a server settles",
		Long: "bench sends as many dictionaries as a server takes, or as many a second as --rate says,\n" +
			"and tells how many were settled, and how long that took for each. What is sent is stored:\n" +
			"in the topic, stream or table bench, unless --topic names another one.\n\n" +
			"The target is a dictwire server, over native sessions, HTTP or Fluent Forward, or one of its\n" +
			"peers: Redis (XADD), NATS, JetStream, or PostgreSQL, which has to trust the address (INSERT,\n" +
			"or COPY). Of http, forward and postgres, what is in flight on a connection is one request,\n" +
			"message or transaction. Each promises what its own settings say: durability is not asked for.\n\n" +
			"Without --rate a connection sends when something of it is settled, and latency counts from\n" +
			"then. With it, latency counts from when each was to be sent, so that a server that falls\n" +
			"behind is seen.",
		Example: "  dictwire bench\n" +
			"  dictwire bench --connections 64 --in-flight 1024 --size 500\n" +
			"  dictwire bench --rate 20000 --connections 16 --duration 1m\n" +
			"  dictwire bench --target http --in-flight 1000\n" +
			"  dictwire bench --target redis 127.0.0.1:6379 --connections 64 --json",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd, args) },
	}
	flags := cmd.Flags()
	b.add(flags)
	b.target.value = bench.Targets[0].Name
	for _, t := range bench.Targets {
		b.target.of = append(b.target.of, t.Name)
	}
	flags.Var(&b.target, "target", "what the server is, or what is spoken with it: "+strings.Join(b.target.of, ", "))
	flags.StringVar(&b.topic, "topic", "bench", "`topic` to send to, or stream, subject, table or tag")
	flags.IntVar(&b.topics, "topics", 0, "spread the connections over so many topics, TOPIC.0 and so on")
	flags.Var(&b.size, "size", "`bytes` of a generated dictionary as JSON")
	flags.StringVarP(&b.file, "file", "f", "", "send the dictionaries of a `file`, - for standard input")
	b.format = choice{"", slices.Sorted(maps.Keys(wire.Codecs()))}
	flags.Var(&b.format, "format", "what is sent: "+strings.Join(b.format.of, ", ")+" (default json, and msgpack for forward)")
	flags.IntVar(&b.conns, "connections", 1, "how many connections there are")
	flags.IntVar(&b.follow, "followers", 0, "let so many sessions read what comes meanwhile")
	flags.IntVar(&b.inFlight, "in-flight", 64, "how many records may be sent on each and not be settled")
	flags.Var(&b.duration, "duration", "how long to send")
	flags.Float64Var(&b.rate, "rate", 0, "send so many records a second, over all connections (default as many as are settled)")
	flags.BoolVar(&b.bare, "bare", false, "use a plain socket, over which nothing is acknowledged")
	b.addJSON(flags)
	return cmd
}

func (b *benchmark) run(cmd *cobra.Command, args []string) error {
	args, err := b.arguments(cmd, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return usagef("want an address, host:port or unix:PATH, got %q", args[0])
	}
	target, _ := bench.TargetOf(b.target.value)
	if target.Addr != "" && !given(cmd, "addr") && len(cmd.Flags().Args()) == 0 { // the settings say where dictwire is
		b.addr = target.Addr
	}
	switch {
	case b.file != "" && given(cmd, "size"):
		return usagef("--file and --size exclude each other")
	case b.format.value == "":
		b.format.value = target.Format()
	}
	if err := checkTopic(b.topic); err != nil {
		return err
	}
	o := bench.Options{
		Target: target, Token: b.token, Topic: b.topic, Topics: b.topics, Connections: b.conns, Followers: b.follow, InFlight: b.inFlight, Bare: b.bare,
		Rate: b.rate, Duration: time.Duration(b.duration), Dial: b.connect,
	}
	if o.Records, err = b.records(cmd); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return usagef("%w", err)
	}
	bar := newProgress(cmd.ErrOrStderr(), b.state)
	b.began = bar.began
	go bar.run()
	result, err := bench.Run(cmd.Context(), o, func(so *bench.Result) { b.now.Store(so) })
	bar.end()
	if err != nil {
		return err
	}
	if b.json {
		return b.write(outputOf(cmd), b.result(o, result))
	}
	return b.print(outputOf(cmd), o, result)
}

// connect opens a connection, and retries for --wait at the beginning.
func (b *benchmark) connect(ctx context.Context) (nc net.Conn, err error) {
	err = b.dial(ctx, func() error {
		nc, err = client.Connect(ctx, b.addr, b.config, wire.ALPN)
		return err
	})
	return nc, err
}

// records returns the records to send.
func (b *benchmark) records(cmd *cobra.Command) (*bench.Records, error) {
	c := wire.Codecs()[b.format.value]
	if b.file == "" {
		r, err := bench.Generate(int(b.size), c)
		if err != nil {
			return nil, usagef("--size: %w", err)
		}
		return r, nil
	}
	in, name, err := input(cmd, []string{b.file})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var all []*dict.Dict
	for s := newSequence(name, in, json.Codec{}, codec.Limits{}.Effective()); len(all) < bench.MaxRecords; {
		d, err := s.dict(cmd.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d.Clone())
	}
	r, err := bench.NewRecords(all, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// state returns the progress so far.
func (b *benchmark) state() state {
	s := state{text: "0 settled", share: float64(time.Since(b.began)) / float64(b.duration)}
	so := b.now.Load()
	if so == nil {
		return s
	}
	s.text, s.count = grouped(float64(so.Records))+" settled", so.Rate()*time.Since(b.began).Seconds()
	if h := so.Latency; h != nil {
		s.text += fmt.Sprintf(", p50 %s, p99 %s", micros(h.ValueAtQuantile(50)), micros(h.ValueAtQuantile(99)))
	}
	return s
}

// quantiles are the latencies that are printed.
var quantiles = []struct {
	name string
	of   float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}}

// print writes a result for people.
func (b *benchmark) print(w *terminal.Output, o bench.Options, r *bench.Result) error {
	out := terminal.NewTable(w)
	target := fmt.Sprintf("%s at %s, %s with %d in flight", o.Target.Name, b.addr, count(int64(o.Connections), "connection", "connections"), o.InFlight)
	if o.Rate > 0 {
		target += fmt.Sprintf(", %s/s", grouped(o.Rate))
	}
	verb, note := "settled", ""
	if o.Bare {
		verb, note = "sent", "; nothing is acknowledged"
	}
	out.Row("target", target)
	out.Row("records", fmt.Sprintf("%.0f bytes of %s", o.Records.Mean(), o.Records.Format))
	out.Row(verb, fmt.Sprintf("%s in %.1f s: %s/s, %.1f MB/s", grouped(float64(r.Records)), r.Elapsed.Seconds(), grouped(r.Rate()), float64(r.Bytes)/r.Elapsed.Seconds()/1e6)+note)
	if r.Rejected > 0 {
		out.Row("rejected", grouped(float64(r.Rejected)))
	}
	if o.Followers > 0 {
		out.Row("read", fmt.Sprintf("%s by %s", grouped(float64(r.Read)), count(int64(o.Followers), "follower", "followers")))
	}
	if h := r.Latency; h != nil {
		var parts []string
		for _, q := range quantiles {
			parts = append(parts, q.name+" "+micros(h.ValueAtQuantile(q.of)))
		}
		out.Row("latency", strings.Join(append(parts, "max "+micros(h.Max())), ", "))
	}
	return out.Flush()
}

// result returns a result for programs.
func (b *benchmark) result(o bench.Options, r *bench.Result) *dict.Dict {
	d := dict.Of("target", o.Target.Name, "addr", b.addr, "format", o.Records.Format, "record_bytes", o.Records.Mean(),
		"connections", o.Connections, "topics", max(o.Topics, 1), "in_flight", o.InFlight, "acknowledged", !o.Bare, "rate", o.Rate,
		"records", r.Records, "rejected", r.Rejected, "followers", o.Followers, "read", r.Read, "seconds", r.Elapsed.Seconds(),
		"records_per_s", r.Rate(), "bytes_per_s", float64(r.Bytes)/r.Elapsed.Seconds())
	if h := r.Latency; h != nil {
		of := dict.Of()
		for _, q := range quantiles {
			of.Set(q.name, dict.Int(h.ValueAtQuantile(q.of)))
		}
		of.Set("max", dict.Int(h.Max()))
		d.Set("latency_us", of.Value())
	}
	return d
}

// micros writes microseconds for people.
func micros(n int64) string {
	switch d := time.Duration(n) * time.Microsecond; {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(n)/1e3)
	case d < 10*time.Second:
		return fmt.Sprintf("%.0f ms", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1f s", float64(n)/1e6)
	}
}

// grouped writes a number with separators between thousands.
func grouped(n float64) string {
	s := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
