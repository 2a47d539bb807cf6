package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// An intake is the server as one connection sees it: see [dialect.Intake].
type intake struct {
	s        *Server
	conn     *dialect.Conn
	endpoint *endpoint
	remote   net.Addr
	peer     string // remote, as text

	use     func() error    // nil: see used
	serving dialect.Serving // nil: not opened

	mu      sync.Mutex
	refused int                             // rejected records; guarded by mu
	credit  int                             // see count; guarded by mu
	grants  map[context.Context]func() bool // see endWith; guarded by mu
}

// newIntake returns the intake of a connection. active, if not nil, is called by used.
func newIntake(s *Server, c *dialect.Conn, e *endpoint, active func() bool) *intake {
	in := &intake{s: s, conn: c, endpoint: e, remote: c.RemoteAddr(), peer: c.RemoteAddr().String()}
	if active != nil {
		in.use = sync.OnceValue(func() error {
			if !active() {
				return net.ErrClosed
			}
			return nil
		})
	}
	return in
}

// used notes that the connection has begun to send or read records, beyond a greeting. It
// returns an error if the server serves one connection only, and that is another one.
func (in *intake) used() error {
	if in.use == nil {
		return nil
	}
	return in.use()
}

const (
	// faultPrice is how many good records outweigh a bad one.
	faultPrice = 64
	// maxCredit bounds the credit of a peer, up and down.
	maxCredit = 64 * faultPrice
)

// settled counts good and bad records for and against the peer.
func (in *intake) settled(good, bad int) {
	n := good - faultPrice*bad
	in.count(func(credit int) int { return credit + n })
	in.conn.Credit(n)
}

// vouch notes that the peer is known from another connection.
func (in *intake) vouch() { in.count(func(credit int) int { return max(credit, 1) }) }

// count changes the peer's credit. A peer with positive credit, most of whose records
// were good, is known; the others wait for turns and share less memory: see [lease.Pot].
func (in *intake) count(change func(int) int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.credit = min(max(change(in.credit), -maxCredit), maxCredit)
	in.conn.SetKnown(in.credit > 0)
}

// retryAfter is how long a peer should wait after the store was unavailable.
const retryAfter = 500 * time.Millisecond

// retryLimit is how long a peer should wait after it reached a limit on names.
const retryLimit = time.Minute

// faultOfStore returns the fault that a peer is told for an error of the store, or the
// cause of ctx if ctx has ended.
func faultOfStore(ctx context.Context, err error) error {
	var (
		lost     *store.LostError
		limit    *store.LimitError
		sequence *store.SequenceError
	)
	f := &fault.Error{At: -1, Err: err}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &lost):
		f.Code, f.Next = fault.Lost, lost.Next
		f.Text = fmt.Sprintf("the server has less than it promised: it wants number %d", lost.Next)
		if lost.GivenUp > 0 {
			f.Text = fmt.Sprintf("not all records below number %d were stored: another session gave them up", lost.GivenUp)
		}
		f.Hint = `find out why (a backup, another store?), then go on with "accept_lost":true`
	case errors.Is(err, store.ErrStale):
		f = stale("a later attempt has the producer")
	case errors.Is(err, store.ErrFenced):
		f = fenced()
	case errors.Is(err, store.ErrPosition):
		f.Code, f.Text = fault.Lost, err.Error()
		f.Hint = "the store is another one, or was restored: begin anew with a cursor of another name"
	case errors.Is(err, store.ErrDuplicate), errors.As(err, &sequence):
		// The producer's next number is not the claimed one: another server has moved it,
		// or the outcome of an earlier append was unknown.
		f.Code, f.Retry = fault.Unavailable, retryAfter
		f.Text = "what the store has of the producer has changed: connect again"
	case errors.As(err, &limit):
		f.Code, f.Retry = fault.Unavailable, retryLimit
		f.Text = strings.TrimPrefix(limit.Error(), "store: ")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, fault.Unavailable):
		f.Code, f.Text, f.Retry = fault.Unavailable, "nothing can be stored for now", retryAfter
	default:
		f.Code, f.Text = fault.Internal, "the store failed"
	}
	return f
}

// onFence calls fence, unless it is nil, when a claim is lost. stop prevents the call.
func onFence(claim context.Context, fence func(*fault.Error)) (stop func() bool) {
	return context.AfterFunc(claim, func() {
		if fence != nil {
			fence(fenced())
		}
	})
}

func stale(text string) *fault.Error {
	return &fault.Error{Code: fault.Stale, At: -1, Text: text}
}

func fenced() *fault.Error {
	return &fault.Error{Code: fault.Fenced, At: -1, Text: "another connection has taken over"}
}

// maxLogged is how many refused records of one connection are logged.
const maxLogged = 16

func (in *intake) refuse(dialectName, format string, f *fault.Error) {
	in.mu.Lock()
	in.refused++
	logged := in.refused <= maxLogged
	in.mu.Unlock()
	if !logged {
		return
	}
	in.s.logPeer("record refused", append([]any{
		"remote", in.remote.String(), "dialect", dialectName, "format", format,
	}, faultAttrs(f)...)...)
}

// ended logs how the connection ended, if that is worth a line.
func (in *intake) ended(err error) {
	in.mu.Lock()
	refused := in.refused
	in.mu.Unlock()
	if more := refused - maxLogged; more > 0 {
		in.s.logPeer("more records refused", "remote", in.remote.String(), "count", more)
	}
	f := (*fault.Error)(nil)
	switch {
	case err == nil:
	case errors.As(err, &f) && (f.Code == fault.Shutdown || f.Code == fault.Fenced): // a regular end
	case errors.As(err, &f) && denial(f.Code): // see deny
	case errors.As(err, &f):
		if in.conn.Protocol() == dialect.Unknown || refused == 0 { // otherwise it was logged as a record's fault
			in.s.logPeer("connection ended", append([]any{"remote", in.remote.String()}, faultAttrs(f)...)...)
		}
	default:
		in.s.logPeer("connection broke", "remote", in.remote.String(), "error", err)
	}
}

func faultAttrs(f *fault.Error) []any {
	attrs := []any{"code", string(f.Code), "error", f.Text}
	if f.Hint != "" {
		attrs = append(attrs, "hint", f.Hint)
	}
	if (f.Code == fault.Internal || f.Code == fault.Unavailable) && f.Err != nil {
		attrs = append(attrs, "cause", f.Err)
	}
	return attrs
}

// maxLogRate is how many lines a second the log gets about peers, so that a crowd of them
// neither fills the disk nor waits for the log.
const maxLogRate = 200

// A logRate counts the lines of a second.
type logRate struct {
	mu     sync.Mutex
	second int64
	lines  int
}

// take reports whether one more line may be logged, and how many were dropped in the last
// second with any.
func (r *logRate) take(now time.Time) (ok bool, missed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		missed = max(r.lines-maxLogRate, 0)
		r.second, r.lines = s, 0
	}
	r.lines++
	return r.lines <= maxLogRate, missed
}

// logPeer logs what a peer did.
func (s *Server) logPeer(msg string, attrs ...any) {
	if s.Logger == nil {
		return
	}
	ok, missed := s.logged.take(time.Now())
	if missed > 0 {
		s.log(slog.LevelWarn, "lines about peers were left out", "count", missed)
	}
	if ok {
		s.log(slog.LevelWarn, msg, attrs...)
	}
}

func (s *Server) log(level slog.Level, msg string, attrs ...any) {
	if s.Logger != nil {
		s.Logger.Log(s.ctx, level, msg, attrs...)
	}
}
