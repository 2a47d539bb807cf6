// Package forward is the dialect of Fluent Forward, protocol version 1, spoken by
// Fluentd, Fluent Bit and loggers in many languages.
//
//	[tag, time, record, option?]            Message
//	[tag, [[time, record], …], option?]     Forward
//	[tag, bin or str, option?]              PackedForward: entries back to back,
//	                                        perhaps compressed
//
// A message with the option chunk is acknowledged when its records are settled. It is
// stored once, even if it is sent again within 24 hours: its records are numbered by a
// producer that is named after the chunk and the entries. Other messages are not
// acknowledged. The tag becomes the topic, and the time of an entry is stored with its
// record.
//
// An endpoint that speaks [Options.Kind] begins with the protocol's handshake.
package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/unpack"
	"github.com/dictwire/dictwire/store"
)

const (
	name = "forward"

	// maxMessage is the longest message, in bytes as received.
	maxMessage = 16 << 20

	// maxTogether is the most single-record messages in a batch.
	maxTogether = 1024
)

// Kind is the dialect without a handshake.
var Kind = dialect.Kind{
	Name: name, Protocols: []dialect.Protocol{dialect.Forward},
	New: func(c dialect.Config) dialect.Dialect { return &forward{Config: c} },
}

// A forward serves Fluent Forward.
type forward struct {
	dialect.Config
	options *Options // nil: without a handshake
}

// Shutdown does nothing: everything comes over connections.
func (*forward) Shutdown(context.Context) error { return nil }

// Open makes the handshake and opens a session. See [dialect.Dialect].
func (d *forward) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	t, err := d.open(ctx, c, in)
	if err != nil {
		return nil, quiet(err)
	}
	return t, nil
}

// quiet returns nil for an error that only says that the connection has ended.
func quiet(err error) error {
	if errors.Is(err, errSilent) || errors.Is(err, dialect.ErrDrained) {
		return nil
	}
	return err
}

func (d *forward) open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (*taking, error) {
	c.Codec = d.Codecs["msgpack"]
	user := ""
	if d.options != nil {
		var err error
		if user, err = d.options.handshake(ctx, c); err != nil {
			return nil, err
		}
	}
	session, err := in.Open(ctx, dialect.Credentials{User: user})
	if err != nil {
		return nil, err
	}
	return &taking{d: d, c: c, session: session, walker: newWalker()}, nil
}

// A taking receives the messages of one connection. It holds memory beside the
// connection's: see [dialect.Holder].
type taking struct {
	d       *forward
	c       *dialect.Conn
	session dialect.Session
	walker  walker // of the current message

	writer dialect.Writer // for messages without a chunk; nil until needed
	topic  string         // of the writer

	// batch holds the records of single-record messages that are still buffered.
	batch   dialect.WriteBatch
	single  *entries // nil until needed
	waiting int      // their bytes
}

// Scratch implements [dialect.Holder].
func (t *taking) Scratch() int {
	n := 24*cap(t.batch.Records) + 8*cap(t.batch.Times)
	if t.single != nil {
		n += t.single.scanner.Scratch()
	}
	return n
}

// Release implements [dialect.Holder].
func (t *taking) Release() { t.single, t.batch = nil, dialect.WriteBatch{} }

// Close implements [dialect.Serving].
func (t *taking) Close(err error) error {
	if t.writer != nil {
		t.writer.Close()
	}
	return quiet(err)
}

// Serve takes messages until the connection ends. See [dialect.Serving].
func (t *taking) Serve(ctx context.Context) error {
	for {
		if err := t.buffered(ctx); err != nil {
			return err
		}
		if err := t.c.More(ctx, len(t.c.Buffered()) > 0, t); err == io.EOF {
			return t.end()
		} else if err != nil {
			return err
		}
	}
}

// buffered takes the messages that have come as a whole.
func (t *taking) buffered(ctx context.Context) error {
	w := &t.walker
	for {
		buf := t.c.Buffered()[t.waiting:]
		if w.at == 0 && len(buf) > 0 && buf[0] == 0xc0 { // a heartbeat
			if err := t.flush(ctx); err != nil {
				return err
			}
			t.c.Discard(1)
			continue
		}
		if w.at == 0 && len(buf) > 0 && !isArray(buf[0]) {
			return errors.Join(t.flush(ctx), t.malformed(errors.New("want an array")))
		}
		whole, err := w.walk(buf)
		switch {
		case err != nil:
			return errors.Join(t.flush(ctx), t.malformed(err))
		case whole:
			if err := t.message(ctx, buf[:w.at]); err != nil {
				return err
			}
			*w = newWalker()
			continue
		case w.at > maxMessage || len(buf) > maxMessage:
			return errors.Join(t.flush(ctx), &fault.Error{
				Code: fault.TooLarge, At: t.c.Offset(),
				Text: fmt.Sprintf("a message of more than %d bytes", maxMessage),
				Hint: "let chunk_limit_size be 8m",
			})
		}
		if err := t.flush(ctx); err != nil {
			return err
		}
		t.c.MaxMessage = min(max(w.at, 2*len(t.c.Buffered())), maxMessage) + maxAround
		return nil
	}
}

// end returns a fault if the connection ends within a message.
func (t *taking) end() error {
	if n := len(t.c.Buffered()); n > 0 {
		return &fault.Error{Code: fault.Truncated, At: t.c.Offset() + int64(n), Text: "the connection ended within a message; nothing of it was taken"}
	}
	return nil
}

// malformed returns the fault for bytes that are not a message.
func (t *taking) malformed(err error) error {
	return &fault.Error{
		Code: fault.Malformed, At: t.c.Offset() + int64(t.waiting), Err: err,
		Text: fmt.Sprintf("Fluent Forward: %v; what was sent from here on was not taken", err),
	}
}

