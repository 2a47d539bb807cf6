package dictwire

import (
	"context"
	"log/slog"

	"github.com/dictwire/dictwire/internal/client"
)

// ErrDropped is what [LogHandler.Handle] returns for a record that found the
// client's window full.
var ErrDropped = client.ErrDropped

// A LogHandler is a [slog.Handler] that sends log records to a topic, one
// dictionary each, in CBOR, which holds all their values:
//
//	{'time': datetime.datetime(2026, 11, 23, 10, 0, tzinfo=datetime.timezone.utc), 'level': 'INFO',
//	 'msg': 'paid', 'order': 4711, 'http': {'method': 'POST', 'took': datetime.timedelta(microseconds=1500)}}
//
// Groups are dictionaries, and values are what [dict.ValueOf] makes of them, or
// their text. A key that comes twice has its last value; one that is time, level
// or msg gets a "_" after it.
//
// Handle never waits. While the client's window is full, records are dropped and
// counted, and the first that finds room comes after one that says how many.
// [LogHandler.Flush] at the end of the program waits until all are settled.
type LogHandler struct {
	core *client.LogHandler
}

// LogOptions are those of a [LogHandler].
type LogOptions struct {
	// Level is the lowest that is sent. Nil means [slog.LevelInfo].
	Level slog.Leveler

	// AddSource adds where the record was made: source, with function, file and
	// line.
	AddSource bool
}

// NewLogHandler returns a handler that sends to a topic with a client. Nil options
// are the zero LogOptions. The error says that the
// topic's name is invalid.
func NewLogHandler(c *Client, topic string, o *LogOptions) (*LogHandler, error) {
	if o == nil {
		o = new(LogOptions)
	}
	core, err := client.NewLogHandler(c.core, topic, client.LogOptions(*o))
	if err != nil {
		return nil, err
	}
	return &LogHandler{core}, nil
}

// Enabled implements [slog.Handler].
func (h *LogHandler) Enabled(_ context.Context, level slog.Level) bool { return h.core.Enabled(level) }

// WithAttrs implements [slog.Handler].
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LogHandler{h.core.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h *LogHandler) WithGroup(name string) slog.Handler { return &LogHandler{h.core.WithGroup(name)} }

// Handle implements [slog.Handler]. The error is ErrDropped, or why the client
// takes no record.
func (h *LogHandler) Handle(_ context.Context, r slog.Record) error { return h.core.Handle(r) }

// Dropped returns how many records were dropped since that was last sent.
func (h *LogHandler) Dropped() int64 { return h.core.Dropped() }

// Flush returns when all records are settled: see [Client.Flush]. It says how
// many were dropped first.
func (h *LogHandler) Flush(ctx context.Context) error { return h.core.Flush(ctx) }
