// Package stream is the dialect of bare sequences: dictionaries of one format back to
// back, and nothing else.
//
//	{"name": "Alice"}⏎{"name": "Bob"}⏎…end
//
// The end of the connection ends the sequence; a record that it cuts off is rejected.
// There is no acknowledgement. Each reply of the server's handler is a dictionary of the
// same format, in the order of the records.
//
// A bad record costs only itself if it is certain where the next one begins. Otherwise
// the sequence ends, and the peer is told {"error": …, "code": …, "at": offset}. It also
// ends if the first record can't be decoded, since what merely begins like a pickle may
// be anything. Bad records that do not end the sequence are told, too, but only the first
// 16, since a peer that never reads must not be blocked by that.
package stream

import (
	"context"
	"errors"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// maxTold is how many bad records of a connection are told to the peer.
const maxTold = 16

// Kind is the dialect.
var Kind = dialect.Kind{
	Name:      "stream",
	Protocols: []dialect.Protocol{dialect.JSON, dialect.CBOR, dialect.MessagePack, dialect.Pickle},
	New:       func(c dialect.Config) dialect.Dialect { return stream{c} },
}

// A stream serves bare sequences.
type stream struct{ dialect.Config }

// Shutdown does nothing: everything comes over connections.
func (stream) Shutdown(context.Context) error { return nil }

// Serve serves one sequence. See [dialect.Dialect].
func (d stream) Serve(ctx context.Context, c *dialect.Conn, in dialect.Intake) error {
	return Take(ctx, c, in, Kind.Name, d.Codecs[c.Protocol().Format()], d.Limits())
}

// Take takes a connection's sequence and writes the answers to its records. name is the
// name of the dialect.
func Take(ctx context.Context, c *dialect.Conn, in dialect.Intake, name string, cd codec.Codec, limits codec.Limits) error {
	c.Codec = cd
	session, err := in.Open(ctx, dialect.Credentials{})
	if err != nil {
		return err
	}
	w, err := session.Write(ctx, dialect.WriteRequest{Dialect: name})
	if err != nil {
		return err
	}
	defer w.Close()
	q := dialect.NewSequence(c, cd, limits)
	q.FirstAlone = codec.FramesOnly(cd)
	first, told := q.FirstAlone, 0
	var foreign *fault.Error // why the first record is refused
	answer := func(a dialect.Answer) error {
		var syntax *codec.SyntaxError
		if first && a.Err != nil && errors.As(a.Err, &syntax) {
			foreign = a.Err // the server tells the peer
			return nil
		}
		if a.Bad {
			if told++; told > maxTold || q.Ends(a.Err) { // the server tells the peer
				return nil
			}
		}
		return tell(c, a)
	}
	err = q.Each(ctx, func(b *dialect.WriteBatch) error {
		_, err := w.Take(ctx, b, answer)
		first = false
		if err == nil && foreign != nil {
			return foreign
		}
		return err
	})
	if errors.Is(err, dialect.ErrDrained) {
		return nil
	}
	return err
}

// tell writes the answer to a record.
func tell(c *dialect.Conn, a dialect.Answer) error {
	if a.Err != nil {
		return c.Reply(c.Codec, a.Err.Dict())
	}
	err := c.Reply(c.Codec, a.Reply)
	var loss *codec.LossError
	if errors.As(err, &loss) {
		f := &fault.Error{Code: fault.Loss, Text: "the reply can't be sent: " + loss.Text(), At: -1}
		return c.Reply(c.Codec, f.Dict())
	}
	return err
}
