package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store"
)

// A reader follows topics with a cursor, and processes each record before it commits.
type reader struct {
	name      string
	principal string
	cursor    string
	ledger    *ledger
	host      *memnet.Host
	server    string
	rng       *rand.Rand
	subscribe string
	client    bool          // it reads with the project's own client
	pause     time.Duration // the longest time for a batch
	spoke     [2]int64      // bytes up and down in its last session
	rivals    bool          // another one uses its cursor
	nocommit  int           // it commits one of so many batches; 0: all

	tag       string         // of the last store that it read
	crossed   bool           // it has read from more than one
	began     store.Position // where reading began before the first commit
	since     time.Time      // and when
	committed store.Position // as confirmed
	asked     store.Position // the highest that it tried to commit
	done      map[string]int // how often it processed each record, by its bytes, in the store's life
	gaps      []gap          // trimmed or damaged ranges that it was told about
	at        store.Position // everything before it is done; guarded by the ledger's mutex
	stopped   error          // guarded by the ledger's mutex
}

// run reads until ctx ends or the reader must stop.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil && r.stopped == nil {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			r.ledger.say(r.name, "session ends: committed %v, %v", r.committed, err)
		}
		var refused *refusal
		var broke *violation
		switch {
		case errors.As(err, &broke):
			r.ledger.fail(r.name, "%v", err)
			r.stop(err)
		case errors.As(err, &refused):
			switch refused.code {
			case "fenced": // by a rival, or by a late greeting of its own
				time.Sleep(time.Second)
			case "unavailable", "shutdown", "truncated", "idle", "rate":
			default:
				if r.ledger.livesNow() == 0 {
					r.ledger.fail(r.name, "a refusal for no reason: %v", err)
					r.stop(err)
				}
			}
		}
		time.Sleep(time.Duration(r.rng.IntN(300)) * time.Millisecond)
	}
}

func (r *reader) stop(err error) { r.ledger.do(func() { r.stopped = err }) }

func (l *ledger) livesNow() (n int) { l.do(func() { n = l.lives }); return n }

func (r *reader) session(ctx context.Context) error {
	greeting := fmt.Sprintf(`{"dictwire":1,"subscribe":%q,"cursor":%q,"from":"earliest","follow":true,"token":%q}`, r.subscribe, r.cursor, r.principal)
	t, end, err := begin(ctx, r.host, r.server, greeting)
	if err != nil {
		return err
	}
	defer end()
	defer func() { r.spoke = t.spoke() }()
	m, err := t.hear()
	if err != nil {
		return err
	}
	at, err := store.ParsePosition(m.position())
	if err != nil || m.Dictwire != 1 {
		return &violation{fmt.Sprintf("no welcome: %+v", m)}
	}
	fresh := r.began.IsZero() // it is not told about earlier trims
	if err := r.begins(at); err != nil {
		return err
	}
	for {
		m, err := t.hear()
		if err != nil {
			return err
		}
		if m.Committed != nil {
			p, err := store.ParsePosition(*m.Committed)
			if err != nil || r.asked.Compare(p) < 0 {
				return &violation{fmt.Sprintf("committed %q, of %v", *m.Committed, r.asked)}
			}
			if r.committed.Compare(p) < 0 {
				r.committed = p
			}
			continue
		}
		next, err := store.ParsePosition(m.position())
		if err != nil || next.Compare(at) < 0 {
			return &violation{fmt.Sprintf("next %s behind %v", m.Next, at)}
		}
		switch {
		case m.At != nil:
			from, err := store.ParsePosition(unquoted(m.At))
			if err != nil || from.Compare(at) < 0 {
				return &violation{fmt.Sprintf("at %s behind %v", m.At, at)}
			}
			if err := r.take(t, m); err != nil {
				return err
			}
		case m.Skipped != nil:
			r.gaps = append(r.gaps, *m.Skipped)
		case m.Damaged != nil:
			return &violation{fmt.Sprintf("damaged: %+v", m.Damaged)}
		}
		if fresh {
			r.since, fresh = time.Now(), false
		}
		at = next
		r.ledger.do(func() { r.at = at })
		if err := r.dawdle(ctx); err != nil {
			return err
		}
		if r.nocommit > 0 && r.rng.IntN(r.nocommit) > 0 || at.Compare(r.asked) <= 0 {
			continue
		}
		r.asked = at
		_ = t.SetWriteDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintf(t, "{\"commit\":%q}\n", at); err != nil {
			return err
		}
	}
}

// dawdle occasionally delays a batch.
func (r *reader) dawdle(ctx context.Context) error {
	if r.pause == 0 || r.rng.IntN(4) > 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(r.rng.Int64N(int64(r.pause)))):
		return nil
	}
}

// begins compares the beginning of a read with what was committed.
func (r *reader) begins(at store.Position) error {
	r.ledger.say(r.name, "reads from %v", at)
	if r.tag != "" && r.tag != at.Tag && r.ledger.livesNow() > 0 {
		// The store was replaced, and has another cursor or none.
		r.crossed = true
		r.began, r.committed, r.asked, r.since = at, at, at, time.Now()
		if r.client {
			r.committed = store.Position{} // its first records may be after its cursor
		}
	}
	if r.tag == at.Tag && !r.rivals && !r.committed.IsZero() &&
		(at.Compare(r.committed) < 0 || r.asked.Compare(at) < 0 && !r.client) { // a slow reader may see that after some progress
		return &violation{fmt.Sprintf("reading begins at %v, where %v was committed, and %v at most asked for", at, r.committed, r.asked)}
	}
	r.tag = at.Tag
	if r.committed.IsZero() {
		if r.began.IsZero() {
			r.since = time.Now()
		}
		r.began = at
	}
	return nil
}

// take processes the records of a batch.
func (r *reader) take(t *talk, m *message) error {
	for _, n := range m.Lengths {
		_ = t.SetReadDeadline(time.Now().Add(patience))
		data := make([]byte, n)
		if _, err := io.ReadFull(t.r, data); err != nil {
			return err
		}
		r.done[m.Topic+" "+string(data)]++
	}
	return nil
}

// audit compares what the reader processed with an inventory. If everything was read, it
// must have everything.
func (r *reader) audit(all []stored, isRead bool) error {
	there := map[string]bool{}
	for _, s := range all {
		topic, _, _ := strings.Cut(s.key, " ")
		if !store.Match([]string{r.subscribe}, topic) {
			continue
		}
		there[s.key] = true
		if isRead && r.done[s.key] == 0 && !r.wasTold(s.at) && (!s.trimmed || s.at.Compare(r.began) >= 0 && s.gone.After(r.since)) {
			return fmt.Errorf("%s committed %v, and never got what is at %v: %.80q", r.name, r.committed, s.at, s.key)
		}
	}
	for key := range r.done {
		if !there[key] && !r.crossed {
			return fmt.Errorf("%s got what is not stored: %.80q", r.name, key)
		}
	}
	return nil
}

func (r *reader) wasTold(p store.Position) bool {
	for _, g := range r.gaps {
		from, err1 := store.ParsePosition(g.From)
		to, err2 := store.ParsePosition(g.To)
		if err1 == nil && err2 == nil && from.Compare(p) <= 0 && p.Compare(to) < 0 {
			return true
		}
	}
	return false
}
