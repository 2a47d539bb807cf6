package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

const (
	// ownRows is how many records of a connection that can't be read are rows of
	// their own in the topic _rejected, where nobody waits for their numbers. Those
	// after them are one row.
	ownRows = 16

	foldedBytes = 1 << 10         // of the first record of that row that are kept
	foldTime    = 5 * time.Second // that storing it may take
)

// row returns what is stored of a record that was rejected, or nil where it is folded
// into a row of the connection. offset is where its fault is, -1 where there is no
// place. What takes a number is a row in any case, if only of its code, or of nothing
// where that is the code of the row before: the acknowledgement speaks for it. Where
// there is no room for that either, the record has to wait.
func (w *writer) row(format string, record []byte, f *fault.Error, offset int64, number uint64) ([]byte, error) {
	numbered := !w.producer.IsZero()
	readable := f.Code == fault.Handler || f.Code == fault.Internal
	about := min(len(record), rejection.MaxBytes) + len(f.Text) + rowBytes
	if (numbered || readable || w.rows < ownRows) && w.session.s.quota.take(w.session, numbered, about, 0) {
		w.rows++
		r := rejection.Of(record)
		r.Code, r.Reason, r.Text, r.Offset = f.Code, f.Reason, f.Told(), offset
		r.Topic, r.Principal, r.Producer, r.Number = w.topic, w.session.named(), w.producer.Name, number
		r.Dialect, r.Format, r.Peer, r.Time = w.dialect, format, w.session.peer, time.Now()
		row, err := r.Append(nil)
		if err != nil {
			return nil, &fault.Error{Code: fault.Internal, Text: "the rejection can't be stored", At: -1, Err: err}
		}
		return row, nil
	}
	if !numbered {
		w.folded.add(w, format, record, f)
		return nil, nil
	}
	row := rejection.OfCode(f.Code)
	if number == w.bare.number+1 && f.Code == w.bare.code {
		row = rejection.Same
	}
	if !w.session.s.quota.take(w.session, numbered, len(row), summaries) {
		return nil, &fault.Error{
			Code: fault.Unavailable, At: -1, Retry: retryLimit,
			Text: "more records of this peer were rejected lately than there is room for",
			Hint: "find out why they are rejected",
		}
	}
	w.bare.number, w.bare.code = number, f.Code
	return row, nil
}

// A bare is the last number whose row is at most its code.
type bare struct {
	number uint64
	code   fault.Code
}

// A folded is records of a connection that were rejected and are one row together: those
// since the row before. It is stored in bounded time, so that neither the end of the
// server nor a connection that has none loses it.
type folded struct {
	storing sync.Mutex // held while a row is stored

	mu     sync.Mutex
	batch  foldedBatch
	timer  *time.Timer   // of the next row; nil where there is none to come
	pause  time.Duration // until it is stored
	closed bool
}

// A foldedBatch is what is told of records in one row.
type foldedBatch struct {
	count  int
	size   int64
	code   fault.Code // of the first
	text   string
	format string
	first  []byte
}

const (
	firstFold = 5 * time.Second // until the row of the first records is stored
	lastFold  = 5 * time.Minute // likewise, at most: each time it is twice as long
)

// add folds a record into the next row of w's connection.
func (f *folded) add(w *writer, format string, record []byte, why *fault.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &f.batch
	if b.count == 0 {
		b.code, b.text, b.format = why.Code, why.Told(), format
		b.first = append([]byte(nil), record[:min(len(record), foldedBytes)]...)
	}
	b.count++
	b.size += int64(len(record))
	f.arm(w)
}

// arm sets the timer where it is not set. f.mu is held.
func (f *folded) arm(w *writer) {
	if f.timer == nil && !f.closed {
		f.pause = min(max(2*f.pause, firstFold), lastFold)
		f.timer = time.AfterFunc(f.pause, func() { f.store(w) })
	}
}

// close stores what there is, and waits for what is being stored.
func (f *folded) close(w *writer) {
	f.mu.Lock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.store(w)
}

// store stores the row of the records since the last one, if there are any.
func (f *folded) store(w *writer) {
	f.storing.Lock()
	defer f.storing.Unlock()
	f.mu.Lock()
	b := f.batch
	f.batch, f.timer = foldedBatch{}, nil
	f.mu.Unlock()
	if b.count == 0 {
		return
	}
	err := w.storeFolded(&b)
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		w.session.s.log(slog.LevelError, "rejected records are not kept", "remote", w.session.peer, "count", b.count, "error", err)
		return
	}
	b.count, b.size = b.count+f.batch.count, b.size+f.batch.size
	f.batch = b
	f.arm(w)
}

