package dictwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/dialect/stream"
	"github.com/dictwire/dictwire/dict"
)

// dialectOf returns the dialect of what a connection speaks, or nil where it is
// not served.
func (s *Server) dialectOf(p dialect.Protocol) dialect.Dialect {
	switch p {
	case dialect.JSON:
		return stream.Dialect{Codec: s.JSON, Limits: s.Limits}
	case dialect.CBOR:
		return stream.Dialect{Codec: cbor.Codec{}, Limits: s.Limits}
	case dialect.MessagePack:
		return stream.Dialect{Codec: msgpack.Codec{}, Limits: s.Limits}
	case dialect.Pickle:
		return stream.Dialect{Codec: pickle.Codec{}, Limits: s.Limits}
	default:
		return nil
	}
}

// serve serves one connection until its end, and closes it. active, where not
// nil, says after the first byte whether to go on.
func (s *Server) serve(c *dialect.Conn, active func() bool) {
	in := &intake{s: s, remote: c.RemoteAddr()}
	err := s.session(c, in, active)
	fault := (*dialect.Error)(nil)
	switch {
	case err == nil, err == io.EOF, errors.Is(err, dialect.ErrDrained), errors.Is(err, net.ErrClosed): // the last is Abort's doing
		err = nil
	case errors.As(err, &fault):
		s.tell(c, fault)
	case c.Silent(): // a probe that was reset
		err = nil
	}
	if closing := c.Close(); err == nil && !errors.Is(closing, net.ErrClosed) {
		err = closing
	}
	in.ended(err)
}

