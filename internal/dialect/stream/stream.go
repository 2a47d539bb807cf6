// Package stream is the dialect of bare sequences: dictionaries of one format
// back to back, and nothing else on the connection.
//
//	{"name": "Alice"}⏎{"name": "Bob"}⏎…end
//
// The end of the connection ends the sequence; a record that it cuts off is
// rejected. There is no acknowledgement. Where the server's handler replies,
// each reply is a dictionary of the same format, in the order of the records.
//
// A bad record costs only itself where the next beginning is certain. Otherwise the
// peer is told, as {"error": …, "code": …, "at": offset}, and the sequence ends. So it
// does where its first record is one that only decoding finds to be bad: what begins
// like a pickle and holds none may be anything. Bad records that do not end the sequence are told as well, the
// first 16 of a connection, since a peer that never reads must not be stopped by
// that.
package stream

import (
	"context"
	"errors"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// maxTold is how many bad records of a connection the peer is told of.
const maxTold = 16

// A Dialect serves bare sequences of one format.
type Dialect struct {
	Codec  codec.Codec
	Limits codec.Limits
}

var _ dialect.Dialect = Dialect{}

// Name returns "stream".
func (Dialect) Name() string { return "stream" }

// Serve serves one sequence. See [dialect.Dialect].
func (d Dialect) Serve(ctx context.Context, c *dialect.Conn, in dialect.Intake) error {
	c.Codec = d.Codec
	session, err := in.Open(ctx, dialect.Credentials{})
	if err != nil {
		return err
	}
	w, err := session.Write(ctx, dialect.WriteRequest{Dialect: d.Name()})
	if err != nil {
		return err
	}
	defer w.Close()
	q := dialect.NewSequence(c, d.Codec, d.Limits)
	q.FirstAlone = codec.FramesOnly(d.Codec)
	first, told := q.FirstAlone, 0
	var foreign *fault.Error // why the first record is none
	answer := func(a dialect.Answer) error {
		var syntax *codec.SyntaxError
		if first && a.Err != nil && errors.As(a.Err, &syntax) {
			foreign = a.Err // which the server tells
			return nil
		}
		if a.Bad {
			if told++; told > maxTold || q.Ends(a.Err) { // which the server tells
				return nil
			}
		}
		return d.answer(c, a)
	}
	err = q.Each(ctx, func(b *dialect.Batch) error {
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

// answer writes what is said about a record.
func (d Dialect) answer(c *dialect.Conn, a dialect.Answer) error {
	if a.Err != nil {
		return c.Reply(d.Codec, a.Err.Dict())
	}
	err := c.Reply(d.Codec, a.Reply)
	var loss *codec.LossError
	if errors.As(err, &loss) {
		f := &fault.Error{Code: fault.Loss, Text: "the reply can't be sent: " + loss.Error(), At: -1}
		return c.Reply(d.Codec, f.Dict())
	}
	return err
}
