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
	// ownRows is how many unreadable, unnumbered records of a connection get a row each
	// in the topic _rejected. Those after them share rows.
	ownRows = 16

	foldedBytes = 1 << 10         // of the first record of a shared row that are kept
	foldTime    = 5 * time.Second // for storing a shared row
)

// row returns the row that is stored for a rejected record, or nil if the record joins a
// shared row of the connection. offset is the place of the fault, or -1.
//
// A numbered record always has a row of its own, since the acknowledgement covers its
// number. If the quota does not allow a full row, it holds the code alone, or nothing if
// the code is that of the row before. If there is no room even for that, row returns an
// error and the sender has to wait.
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

// A bare is the last number whose row holds its code at most.
type bare struct {
	number uint64
	code   fault.Code
}

// A folded collects the rejected records of a connection that share a row. The row is
// stored after a bounded time, so that neither the end of the server nor a connection
// that never ends loses it.
type folded struct {
	storing sync.Mutex // held while a row is stored

	mu     sync.Mutex
	batch  foldedBatch
	timer  *time.Timer   // stores the next row; nil if there is none
	pause  time.Duration // until it is stored
	closed bool
}

// A foldedBatch describes the records of a shared row.
type foldedBatch struct {
	count  int
	size   int64
	code   fault.Code // of the first
	text   string
	format string
	first  []byte
}

const (
	firstFold = 5 * time.Second // until the first shared row is stored
	lastFold  = 5 * time.Minute // the longest pause; each is twice as long as the one before
)

// add adds a record to the next shared row of w's connection.
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

// arm sets the timer, unless it is set. f.mu is held.
func (f *folded) arm(w *writer) {
	if f.timer == nil && !f.closed {
		f.pause = min(max(2*f.pause, firstFold), lastFold)
		f.timer = time.AfterFunc(f.pause, func() { f.store(w) })
	}
}

// close stores the last row, and waits for one that is being stored.
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

// Quotas of rejected records. No peer may fill more than half of the room that the topic
// _rejected has by default in the week that it keeps, and neither may all peers without a
// producer together. A row that no acknowledgement speaks for is kept only while less
// than half of that room is taken, so that it never displaces one that an acknowledgement
// does speak for.
const (
	peerBytes   = 16 << 20 // of rows, at once and per day
	commonBytes = 64 << 20 // of rows without a producer, at once and per week
	summaries   = 2 << 20  // in addition, for rows of a code at most

	rowBytes   = 400  // added to the length of the record and the text
	quotaPeers = 4096 // peers that are kept apart

	measureTime = 10 * time.Second // how often the room taken is looked up
)

// A quota bounds how many bytes of rejected records are kept. The zero quota is ready to
// use.
type quota struct {
	mu     sync.Mutex
	peers  map[string]*bucket // guarded by mu
	common bucket             // guarded by mu
	swept  time.Time          // guarded by mu

	measured time.Time // guarded by mu
	taken    float64   // bytes of the topic, as last measured, and added since; guarded by mu
}

// A bucket counts the bytes that were kept lately.
type bucket struct {
	used float64
	at   time.Time
}

// leak reduces the count as time passes: by size bytes per period.
func (b *bucket) leak(now time.Time, size float64, period time.Duration) {
	b.used = max(0, b.used-size*float64(now.Sub(b.at))/float64(period))
	b.at = now
}

const day = 24 * time.Hour

// take reports whether a peer's row of n bytes may be kept, and charges the peer. more is
// allowed in addition to the quota.
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

// measure looks up the room taken, if the last figure is old. q.mu is held, except while
// the store is asked.
func (q *quota) measure(s *Server, now time.Time) {
	if now.Sub(q.measured) < measureTime {
		return
	}
	q.measured = now
	q.mu.Unlock()
	topics, err := s.store.Topics(s.ctx, store.Rejected)
	q.mu.Lock()
	if err != nil {
		return // the store fails, and takes no rows either
	}
	q.taken = 0
	for _, t := range topics {
		q.taken = float64(t.Bytes)
	}
}

// peer returns the bucket of a peer. Beyond quotaPeers, peers share one. q.mu is held.
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