func (w *writer) storeFolded(f *foldedBatch) error {
	r := rejection.Rejection{
		Code: f.code, Offset: -1, Topic: w.topic, Principal: w.session.named(), Dialect: w.dialect, Format: f.format, Peer: w.session.peer, Time: time.Now(),
		Text: fmt.Sprintf("%d records of the connection, of which this is the first: %s", f.count, f.text),
		Size: int(f.size), Bytes: f.first, Folded: f.count,
	}
	row, err := r.Append(nil)
	if err != nil {
		return err
	}
	if !w.session.s.quota.take(w.session, false, len(row)+rowBytes, summaries) {
		return nil // they are counted, and have been logged
	}
	b := &store.Block{
		Topic: store.Rejected, Codec: rejection.Codec.Name(), Peer: w.session.peer, Received: time.Now(), Principal: w.session.principal,
	}
	b.Add(row)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.session.s.ctx), foldTime)
	defer cancel()
	return w.session.s.store.Append(ctx, b)[0].Err
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// What is kept of rejected records is bounded for each peer, so that none fills more
// than half of the room that the topic _rejected has by default in the week that it
// keeps, and for all who have no producer together. What no acknowledgement speaks for
// is kept only while less than half of that room is taken, so that it never pushes out
// what one does.
const (
	peerBytes   = 16 << 20 // of rows, at once, and in each day
	commonBytes = 64 << 20 // likewise, of those without a producer, at once and in each week
	summaries   = 2 << 20  // beyond that, for what is folded

	rowBytes   = 400  // that a row is longer than its record and text, and costs where it is stored
	quotaPeers = 4096 // that are told apart

	measureTime = 10 * time.Second // how often the room that is taken is looked up
)

// A quota bounds what is kept of the records that were rejected. The zero quota is
// ready to use.
type quota struct {
	mu     sync.Mutex
	peers  map[string]*bucket // guarded by mu
	common bucket             // guarded by mu
	swept  time.Time          // guarded by mu

	measured time.Time // guarded by mu
	taken    float64   // of the topic's room, as it was measured and with what came since; guarded by mu
}

// A bucket is what was kept lately.
type bucket struct {
	used float64
	at   time.Time
}

// leak forgets what time allows, of size bytes in each period.
func (b *bucket) leak(now time.Time, size float64, period time.Duration) {
	b.used = max(0, b.used-size*float64(now.Sub(b.at))/float64(period))
	b.at = now
}

const day = 24 * time.Hour

// take reports whether a row of n bytes may be kept, of a peer, and charges it. more is
// what may be kept beyond the bounds.
func (q *quota) take(in *session, numbered bool, n int, more float64) bool {
	peer, now := in.follower(), time.Now()
	limit := float64(in.s.store.Limits().RejectedBytes)
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.peer(peer, now)
	cost := float64(n)
	if !numbered && limit > 0 {
		q.measure(in.s, now)
		if q.taken+cost > limit/2+min(more, limit/8) {
			return false
		}
	}
	b.leak(now, peerBytes, day)
	q.common.leak(now, commonBytes, 7*day)
	if b.used+cost > peerBytes+more || !numbered && q.common.used+cost > commonBytes+more {
		return false
	}
	b.used += cost
	q.taken += cost
	if !numbered {
		q.common.used += cost
	}
	return true
}

// measure looks up what room is taken, where that was some time ago. q.mu is held, but
// not meanwhile.
func (q *quota) measure(s *Server, now time.Time) {
	if now.Sub(q.measured) < measureTime {
		return
	}
	q.measured = now
	q.mu.Unlock()
	topics, err := s.store.Topics(s.ctx, store.Rejected)
	q.mu.Lock()
	if err != nil {
		return // of a store that fails, which takes no rows
	}
	q.taken = 0
	for _, t := range topics {
		q.taken = float64(t.Bytes)
	}
}

// peer returns the bucket of a peer. Those that do not fit share one. q.mu is held.
func (q *quota) peer(name string, now time.Time) *bucket {
	if b := q.peers[name]; b != nil {
		return b
	}
	if len(q.peers) >= quotaPeers && now.Sub(q.swept) > time.Minute {
		q.swept = now
		for name, b := range q.peers {
			if b.leak(now, peerBytes, day); b.used == 0 {
				delete(q.peers, name)
			}
		}
	}
	if len(q.peers) >= quotaPeers {
		name = ""
		if b := q.peers[name]; b != nil {
			return b
		}
	}
	if q.peers == nil {
		q.peers = make(map[string]*bucket)
	}
	b := &bucket{at: now}
	q.peers[name] = b
	return b
}

// logLoss says that a writer went on where the store has less than it promised.
func (s *Server) logLoss(in *session, w *writer, r store.ClaimRequest) {
	s.log(slog.LevelError, "records are lost: the producer goes on where the store has less than it promised",
		"topic", w.topic, "producer", w.producer.Name, "remote", in.peer,
		"acked", r.Acked, "first", r.First, "next", w.claim.Next)
}
