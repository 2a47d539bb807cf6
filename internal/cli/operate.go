package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/terminal"
)

// An operator queries a running server over HTTP, on the port that serves all protocols.
type operator struct {
	connectFlags
	jsonFlag
}

// command makes a command that queries a server.
func (o *operator) command(cmd *cobra.Command, run func(*cobra.Command) error) *cobra.Command {
	cmd.Use += " [ADDR]"
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args, err := o.arguments(cmd, args)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			return usagef("want an address, host:port or unix:PATH, got %q", args[0])
		}
		return run(cmd)
	}
	o.add(cmd.Flags())
	o.addJSON(cmd.Flags())
	return cmd
}

const (
	answerTime = 15 * time.Second // limit for the answer to a request
	maxAnswer  = 16 << 20         // most bytes of an answer
)

// ask requests a path from the server and returns the dictionary in the answer.
func (o *operator) ask(ctx context.Context, path string) (answer *dict.Dict, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.wait)+answerTime)
	defer cancel()
	asking := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return client.Connect(ctx, o.addr, o.config, "http/1.1")
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.host()+path, nil)
	if err != nil {
		return nil, err
	}
	if o.token != "" {
		r.Header.Set("Authorization", "Bearer "+o.token)
	}
	err = o.dial(ctx, func() error {
		answer, err = asked(asking.Do(r))
		return err
	})
	return answer, err
}

// host returns the header Host.
func (o *operator) host() string {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(o.addr, "tls://"))
	if err != nil || strings.HasPrefix(o.addr, "unix:") || host == "" {
		return "localhost"
	}
	return net.JoinHostPort(host, port)
}

// asked returns the dictionary in an answer, or the fault that it describes.
func asked(r *http.Response, err error) (*dict.Dict, error) {
	if err != nil {
		var about *url.Error
		if errors.As(err, &about) { // it names the path, which the user did not type
			err = about.Err
		}
		switch {
		case strings.Contains(err.Error(), "malformed HTTP"):
			err = errors.New("what answers there is no dictwire server, or one that serves no HTTP")
		case errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("the server has not answered within %v", answerTime)
		}
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the server's answer broke off: %w", err)
	}
	d, err := json.Codec{}.Decode(body, codec.Limits{RecordBytes: maxAnswer, Items: maxAnswer})
	if err != nil {
		return nil, fmt.Errorf("what answers there is no dictwire server: %s, and no dictionary", r.Status)
	}
	if r.StatusCode == http.StatusOK {
		return d, nil
	}
	text := textOf(d, "detail")
	if text == "" {
		text = textOf(d, "error")
	}
	return nil, &fault.Error{Code: fault.Code(textOf(d, "code")), Text: "the server says: " + text, At: -1}
}

// textOf returns a string of a dictionary, or "".
func textOf(d *dict.Dict, key string) string {
	v, _ := d.Get(key)
	s, _ := v.Text()
	return s
}

// numberOf returns an integer of a dictionary, or 0.
func numberOf(d *dict.Dict, key string) int64 {
	v, _ := d.Get(key)
	n, _ := v.Int()
	return n
}

// timeOf returns a time that is a string in a dictionary.
func timeOf(d *dict.Dict, key string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, textOf(d, key))
	return t
}

// show requests a path and prints the answer, as JSON or by text.
func (o *operator) show(cmd *cobra.Command, path string, text func(*dict.Dict) error) error {
	d, err := o.ask(cmd.Context(), path)
	if err != nil {
		return err
	}
	if o.json {
		return o.write(outputOf(cmd), d)
	}
	return text(d)
}

func pingCommand() *cobra.Command {
	o := new(operator)
	return o.command(&cobra.Command{
		Use:   "ping",
		Short: "Ask whether a server runs and takes records",
		Long: "ping asks a server whether it answers and can store records, and says how long that took.\n" +
			"The exit status is 0 where it can. No token is asked for, so that a supervisor may use it.",
		Example: "  dictwire ping\n  dictwire ping --wait 10s unix:/run/dictwire/dictwire.sock",
	}, func(cmd *cobra.Command) error {
		began := time.Now()
		return o.show(cmd, "/readyz", func(*dict.Dict) error {
			took := time.Since(began).Round(10 * time.Microsecond)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s takes records, and answered in %v\n", terminal.Visible(o.addr), took)
			return err
		})
	})
}

