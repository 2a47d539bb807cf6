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
	New:       func(c dialect.Config) dialect.Dialect { return &stream{c} },
}

// A stream serves bare sequences.
type stream struct{ dialect.Config }

// Shutdown does nothing: everything comes over connections.
func (*stream) Shutdown(context.Context) error { return nil }

// Open opens the taking of one sequence. See [dialect.Dialect].
func (d *stream) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	return Take(ctx, c, in, Kind.Name, d.Codecs[c.Protocol().Format()], d.Limits())
}

// A taking takes a connection's sequence and writes the answers to its records.
type taking struct {
	c       *dialect.Conn
	w       dialect.Writer
	q       *dialect.Sequence
	first   bool         // the first record, which is a batch of its own, was not taken yet
	foreign *fault.Error // why the first record is refused
	told    int          // bad records
}

// Take opens the taking of a connection's sequence. name is the name of the dialect.
func Take(ctx context.Context, c *dialect.Conn, in dialect.Intake, name string, cd codec.Codec, limits codec.Limits) (dialect.Serving, error) {
	c.Codec = cd
	session, err := in.Open(ctx, dialect.Credentials{})
	if err != nil {
		return nil, err
	}
	w, err := session.Write(ctx, dialect.WriteRequest{Dialect: name})
	if err != nil {
		return nil, err
	}
	t := &taking{c: c, w: w, q: dialect.NewSequence(c, cd, limits), first: codec.FramesOnly(cd)}
	t.q.FirstAlone = t.first
	return t, nil
}

// Serve implements [dialect.Serving].
func (t *taking) Serve(ctx context.Context) error { return t.q.Each(ctx, t.taker(ctx)) }

// Close implements [dialect.Serving].
func (t *taking) Close(err error) error {
	t.w.Close()
	if errors.Is(err, dialect.ErrDrained) {
		return nil
	}
	return err
}

// taker returns a function that takes a batch of records.
func (t *taking) taker(ctx context.Context) func(*dialect.WriteBatch) error {
	answer := t.answer
	return func(b *dialect.WriteBatch) error {
		_, err := t.w.Take(ctx, b, answer)
		t.first = false
		if err == nil && t.foreign != nil {
			return t.foreign
		}
		return err
	}
}

// answer writes the answer to a record.
func (t *taking) answer(a dialect.Answer) error {
	var syntax *codec.SyntaxError
	if t.first && a.Err != nil && errors.As(a.Err, &syntax) {
		t.foreign = a.Err // the server tells the peer
		return nil
	}
	if a.Bad {
		if t.told++; t.told > maxTold || t.q.Ends(a.Err) { // the server tells the peer
			return nil
		}
	}
	return tell(t.c, a)
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
