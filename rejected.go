package dictwire

import (
	"log/slog"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

// rejected returns what is stored of a record that was rejected. offset is where
// its fault is, -1 where there is no place.
func (w *writer) rejected(format string, record []byte, fault *dialect.Error, offset int64, number uint64) ([]byte, error) {
	r := rejection.Of(record)
	r.Code, r.Text, r.Offset = fault.Code, fault.Told(), offset
	r.Topic, r.Producer, r.Number = w.topic, w.producer.Name, number
	r.Dialect, r.Format, r.Peer, r.Time = w.dialect, format, w.in.peer, time.Now()
	if !w.in.s.quota.take(w.in.remote, len(r.Bytes)) {
		r.Bytes = nil
	}
	kept, err := r.Append(nil)
	if err != nil {
		return nil, &dialect.Error{Code: dialect.Internal, Text: "the rejection can't be stored", At: -1, Err: err}
	}
	return kept, nil
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

const (
	quotaBytes = 32 << 20 // of rejected records that are kept of one peer in quotaTime
	quotaTime  = time.Hour
	quotaPeers = 4096 // that are told apart
)

// A quota bounds how much is kept of the records that were rejected, for each
// peer. The zero quota is ready to use.
type quota struct {
	mu    sync.Mutex
	since time.Time
	used  map[string]int // by peer; guarded by mu
}

// take reports whether n more bytes of a peer may be kept.
func (q *quota) take(peer net.Addr, n int) bool {
	host := hostOf(peer)
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.since) > quotaTime {
		q.since, q.used = now, make(map[string]int)
	}
	if _, known := q.used[host]; !known && len(q.used) >= quotaPeers {
		host = "" // the others share one
	}
	if q.used[host]+n > quotaBytes {
		return false
	}
	q.used[host] += n
	return true
}

// logLoss says that a writer went on where the store has less than it promised.
func (s *Server) logLoss(in *intake, w *writer, r store.ClaimRequest) {
	s.log(slog.LevelError, "records are lost: the producer goes on where the store has less than it promised",
		"topic", w.topic, "producer", w.producer.Name, "remote", in.peer,
		"acked", r.Acked, "first", r.First, "next", w.claim.Next)
}
