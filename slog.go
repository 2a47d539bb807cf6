package dictwire

import (
	"context"
	"log/slog"

	"github.com/dictwire/dictwire/internal/client"
)

// A LogHandler is a [slog.Handler] that sends log records to a topic, one dictionary
// each, in CBOR:
//
//	{'time': datetime.datetime(…), 'level': 'INFO', 'msg': 'paid', 'order': 4711, 'http': {'method': 'POST'}}
//
// Groups are dictionaries, and values are what [dict.ValueOf] makes of them, or their
// text. The last of equal keys counts; one that is time, level or msg gets a "_".
//
// Handle never waits. While the client's window is full, records are dropped, which is
// ErrDropped. The first that finds room comes after one that says how many.
type LogHandler struct {
	slog.Handler
	core *client.LogHandler
}

// LogOptions are those of a [LogHandler].
type LogOptions struct {
	Level     slog.Leveler // the lowest that is sent; nil: slog.LevelInfo
	AddSource bool         // add source: function, file and line
}

// NewLogHandler returns a handler that sends to a topic with a client. Nil options are
// the zero LogOptions. The error says that the topic's name is invalid.
func NewLogHandler(c *Client, topic string, o *LogOptions) (*LogHandler, error) {
	if o == nil {
		o = new(LogOptions)
	}
	core, err := client.NewLogHandler(c.core, topic, client.LogOptions(*o))
	if err != nil {
		return nil, err
	}
	return &LogHandler{core, core}, nil
}

// Dropped returns how many records were dropped since that was last sent.
func (h *LogHandler) Dropped() int64 { return h.core.Dropped() }

// Flush says how many records were dropped, and returns when all are settled.
func (h *LogHandler) Flush(ctx context.Context) error { return h.core.Flush(ctx) }
