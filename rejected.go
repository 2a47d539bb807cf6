package dictwire

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// maxRejected is how many bytes of a rejected record are kept.
const maxRejected = 64 << 10

// rejected returns what is stored of a record that was rejected: a dictionary in
// CBOR, as docs/protocol.md has it.
func (w *writer) rejected(format string, bytes []byte, fault *dialect.Error, offset int64, number uint64) ([]byte, error) {
	d := dict.Of("code", string(fault.Code), "error", fault.Told())
	if offset >= 0 {
		d.Set("offset", dict.Int(offset))
	}
	d.Set("topic", dict.String(w.topic))
	if !w.producer.IsZero() {
		d.Set("producer", dict.String(w.producer.Name))
		d.Set("number", dict.Int(int64(number)))
	}
	d.Set("dialect", dict.String(w.dialect))
	d.Set("format", dict.String(format))
	d.Set("peer", dict.String(w.in.peer))
	now, err := dict.ValueOf(time.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return nil, err
	}
	d.Set("time", now)
	sum := sha256.Sum256(bytes)
	d.Set("size", dict.Int(int64(len(bytes))))
	d.Set("sha256", dict.String(hex.EncodeToString(sum[:])))
	kept := bytes[:min(len(bytes), maxRejected)]
	if !w.in.s.quota.take(w.in.remote, len(kept)) {
		kept = nil
	}
	d.Set("bytes", dict.Bytes(kept))
	if len(kept) < len(bytes) {
		d.Set("truncated", dict.Bool(true))
	}
	record, err := cbor.Codec{}.Append(nil, d)
	if err != nil {
		return nil, &dialect.Error{Code: dialect.Internal, Text: "the rejection can't be stored", At: -1, Err: err}
	}
	return record, nil
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
	host, _, err := net.SplitHostPort(peer.String())
	if err != nil {
		host = peer.String()
	}
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
