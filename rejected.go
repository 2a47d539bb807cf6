package dictwire

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
// into the connection's last row. offset is where its fault is, -1 where there is no
// place. What takes a number is a row in any case, if only of its code: the
// acknowledgement speaks for it.
func (w *writer) row(format string, record []byte, f *fault.Error, offset int64, number uint64) ([]byte, error) {
	numbered := !w.producer.IsZero()
	readable := f.Code == fault.Handler || f.Code == fault.Internal
	about := min(len(record), rejection.MaxBytes) + len(f.Text) + rowBytes
	if (numbered || readable || w.rows < ownRows) && w.in.s.quota.take(w.in, numbered, about, 0) {
		w.rows++
		r := rejection.Of(record)
		r.Code, r.Text, r.Offset = f.Code, f.Told(), offset
		r.Topic, r.Producer, r.Number = w.topic, w.producer.Name, number
		r.Dialect, r.Format, r.Peer, r.Time = w.dialect, format, w.in.peer, time.Now()
		row, err := r.Append(nil)
		if err != nil {
			return nil, &fault.Error{Code: fault.Internal, Text: "the rejection can't be stored", At: -1, Err: err}
		}
		return row, nil
	}
	if numbered {
		return rejection.OfCode(f.Code), nil
	}
	w.folded.add(format, record, f)
	return nil, nil
}

// A folded is records that were rejected and are one row together.
type folded struct {
	count  int
	size   int64
	code   fault.Code // of the first
	text   string
	format string
	first  []byte
}

func (f *folded) add(format string, record []byte, why *fault.Error) {
	if f.count == 0 {
		f.code, f.text, f.format = why.Code, why.Told(), format
		f.first = append([]byte(nil), record[:min(len(record), foldedBytes)]...)
	}
	f.count++
	f.size += int64(len(record))
}

// unfold stores the row of the records that were folded, if there are any.
func (w *writer) unfold() {
	f := &w.folded
	if f.count == 0 {
		return
	}
	r := rejection.Rejection{
		Code: f.code, Offset: -1, Topic: w.topic, Dialect: w.dialect, Format: f.format, Peer: w.in.peer, Time: time.Now(),
		Text: fmt.Sprintf("%d records of the connection, of which this is the first: %s", f.count, f.text),
		Size: int(f.size), Bytes: f.first, Folded: f.count,
	}
	row, err := r.Append(nil)
	if err != nil || !w.in.s.quota.take(w.in, false, len(row)+rowBytes, summaries) {
		return // they are counted, and have been logged
	}
	b := &store.Block{
		Topic: store.Rejected, Codec: rejection.Codec.Name(), Peer: w.in.peer, Received: time.Now(), Principal: w.in.principal,
	}
	b.Add(row)
	ctx, cancel := context.WithTimeout(context.Background(), foldTime)
	defer cancel()
	for _, r := range w.in.s.store.Append(ctx, b) {
		if r.Err != nil {
			w.in.s.log(slog.LevelError, "rejected records are not kept", "remote", w.in.peer, "count", f.count, "error", r.Err)
		}
	}
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
// keeps, and for all who have no producer together, so that they leave the other half to
// rejections that an acknowledgement speaks for.
const (
	peerBytes   = 16 << 20 // of rows, at once, and in each day
	commonBytes = 64 << 20 // likewise, of those without a producer, at once and in each week
	summaries   = 2 << 20  // beyond that, for what is folded

	rowBytes   = 400  // that a row is longer than its record and text, and costs where it is stored
	quotaPeers = 4096 // that are told apart
)

// A quota bounds what is kept of the records that were rejected. The zero quota is
// ready to use.
type quota struct {
	mu     sync.Mutex
	peers  map[string]*bucket // guarded by mu
	common bucket             // guarded by mu
	swept  time.Time          // guarded by mu
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
func (q *quota) take(in *intake, numbered bool, n int, more float64) bool {
	peer, now := in.follower(), time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.peer(peer, now)
	cost := float64(n)
	b.leak(now, peerBytes, day)
	q.common.leak(now, commonBytes, 7*day)
	if b.used+cost > peerBytes+more || !numbered && q.common.used+cost > commonBytes+more {
		return false
	}
	b.used += cost
	if !numbered {
		q.common.used += cost
	}
	return true
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
func (s *Server) logLoss(in *intake, w *writer, r store.ClaimRequest) {
	s.log(slog.LevelError, "records are lost: the producer goes on where the store has less than it promised",
		"topic", w.topic, "producer", w.producer.Name, "remote", in.peer,
		"acked", r.Acked, "first", r.First, "next", w.claim.Next)
}
