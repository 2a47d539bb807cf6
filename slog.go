package dictwire

import (
	"context"
	"log/slog"

	"github.com/dictwire/dictwire/internal/client"
)

// A LogHandler is a [slog.Handler] that sends log records to a topic, in CBOR:
//
//	{'time': datetime.datetime(…), 'level': 'INFO', 'msg': 'paid', 'order': 4711, 'http': {'method': 'POST'}}
//
// Groups become dictionaries; other values are converted by [dict.ValueOf], or to text. Of
// equal keys the last counts. An attribute named time, level or msg gets a "_". While the
// client's window is full, Handle does not wait but drops records, with ErrDropped; the next
// record is sent after one that counts them.
type LogHandler struct {
	slog.Handler
	core *client.LogHandler
}

// NewLogHandler returns an error if the topic's name is invalid. o may be nil.
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

// Dropped returns the number of dropped records that are not reported yet.
func (h *LogHandler) Dropped() int64 { return h.core.Dropped() }

// Flush reports dropped records, and returns when all records are settled.
func (h *LogHandler) Flush(ctx context.Context) error { return h.core.Flush(ctx) }
