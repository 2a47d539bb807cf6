package cli

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/terminal"
)

// A greeting is what a server prints at its start for a person: where it is, where the
// records are, and what to type next. Programs get single lines instead.
type greeting struct {
	out   *terminal.Output
	lines [][2]string
}

// newGreeting returns a greeting, or nil if the output is not a terminal.
func (s *serve) newGreeting(cmd *cobra.Command) *greeting {
	if s.quiet || s.log.value != "text" || !terminal.Is(cmd.ErrOrStderr()) {
		return nil
	}
	out := terminal.NewOutput(cmd.ErrOrStderr())
	out.SetColor(cmd.Flag("color").Value.String())
	return &greeting{out: out}
}

// tell adds a line to the greeting or, without one, prints it.
func (s *serve) tell(name, line, format string, args ...any) {
	if s.greeting == nil {
		s.say(line+" "+format, args...)
		return
	}
	s.greeting.add(name, fmt.Sprintf(format, shown(args)...))
}

// add adds a line.
func (g *greeting) add(name, text string) { g.lines = append(g.lines, [2]string{name, text}) }

// next adds the commands to type next.
func (g *greeting) next(at *dictwire.Endpoint) {
	addr := where(at.Listener)
	if page := pageOf(at); page != "" {
		g.add("page", page)
	}
	var to, who string
	if at.TLS != nil {
		to = " tls://" + addr
	} else if addr != address.Default {
		to = " " + addr
	}
	if at.Authorizer != nil {
		who = " --token-file FILE"
	}
	g.add("send", "dictwire send"+to+who+" name=Alice age:=30")
	g.add("read", "dictwire tail"+to+who)
	g.add("stop", "Ctrl-C")
}

// pageOf returns the address of the page for a browser, or "".
func pageOf(at *dictwire.Endpoint) string {
	tcp, ok := at.Listener.Addr().(*net.TCPAddr)
	if !ok || at.Dialects != nil && !slices.Contains(at.Dialects, dialects[0].Kind().Name) {
		return ""
	}
	scheme, host := "http://", tcp.IP.String()
	if at.TLS != nil {
		scheme = "https://"
	}
	if tcp.IP.IsUnspecified() {
		host = "localhost"
	}
	return scheme + net.JoinHostPort(host, fmt.Sprint(tcp.Port)) + "/"
}

// order is the order of the lines.
var order = []string{"address", "page", "forward", "metrics", "store", "relay to", "send", "read", "stop"}

// write writes the greeting.
func (g *greeting) write() {
	slices.SortStableFunc(g.lines, func(a, b [2]string) int {
		return slices.Index(order, a[0]) - slices.Index(order, b[0])
	})
	widest := 0
	for _, line := range g.lines {
		widest = max(widest, len(line[0]))
	}
	var all strings.Builder
	all.WriteString(g.out.Paint(terminal.Bold, "dictwire "+terminal.Visible(version())) + "\n\n")
	for _, line := range g.lines {
		pad := strings.Repeat(" ", widest-len(line[0])+2)
		all.WriteString("  " + g.out.Paint(terminal.Quiet, line[0]) + pad + line[1] + "\n")
	}
	_, _ = io.WriteString(g.out.Raw(), all.String()+"\n")
}
