package dictwire

import (
	"context"
	"log/slog"

	"github.com/dictwire/dictwire/internal/client"
)

// A LogHandler is a [slog.Handler] that sends each log record to a topic as a dictionary
// in CBOR:
//
//	{'time': datetime.datetime(…), 'level': 'INFO', 'msg': 'paid', 'order': 4711, 'http': {'method': 'POST'}}
//
// Groups become dictionaries; other values are converted by [dict.ValueOf], or to text. Of
// equal keys the last counts. An attribute named time, level or msg gets a "_".
//
// Handle never waits: while the client's window is full it drops records and returns
// ErrDropped. The next record that is sent comes after one that counts the dropped ones.
type LogHandler struct {
	slog.Handler
	core *client.LogHandler
}

// NewLogHandler returns a handler that sends to a topic. Nil options are the zero
// [slog.HandlerOptions]. The error says that the topic's name is invalid.
func NewLogHandler(c *Client, topic string, o *slog.HandlerOptions) (*LogHandler, error) {
	if o == nil {
		o = new(slog.HandlerOptions)
	}
	core, err := client.NewLogHandler(c.core, topic, *o)
	if err != nil {
		return nil, err
	}
	return &LogHandler{core, core}, nil
}

// Dropped returns how many records were dropped since the last report of that was sent.
func (h *LogHandler) Dropped() int64 { return h.core.Dropped() }

// Flush reports the dropped records to the topic, and returns when all records are settled.
func (h *LogHandler) Flush(ctx context.Context) error { return h.core.Flush(ctx) }