func statusCommand() *cobra.Command {
	o := new(operator)
	return o.command(&cobra.Command{
		Use:   "status",
		Short: "Print how a running server is",
		Long: "status prints who you are to a server and what it promises; who may administer it is told\n" +
			"what it has received, too.",
		Example: "  dictwire status\n  dictwire status tls://logs.example:65432 --token-file admin.token",
	}, func(cmd *cobra.Command) error {
		return o.show(cmd, "/v1/status", func(d *dict.Dict) error {
			out := terminal.NewTable(outputOf(cmd))
			ready := "no"
			v, _ := d.Get("ready")
			if is, _ := v.Bool(); is {
				ready = "yes"
			}
			out.Row("principal", textOf(d, "principal"))
			out.Row("durability", textOf(d, "durability"))
			out.Row("largest record", string(size(uint64(numberOf(d, "max_record")))))
			out.Row("takes records", ready)
			if textOf(d, "started") != "" {
				out.Row("started", timeOf(d, "started"))
				out.Row("connections", fmt.Sprint(numberOf(d, "connections")))
				out.Row("records since", fmt.Sprintf("%d, %s", numberOf(d, "records"), size(uint64(numberOf(d, "bytes")))))
				out.Row("rejected since", fmt.Sprint(numberOf(d, "rejected")))
			}
			return out.Flush()
		})
	})
}

// A serverList is a command that prints a list from a running server.
type serverList struct {
	operator

	principal string
	name      string // of the list
	heads     []string
	row       func(d *dict.Dict) []any
}

// list makes the command.
func (l *serverList) list(cmd *cobra.Command) *cobra.Command {
	cmd.Use = l.name
	return l.command(cmd, l.run)
}

// addPrincipal adds the flag for the names of another principal.
func (l *serverList) addPrincipal(flags *pflag.FlagSet) {
	flags.StringVar(&l.principal, "principal", "", "`whose` they are, if not your own: wants the right to administer *")
}

func (l *serverList) run(cmd *cobra.Command) error {
	out, query := l.listing(cmd, l.heads...), url.Values{}
	if l.principal != "" {
		query.Set("principal", l.principal)
	}
	for {
		page, err := l.ask(cmd.Context(), "/v1/"+l.name+"?"+query.Encode())
		if err != nil {
			return err
		}
		entries, _ := page.Get(l.name)
		for entry := range entries.Items() {
			d, ok := entry.Dict()
			if !ok {
				continue
			}
			out.add(d, l.row(d)...)
		}
		next := textOf(page, "next")
		if next == "" || next == query.Get("after") {
			break
		}
		query.Set("after", next)
	}
	return out.end()
}

func topicsCommand() *cobra.Command {
	l := &serverList{name: "topics", heads: topicHeads, row: func(d *dict.Dict) []any {
		return []any{
			textOf(d, "topic"), numberOf(d, "records"), size(uint64(numberOf(d, "bytes"))), textOf(d, "first"),
			timeOf(d, "oldest"), timeOf(d, "newest"),
		}
	}}
	return l.list(&cobra.Command{
		Short:   "Print the topics of a running server",
		Long:    "topics prints the topics that you may read, and what they hold.",
		Example: "  dictwire topics\n  dictwire topics logs.example:65432 --token-file reader.token --json | jq .topic",
	})
}

func cursorsCommand() *cobra.Command {
	l := &serverList{name: "cursors", heads: []string{"CURSOR", "READS", "POSITION", "LAG", "SAVED"}, row: func(d *dict.Dict) []any {
		return []any{
			textOf(d, "cursor"), textOf(d, "subscription"), textOf(d, "position"), numberOf(d, "lag"), timeOf(d, "saved"),
		}
	}}
	cmd := l.list(&cobra.Command{
		Short: "Print the saved positions of readers of a running server",
		Long: "cursors prints how far your readers have come, and how many records, about, they have not\n" +
			"read. Of a store that no server has open, cursor list prints them.",
		Example: "  dictwire cursors\n  dictwire cursors --token-file admin.token --principal billing",
	})
	l.addPrincipal(cmd.Flags())
	return cmd
}

func producersCommand() *cobra.Command {
	l := &serverList{name: "producers", heads: []string{"PRODUCER", "TOPIC", "NEXT", "SEEN"}, row: func(d *dict.Dict) []any {
		return []any{textOf(d, "producer"), textOf(d, "topic"), numberOf(d, "next"), timeOf(d, "seen")}
	}}
	cmd := l.list(&cobra.Command{
		Short: "Print the producers that a running server knows",
		Long: "producers prints your numbered logs of records: the number that each comes to next, and\n" +
			"when it was heard of last.",
		Example: "  dictwire producers\n  dictwire producers --token-file admin.token --principal till-7",
	})
	l.addPrincipal(cmd.Flags())
	return cmd
}
