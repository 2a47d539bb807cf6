package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/store/nats"
)

// All text for people is written by the functions in this file. Parts that others have
// chosen (names, errors of peers, bytes of records) can neither move a terminal's cursor
// nor imitate another line.

// shown returns the arguments of a format, made safe for a terminal.
func shown(args []any) []any {
	out := slices.Clone(args)
	for i, arg := range out {
		switch arg := arg.(type) {
		case string:
			out[i] = terminal.Visible(arg)
		case error:
			out[i] = terminal.Visible(withFlags(trimName(arg.Error())))
		}
	}
	return out
}

// trimName removes the library's name from an error's text, since the command has the
// same name.
func trimName(text string) string { return strings.TrimPrefix(text, "dictwire: ") }

// say prints a line of the command itself.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "dictwire: "+format+"\n", shown(args)...)
}

// tell prints an error and its hint, if there is one. Joined errors are printed on
// separate lines.
func tell(w io.Writer, err error) {
	if all, ok := joined(err); ok {
		for _, err := range all {
			tell(w, err)
		}
		return
	}
	text, _, _ := strings.Cut(withoutHint(err), meant)
	say(w, "%s", withFlags(trimName(text)))
	if help := hintOf(err); help != "" {
		hint(w, help)
	}
}

// hint prints a remedy.
func hint(w io.Writer, text string) { fmt.Fprintln(w, "hint: "+terminal.Visible(withFlags(text))) }

// joined returns the errors of which err is only the sequence.
func joined(err error) ([]error, bool) {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, false
	}
	var texts []string
	for _, err := range several.Unwrap() {
		texts = append(texts, err.Error())
	}
	return several.Unwrap(), err.Error() == strings.Join(texts, "\n")
}

// meant is what cobra writes between an unknown command and similar ones.
const meant = "\n\nDid you mean this?\n"

// withoutHint returns err's text without the hint.
func withoutHint(err error) string {
	var loss *codec.LossError
	var setup *nats.SetupError
	switch {
	case errors.As(err, &loss):
		return strings.Replace(err.Error(), loss.Error(), loss.Text(), 1)
	case errors.As(err, &setup):
		return strings.Replace(err.Error(), setup.Error(), setup.Err.Error(), 1)
	default:
		return err.Error()
	}
}

func hintOf(err error) string {
	var (
		hint   hintError
		syntax *codec.SyntaxError
		loss   *codec.LossError
		setup  *nats.SetupError
		usage  usageError
	)
	if _, commands, ok := strings.Cut(err.Error(), meant); ok {
		return "perhaps " + strings.Join(strings.Fields(commands), " or ")
	}
	switch {
	case errors.As(err, &hint):
		return hint.hint
	case errors.As(err, &syntax):
		return syntax.Hint
	case errors.As(err, &loss):
		return loss.Hint
	case errors.As(err, &setup):
		return setup.Hint
	case errors.Is(err, dictwire.ErrUnauthenticated):
		return "--token-file names the file that has the token"
	case errors.As(err, &usage), isUnknownCommand(err):
		return "dictwire --help, or --help after a command, tells more"
	default:
		return ""
	}
}

// A lineHandler prints a client's log as lines for people.
type lineHandler struct{ w io.Writer }

// Enabled implements [slog.Handler].
func (lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	text, args, sep := "%s", []any{r.Message}, " ("
	r.Attrs(func(a slog.Attr) bool {
		text += sep + "%s %s"
		sep = ", "
		args = append(args, a.Key, attrWithFlags(nil, a).Value.String())
		return true
	})
	if len(args) > 1 {
		text += ")"
	}
	say(h.w, text, args...)
	return nil
}

// WithAttrs implements [slog.Handler]. Clients do not use it.
func (h lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements [slog.Handler]. Clients do not use it.
func (h lineHandler) WithGroup(string) slog.Handler { return h }

// count writes a number and what is counted.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// size writes a number of bytes for people.
func size(n uint64) terminal.Quantity {
	unit := 0
	for ; n >= 10<<10 && unit < 3; unit++ {
		n >>= 10
	}
	return terminal.Quantity(fmt.Sprintf("%d %s", n, []string{"B", "KiB", "MiB", "GiB"}[unit]))
}

// moment formats a time for a sentence.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// orDash returns a text, or "-" if it is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
