package cli

import (
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/dictwire/dictwire/codec"
)

// Error texts of the library name its options. Users of the command line set these by
// flags, so the names are replaced here, and nowhere else.

// flagNames are pairs: an option as texts of the library name it, and its flag.
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
	"Options.Prefix", "--nats-prefix",
	"Options.Replicas", "--nats-replicas",
	"Options.MaxBytes", "--nats-max-bytes",
	"Options.Credentials", "--nats-credentials",
	"Options.CA", "--nats-ca",
	"Options.Certificate", "--nats-cert",
	"Options.Key", "--nats-key",
}

// otherFormat is the format to write where another can't hold a value.
const otherFormat = "cbor.Codec"

var (
	ofCommand = strings.NewReplacer(flagNames...)
	ofServer  = strings.NewReplacer(serverFlags()...) // for texts made by a server
)

func serverFlags() []string {
	pairs := make([]string, 0, len(flagNames))
	for i := 0; i < len(flagNames); i += 2 {
		pairs = append(pairs, flagNames[i], "the server's "+flagNames[i+1])
	}
	return pairs
}

// withFlags replaces options by flags in a text of the library.
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

// attrWithFlags is withFlags for attributes of log lines.
func attrWithFlags(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "error" || a.Key == "hint" {
		return slog.String(a.Key, withFlags(a.Value.String()))
	}
	return a
}

// instead adds to an error about what a format can't hold the flag that selects another
// format.
func instead(err error, flag string) error {
	var loss *codec.LossError
	if !errors.As(err, &loss) {
		return err
	}
	return hintError{err, strings.Replace(loss.Hint, otherFormat, flag, 1)}
}
