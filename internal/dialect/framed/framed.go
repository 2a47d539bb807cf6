// Package framed is the dialect of frames: records with a length before each. A record is
// one dictionary in any format, recognized by its first bytes.
//
//	00 00 00 10  {"name": "Alice"}        4 bytes, big endian: struct.pack('>I', n)
//	00 32  {"content-length": 17, …}  {"name": "Alice"}    2 bytes and a header in JSON
//	17␣␣␣␣␣␣␣␣  {"name": "Alice"}         decimal digits, blanks up to 10 or 64 columns
//
// The first kind is that of Python's logging.handlers.SocketHandler; the others come from
// popular tutorials. There is no acknowledgement. Replies of the handler, and errors, are
// framed in the same way, in the format of the first good record.
//
// A bad record costs only itself, since its length tells where the next one begins. The
// last two kinds could be other text, so nothing is taken until the first frame is
// complete and holds a dictionary.
package framed

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/stream"
)

// Kind is the dialect.
var Kind = dialect.Kind{
	Name:      "framed",
	Protocols: []dialect.Protocol{dialect.Framed, dialect.Headed, dialect.Columns},
	New:       func(c dialect.Config) dialect.Dialect { return &framed{c} },
}

// A framed serves frames.
type framed struct{ dialect.Config }

// Shutdown does nothing: everything comes over connections.
func (*framed) Shutdown(context.Context) error { return nil }

// Open finds out what is before each record, and opens the taking of them. See
// [dialect.Dialect].
func (d *framed) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	f := &frames{codecs: d.Codecs}
	for len(c.Buffered()) > 0 && isSpace(c.Buffered()[0]) {
		c.Discard(1)
	}
	switch c.Protocol() {
	case dialect.Headed:
		f.framing = headers{}
	case dialect.Columns:
		width, _ := dialect.ColumnWidth(c.Buffered())
		f.framing = columns(width)
	default:
		f.framing = lengths{}
	}
	if c.Protocol() != dialect.Framed {
		if err := d.first(ctx, c, f); err != nil {
			return nil, err
		}
	}
	return stream.Take(ctx, c, in, Kind.Name, f, d.Limits())
}

// first waits until the first frame is complete. It returns a refusal if its record is
// not a dictionary.
func (d *framed) first(ctx context.Context, c *dialect.Conn, f *frames) error {
	scanner := f.NewScanner(d.Limits())
	for {
		buf := c.Buffered()
		start, end, err := scanner.Next(buf)
		switch {
		case errors.Is(err, codec.ErrIncomplete):
			switch err := c.More(ctx, true, scanner); {
			case err == io.EOF:
				return f.refuse("the connection ended within it", len(buf))
			case err != nil:
				return err
			}
			continue
		case err == nil && codec.FramesOnly(f.Of(buf[start:end])):
			if err := c.Own().BeginLong(ctx); err != nil {
				return err
			}
			_, err = f.Of(buf[start:end]).Decode(buf[start:end], d.Limits())
			c.Rest()
		}
		if err != nil {
			return f.refuse(dialect.FaultOf(err, 0).Text, start)
		}
		return nil
	}
}

// refuse returns the refusal of a connection that does not begin with a frame.
func (f *frames) refuse(why string, at int) error {
	return &fault.Error{
		Code: fault.Unsupported, At: int64(at),
		Text: fmt.Sprintf("this looks like %s before a record, but the first frame is none: %s; nothing of this connection was taken", f.framing, why),
		Hint: dialect.FramesHint,
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
