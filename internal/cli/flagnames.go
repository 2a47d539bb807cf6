package cli

import (
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/dictwire/dictwire/codec"
)

// The library's texts name its own options, which a user of the command line sets by
// flags. They are put in their place here alone.

// flagNames are the options that texts of the library name, and the flags that set them,
// in turn.
var flagNames = []string{
	"Limits.RecordBytes", "--max-record",
	"Limits.Depth", "--max-depth",
	"Limits.Items", "--max-items",
	"Limits.Digits", "--max-digits",
	"Server.MaxMemory", "--max-memory",
	"Server.MaxHostConns", "--max-host-conns",
	"Server.MaxRecordRate", "--max-record-rate",
	"Server.MaxByteRate", "--max-byte-rate",
	"Server.FirstTimeout", "--first-timeout",
	"Server.OpenTimeout", "--open-timeout",
	"Server.IdleTimeout", "--idle-timeout",
	"Server.RecordTimeout", "--record-timeout",
	"json.KeepLast", "--duplicate-keys last",
	"json.Codec", "--from json",
	otherFormat, "--to cbor",
	"Codec.Lossy", "--lossy",
	"Options.Bare", "--bare",
}

// otherFormat is the format to write where another can't hold a value.
const otherFormat = "cbor.Codec"

var (
	ofCommand = strings.NewReplacer(flagNames...)
	ofServer  = strings.NewReplacer(serverFlags()...) // in a text that a server made
)

func serverFlags() []string {
	pairs := make([]string, 0, len(flagNames))
	for i := 0; i < len(flagNames); i += 2 {
		pairs = append(pairs, flagNames[i], "the server's "+flagNames[i+1])
	}
	return pairs
}

// withFlags returns a text of the library with flags in the place of options.
func withFlags(text string) string { return ofCommand.Replace(text) }

// newLogger returns a logger that writes to w: lines of key=value pairs, or of JSON.
func newLogger(w io.Writer, format string) *slog.Logger {
	o := &slog.HandlerOptions{ReplaceAttr: attrWithFlags}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// A lineLogger logs the lines that a command writes about itself.
type lineLogger struct{ log *slog.Logger }

func (l lineLogger) Write(p []byte) (int, error) {
	for line := range strings.SplitSeq(strings.TrimSuffix(string(p), "\n"), "\n") {
		l.log.Info(strings.TrimPrefix(line, "dictwire: "))
	}
	return len(p), nil
}

// attrWithFlags is withFlags for what is logged of an error.
func attrWithFlags(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "error" || a.Key == "hint" {
		return slog.String(a.Key, withFlags(a.Value.String()))
	}
	return a
}

// instead names the flag by which a command writes another format, in the hint of an
// error that says what the format can't hold.
func instead(err error, flag string) error {
	var loss *codec.LossError
	if !errors.As(err, &loss) {
		return err
	}
	return hintError{err, strings.Replace(loss.Hint, otherFormat, flag, 1)}
}