// session tells what the connection speaks and serves that. A panic ends the
// connection, not the server.
func (s *Server) session(c *dialect.Conn, in *intake, active func() bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &dialect.Error{Code: dialect.Internal, Text: "internal error", Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	p, err := c.Sniff(s.ctx, func() bool {
		if active != nil && !active() {
			return false
		}
		s.stats.connections.Add(1)
		return true
	})
	if err != nil {
		return err
	}
	in.protocol = p
	d := s.dialectOf(p)
	if d == nil {
		return &dialect.Error{
			Code: dialect.Unsupported,
			Text: fmt.Sprintf("this is %s, which this server does not speak yet", p),
			Hint: "send a bare sequence of JSON, CBOR, MessagePack or pickle",
		}
	}
	return d.Serve(s.ctx, c, in)
}

// tell writes a fault to the peer.
func (s *Server) tell(c *dialect.Conn, fault *dialect.Error) {
	cd := c.Codec
	if cd == nil {
		cd = json.Codec{}
	}
	_ = c.Reply(cd, fault.Dict()) // Close reports what Flush says
}

// maxLogged is how many refused records of one connection are logged.
const maxLogged = 16

// An intake takes in the records of one connection.
type intake struct {
	s        *Server
	remote   net.Addr
	protocol dialect.Protocol
	refused  int
}

// Take gives each record to the handler. See [dialect.Intake].
func (in *intake) Take(ctx context.Context, b *dialect.Batch, answer func(dialect.Answer) error) error {
	s := in.s
	taken, bytes := 0, 0
	defer func() {
		s.stats.records.Add(int64(taken))
		s.stats.bytes.Add(int64(bytes))
	}()
	for _, record := range b.Records {
		if s.Handler != nil || codec.FramesOnly(b.Codec) {
			a, err := in.handle(ctx, b, record)
			if err != nil {
				return err
			}
			if a.Err != nil {
				in.refuse(b.Dialect, b.Codec.Name(), a.Err)
			}
			if a.Err != nil || a.Reply != nil {
				if err := answer(a); err != nil {
					return err
				}
			}
			if a.Err != nil {
				continue
			}
		}
		taken++
		bytes += len(record)
	}
	return nil
}

// Records smaller than freeDecoding bytes are not counted when they are decoded.
const freeDecoding = 4 << 10

// decodingCost returns how many bytes of memory decoding takes for each byte of a
// record at most: two nodes of 16 bytes for each item, of which there are no more
// than bytes. Where the scanner only frames, the decoder needs 128 more.
func decodingCost(c codec.Codec) int64 {
	if codec.FramesOnly(c) {
		return 160
	}
	return 32
}

// handle decodes one record, where only that tells whether it is good, and lets
// the handler see it.
func (in *intake) handle(ctx context.Context, b *dialect.Batch, record []byte) (a dialect.Answer, err error) {
	s := in.s
	if len(record) >= freeDecoding {
		n := min(decodingCost(b.Codec)*int64(len(record)), s.decodingMemory)
		if err := s.decoding.Acquire(ctx, n); err != nil {
			return a, context.Cause(ctx)
		}
		defer s.decoding.Release(n)
	}
	r := &Request{Codec: b.Codec, Dialect: b.Dialect, RemoteAddr: in.remote, Bytes: record, limits: s.Limits}
	if codec.FramesOnly(b.Codec) {
		if r.dict, err = b.Codec.Decode(record, s.Limits); err != nil {
			fault := dialect.FaultOf(err, 0)
			fault.At = -1 // what its text says counts from the record's first byte
			return dialect.Answer{Err: fault}, nil
		}
		if s.Handler == nil {
			return a, nil
		}
	}
	reply, err := in.call(ctx, r)
	if err != nil {
		fault := (*dialect.Error)(nil)
		if !errors.As(err, &fault) {
			fault = &dialect.Error{Code: dialect.Handler, Text: err.Error(), At: -1, Err: err}
		}
		return dialect.Answer{Err: fault}, nil
	}
	return dialect.Answer{Reply: reply}, nil
}

// call calls the handler. A panic of it is an error.
func (in *intake) call(ctx context.Context, r *Request) (reply *dict.Dict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &dialect.Error{
				Code: dialect.Internal, Text: "the handler failed", At: -1,
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return in.s.Handler.Handle(ctx, r)
}

// Reject takes note of bytes that are no record. See [dialect.Intake].
func (in *intake) Reject(_ context.Context, r *dialect.Rejection) {
	in.refuse(r.Dialect, r.Codec.Name(), r.Err)
}

func (in *intake) refuse(dialectName, format string, fault *dialect.Error) {
	in.s.stats.rejected.Add(1)
	if in.refused++; in.refused > maxLogged {
		return
	}
	in.s.log(slog.LevelWarn, "record refused", append([]any{
		"remote", in.remote.String(), "dialect", dialectName, "format", format,
	}, faultAttrs(fault)...)...)
}

// ended logs what is to be said at the connection's end.
func (in *intake) ended(err error) {
	if more := in.refused - maxLogged; more > 0 {
		in.s.log(slog.LevelWarn, "more records refused", "remote", in.remote.String(), "count", more)
	}
	fault := (*dialect.Error)(nil)
	switch {
	case err == nil:
	case errors.As(err, &fault):
		if in.protocol == dialect.Unknown || in.refused == 0 { // else it has been logged as a record's fault
			in.s.log(slog.LevelWarn, "connection ended", append([]any{"remote", in.remote.String()}, faultAttrs(fault)...)...)
		}
	default:
		in.s.log(slog.LevelWarn, "connection broke", "remote", in.remote.String(), "error", err)
	}
}

func faultAttrs(f *dialect.Error) []any {
	attrs := []any{"code", string(f.Code), "error", f.Text}
	if f.Hint != "" {
		attrs = append(attrs, "hint", f.Hint)
	}
	if f.Code == dialect.Internal && f.Err != nil {
		attrs = append(attrs, "cause", f.Err)
	}
	return attrs
}

func (s *Server) log(level slog.Level, msg string, attrs ...any) {
	if s.Logger != nil {
		s.Logger.Log(context.Background(), level, msg, attrs...)
	}
}
