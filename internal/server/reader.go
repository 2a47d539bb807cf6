package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
)

// A reader delivers records to one connection: see [dialect.Reader].
type reader struct {
	s      *Server
	cursor store.CursorName // the zero value if no position is saved
	epoch  uint64           // of the cursor's claim
	start  store.Position   // as told to the peer
	first  bool             // begin with the oldest record; trimmed ones before it are no error
	at     store.Position   // where Batches continues
	opts   store.ReadOptions
	give   converter
	filter *filtered // nil: all records are given

	follower string // in whose name the topics are counted
	unfence  func() bool
}

// maxCursor is the longest name of a cursor together with its subscription, in bytes.
const maxCursor = 512

// Read implements [dialect.Session].
func (in *session) Read(ctx context.Context, q dialect.ReadRequest) (dialect.Reader, error) {
	s := in.s
	for _, pattern := range q.Topics {
		if err := in.mayRead(pattern); err != nil {
			return nil, err
		}
	}
	if err := in.used(); err != nil {
		return nil, err
	}
	worker := q.Worker
	if worker == nil {
		worker = in.conn.Worker()
	}
	room := worker.Room()
	topics := slices.Compact(slices.Sorted(slices.Values(q.Topics)))
	r := &reader{
		s: s, follower: in.follower(),
		opts: store.ReadOptions{Topics: topics, Follow: q.Follow, Progress: q.Progress, Room: room},
		give: converter{codecs: s.codecs, conn: in.conn, forms: q.Forms, room: room.Beside()},
	}
	if q.Filtering != nil {
		ahead := in.conn.Worker().Room() // of the goroutine that reads the store
		r.opts.Room = ahead
		r.filter = &filtered{Filtering: *q.Filtering, codecs: s.codecs, held: ahead.Beside(), every: q.Progress}
	}
	if f := s.followed.take(r.follower, len(topics)); f != nil {
		return nil, f
	}
	if err := r.open(ctx, in, q); err != nil {
		s.followed.give(r.follower, len(topics))
		return nil, err
	}
	if !r.first {
		r.at = r.start
	}
	return r, nil
}

// mayRead returns an error if the session may not read all topics of a pattern.
func (in *session) mayRead(pattern string) error {
	if err := store.CheckPattern(pattern); err != nil {
		return &fault.Error{Code: fault.Topic, At: -1, Text: err.Error(), Err: err}
	}
	return in.allow(access.Read, pattern)
}

// open finds the position where reading begins.
func (r *reader) open(ctx context.Context, in *session, q dialect.ReadRequest) (err error) {
	if q.Cursor == "" {
		r.start, r.first, err = r.s.position(ctx, q.From)
		return err
	}
	if len(q.Cursor)+len(q.Subscription) > maxCursor {
		return &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("a cursor's name and subscription of more than %d bytes", maxCursor)}
	}
	r.cursor = store.CursorName{Principal: in.principal, Name: q.Cursor, Subscription: q.Subscription}
	return r.claim(ctx, in, q)
}

// claim claims the cursor. A new cursor is saved at the position where reading begins, so
// that a reader which fails before its first commit misses nothing.
func (r *reader) claim(ctx context.Context, in *session, q dialect.ReadRequest) error {
	in.worker.Rest()
	request := store.CursorRequest{Attempt: q.Attempt}
	_, known, err := r.s.store.Cursor(ctx, r.cursor)
	if err != nil {
		return faultOfStore(ctx, err)
	}
	first := false
	if !known {
		if request.From, first, err = r.s.position(ctx, q.From); err != nil {
			return err
		}
	}
	claim, err := r.s.cursors.claim(ctx, r.s.store, r.cursor, request)
	if errors.Is(err, store.ErrStale) {
		return stale("a later attempt has the cursor")
	}
	if err != nil {
		return faultOfStore(ctx, err)
	}
	r.epoch, r.start, r.first = claim.Epoch, claim.Position, first && claim.New
	r.watch(claim, q.Fence)
	return nil
}

// watch calls fence when the claim is lost.
func (r *reader) watch(claim store.CursorClaim, fence func(*fault.Error)) {
	r.unfence = onFence(claim.Fenced, fence)
}

// position returns the position that a peer names as from, and whether it means the
// oldest record.
func (s *Server) position(ctx context.Context, from string) (_ store.Position, first bool, _ error) {
	where, err := point.Parse(from)
	if err != nil {
		return store.Position{}, false, &fault.Error{Code: fault.Malformed, At: -1, Text: "from: " + err.Error(), Err: err}
	}
	p, err := where.In(ctx, s.store)
	first = p.IsZero()
	switch {
	case err != nil:
	case first: // the peer must be told an actual position
		p, err = s.store.Seek(ctx, time.Unix(0, 0))
	default:
		err = s.store.CheckPosition(ctx, p)
	}
	if err != nil {
		return p, false, faultOfStore(ctx, err)
	}
	return p, first, nil
}

// Start implements [dialect.Reader].
func (r *reader) Start() store.Position { return r.start }

// Batches implements [dialect.Reader].
func (r *reader) Batches(ctx context.Context) iter.Seq2[dialect.Part, error] {
	return func(use func(dialect.Part, error) bool) {
		yield := func(p dialect.Part, err error) bool {
			if !p.Next.IsZero() {
				r.at = p.Next
			}
			return use(p, err)
		}
		if r.filter != nil {
			r.filter.parts(ctx, &r.give, r.blocks, yield)
			return
		}
		for b, err := range r.blocks(ctx) {
			if err == nil && b.Block != nil {
				if !r.give.parts(ctx, b, yield) {
					return
				}
			} else if !yield(dialect.Part{ReadBatch: b}, err) {
				return
			}
		}
	}
}

// blocks yields what the store has, with errors for the peer.
func (r *reader) blocks(ctx context.Context) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		for b, err := range r.s.store.Read(ctx, r.at, r.opts) {
			var (
				damage  *store.DamageError
				trimmed *store.TrimmedError
			)
			if err != nil && !errors.As(err, &damage) && !errors.As(err, &trimmed) {
				err = faultOfStore(ctx, err)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// Alert implements [dialect.Reader].
func (r *reader) Alert(f func()) (stop func()) {
	a, ok := r.s.store.(store.Alerter)
	if !ok {
		return nil
	}
	r.opts.Follow = false
	unalert := a.Alert(r.opts.Topics, f)
	return func() {
		unalert()
		r.opts.Follow = true
	}
}

// Commit implements [dialect.Reader].
func (r *reader) Commit(ctx context.Context, p store.Position) error {
	if err := store.CheckIndex(ctx, r.s.store, p); err != nil {
		return &fault.Error{Code: fault.Malformed, At: -1, Text: "commit: " + err.Error(), Err: err}
	}
	if err := r.s.store.Commit(ctx, r.cursor, r.epoch, p); err != nil {
		return faultOfStore(ctx, err)
	}
	return nil
}

// Close implements [dialect.Reader].
func (r *reader) Close() {
	if r.cursor != (store.CursorName{}) {
		r.unfence()
		r.s.cursors.release(r.s.store, r.cursor, r.epoch)
	}
	r.s.followed.give(r.follower, len(r.opts.Topics))
}