// message takes a complete message, which is buffered.
func (t *taking) message(ctx context.Context, b []byte) error {
	m, err := parse(b)
	if err != nil {
		return errors.Join(t.flush(ctx), t.malformed(err))
	}
	if m.single && m.chunk == nil {
		return t.one(ctx, m, len(b))
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	if err := t.many(ctx, m); err != nil {
		return err
	}
	if m.chunk != nil {
		if _, err := t.c.Write(append([]byte("\x81\xa3ack"), m.chunk...)); err != nil {
			return err
		}
	}
	t.c.Discard(len(b))
	return nil
}

// one adds a single-record message to the batch.
func (t *taking) one(ctx context.Context, m message, size int) error {
	topic := topic(m.tag)
	if t.writer == nil || topic != t.topic || len(t.batch.Records) >= maxTogether {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	if err := t.open(ctx, topic); err != nil {
		return err
	}
	if t.single == nil {
		t.single = newEntries(t.d.Codecs["msgpack"], t.d.Limits())
		t.batch.Codec = t.single
	}
	at := t.c.Offset() + int64(t.waiting)
	record, time, err := t.single.scanner.alone(m.entries)
	if err != nil {
		t.batch.Bad = append(t.batch.Bad, dialect.Bad{Index: len(t.batch.Records), At: at, Err: dialect.FaultOf(err, at)})
	}
	t.batch.Records, t.batch.Times = append(t.batch.Records, record), append(t.batch.Times, time)
	t.waiting += size
	return nil
}

// flush takes the batch.
func (t *taking) flush(ctx context.Context) error {
	if t.waiting == 0 {
		return nil
	}
	_, err := t.writer.Take(ctx, &t.batch, nil)
	t.c.Discard(t.waiting)
	t.batch.Records, t.batch.Bad, t.batch.Times, t.waiting = t.batch.Records[:0], t.batch.Bad[:0], t.batch.Times[:0], 0
	return err
}

// open opens the writer of a topic.
func (t *taking) open(ctx context.Context, topic string) error {
	if t.writer != nil && topic == t.topic {
		return nil
	}
	w, err := t.session.Write(ctx, dialect.WriteRequest{Dialect: name, Topic: topic})
	if err != nil {
		return err
	}
	if t.writer != nil {
		t.writer.Close()
	}
	t.writer, t.topic = w, topic
	return nil
}

// many takes the records of a message.
func (t *taking) many(ctx context.Context, m message) (err error) {
	var (
		w       dialect.Writer
		settled int // of them, before
	)
	if m.chunk == nil {
		if err := t.open(ctx, topic(m.tag)); err != nil {
			return err
		}
		w = t.writer
	} else {
		sum := sha256.Sum256(m.entries)
		w, err = t.session.Write(ctx, dialect.WriteRequest{
			Dialect: name, Topic: topic(m.tag), Key: "forward\x00" + string(m.id) + "\x00" + string(sum[:]),
		})
		if err != nil {
			return err
		}
		defer w.Close()
		settled = int(w.Claim().Next - 1)
	}
	format := newEntries(t.d.Codecs["msgpack"], t.d.Limits())
	if m.single {
		return t.takeOne(ctx, w, format, m, settled)
	}
	var source dialect.Source = dialect.NewChunk(m.entries)
	if m.compression != "" {
		body, err := t.unpack(ctx, m)
		if err != nil {
			return err
		}
		defer body.Close()
		source = body
	}
	q := dialect.NewSequence(source, format, t.d.Limits())
	found := 0
	err = q.Each(ctx, func(b *dialect.WriteBatch) error {
		b.Times = format.scanner.takeTimes()
		from := min(max(settled-found, 0), len(b.Records))
		if found += len(b.Records); from == len(b.Records) {
			return nil
		}
		_, err := w.Take(ctx, b.From(from), nil)
		return err
	})
	var f *fault.Error
	if errors.As(err, &f) && q.Ends(f) { // it was rejected, which settles it
		return nil
	}
	return err
}

// takeOne takes a single-record message.
func (t *taking) takeOne(ctx context.Context, w dialect.Writer, format *entries, m message, settled int) error {
	if settled > 0 {
		return nil
	}
	at := t.c.Offset()
	record, time, err := format.scanner.alone(m.entries)
	b := dialect.WriteBatch{Codec: format, Records: [][]byte{record}, Times: []int64{time}}
	if err != nil {
		b.Bad = []dialect.Bad{{At: at, Err: dialect.FaultOf(err, at)}}
	}
	_, err = w.Take(ctx, &b, nil)
	return err
}

// unpack returns the decompressed entries of a message.
func (t *taking) unpack(ctx context.Context, m message) (*dialect.Body, error) {
	if err := t.c.Own().BeginLong(ctx); err != nil {
		return nil, err
	}
	plain, needs, err := unpack.New("the chunk", m.compression, bytes.NewReader(m.entries))
	if err != nil {
		return nil, err
	}
	return t.c.Own().NewBody(ctx, plain, needs, func(time.Time) error { return nil })
}

// alone finds the record in the content of a single-record message: a time and a record.
func (s *scanner) alone(b []byte) (record []byte, time int64, err error) {
	c := &cutter{rest: b}
	if time, err = eventTime(c.item()); err != nil {
		return c.rest, store.UnknownTime, &codec.SyntaxError{Codec: s.cd.Name(), Code: fault.Malformed, Msg: err.Error()}
	}
	if len(c.rest) > s.limits.RecordBytes {
		err := s.tooLarge()
		s.takeTimes()
		return c.rest, store.UnknownTime, err
	}
	return c.rest, time, s.check(c.rest)
}
