package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
)

// fences tracks the claims of a name that other servers make while this one is making its
// own.
type fences struct {
	claims int    // claims in progress here
	epoch  uint64 // of the last claim that was seen
}

// fence ends a claim that lost to one with a higher epoch, and records that epoch for
// claims in progress. s.mu is held.
func (s *Store) fence(t *claims.Table[string], id string, epoch uint64) {
	if f := s.fences[id]; f != nil {
		f.epoch = epoch
	}
	if mine, _ := t.Get(id); mine != 0 && mine < epoch {
		t.End(id)
	}
}

// claiming prepares to claim a name. The caller calls put, with s.mu held, when the claim
// is stored: it enters the claim, and ends it if a later one has been seen meanwhile.
func (s *Store) claiming(t *claims.Table[string], id string) (put func(epoch, attempt uint64) context.Context, end func()) {
	s.mu.Lock()
	f := s.fences[id]
	if f == nil {
		f = &fences{}
		s.fences[id] = f
	}
	f.claims++
	s.mu.Unlock()
	put = func(epoch, attempt uint64) context.Context {
		ctx := t.Put(id, epoch, attempt)
		if f.epoch > epoch {
			t.Release(id, epoch)
		}
		return ctx
	}
	end = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.claims--; f.claims == 0 {
			delete(s.fences, id)
		}
	}
	return put, end
}

// Claim implements [store.Producers].
func (s *Store) Claim(ctx context.Context, p store.Producer, r store.ClaimRequest) (store.Claim, error) {
	if err := p.Check(); err != nil {
		return store.Claim{}, err
	}
	if err := s.open(ctx); err != nil {
		return store.Claim{}, err
	}
	u, done, err := s.use(ctx, p)
	if err != nil {
		return store.Claim{}, err
	}
	defer done()
	ctx, end := s.until(ctx)
	defer end()
	pid := producerID(p)
	put, noted := s.claiming(&s.writers, pid)
	defer noted()
	now := s.now()
	if h, err := readHome(ctx, s.conn, u.w.subject); err == nil && !h.state.Known(now) {
		if _, _, err := h.state.Claim(r, 0, now); err == nil {
			if err := s.know(ctx, p, true); err != nil {
				return store.Claim{}, s.wrong(ctx, err)
			}
		}
	}
	h, claim, err := claimHome(ctx, s.conn, u.w.subject, s.barrier(), r, now)
	if err != nil {
		return store.Claim{}, s.wrong(ctx, err)
	}
	u.w.home, u.w.known = h, true
	s.keep(pid, u, true)
	s.mu.Lock()
	claim.Fenced = put(claim.Epoch, 0)
	s.mu.Unlock()
	return claim, nil
}

// know adds a producer to those that are counted and listed, or removes it. To add one it
// always stores a message, even if the producer is known: see expire.
func (s *Store) know(ctx context.Context, p store.Producer, known bool) error {
	s.mu.Lock()
	counted := s.producers[producerID(p)[:13]]
	s.mu.Unlock()
	if known && !counted {
		if err := s.ofProducers.Check(p.Principal); err != nil {
			return err
		}
	}
	subject := s.known(p)
	tries := pace{}
	for m := range read(ctx, &tries, func() (stored, error) { return s.last(ctx, subject) }) {
		value := knownMark(known, p.Principal)
		if known || m.mark != value && m.seq > 0 {
			if _, err := s.writeKnown(ctx, p, known, m.seq); err != nil {
				if tries.again(err) {
					continue
				}
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.noteKnown(s.knownID(p), value)
		return nil
	}
	return tries.err(ctx)
}

// writeKnown stores whether a producer is known, on condition that the last message that
// says so has the sequence seq. It returns the sequence of the new message.
func (s *Store) writeKnown(ctx context.Context, p store.Producer, known bool, seq uint64) (uint64, error) {
	m := message{subject: s.known(p), mark: knownMark(known, p.Principal), rollup: true, data: []byte(p.Topic + " " + p.Name)}
	if !known {
		m.ttl = goneTime
	}
	return s.publish(ctx, &check{m.subject, seq}, m)
}

// parseKnown returns the producer of a message, and whether the message makes it known.
func parseKnown(m stored) (p store.Producer, known bool, err error) {
	f := fields{rest: m.mark}
	kind := f.text()
	if p.Principal, err = decodeName(f.text()); err != nil {
		return p, false, errMark
	}
	p.Topic, p.Name, _ = strings.Cut(string(m.data), " ")
	return p, kind == "k", nil
}

// expire stops counting the producers that have expired, and deletes their rejections;
// nothing else removes them. A claim stores that the producer is known before it does
// anything else, so a producer that is just being claimed is skipped.
func (s *Store) expire(ctx context.Context, now time.Time) error {
	return s.each(ctx, s.knownOf("*"), func(m stored) (bool, error) {
		p, known, err := parseKnown(m)
		if err != nil || !known || now.Before(m.time.Add(expireEvery)) {
			return true, err
		}
		ctx, end := s.until(ctx)
		defer end()
		h, err := readHome(ctx, s.conn, s.home(p))
		if err == nil && !h.state.Known(now) { // according to a replica
			h, err = s.current(ctx, p)
		}
		if err != nil || h.state.Known(now) {
			return true, s.wrong(ctx, err)
		}
		gone, err := s.writeKnown(ctx, p, false, m.seq)
		if errors.Is(err, errConflict) {
			return true, nil
		}
		if err == nil {
			err = s.purge(ctx, s.rejections(producerID(p)), gone)
		}
		return err == nil, s.wrong(ctx, err)
	})
}

// Release implements [store.Producers].
func (s *Store) Release(p store.Producer, epoch uint64) {
	pid := producerID(p)
	if mine, _ := s.writers.Get(pid); mine != epoch {
		return
	}
	s.writers.Release(pid, epoch)
	s.mu.Lock()
	u := s.writing[pid]
	s.mu.Unlock()
	if u != nil {
		s.keep(pid, u, false)
	}
}

// Forget implements [store.Producers].
func (s *Store) Forget(ctx context.Context, p store.Producer) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	u, done, err := s.use(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	ctx, end := s.until(ctx)
	defer end()
	u.w.known = false
	if h, err := readHome(ctx, s.conn, u.w.subject); err == nil && h.seq == 0 {
		if ok, _ := confirm(ctx, s.conn, s.barrier(), check{u.w.subject, 0}); ok {
			return nil
		}
	}
	forgot, err := forgetHome(ctx, s.conn, u.w.subject)
	if err != nil {
		return s.wrong(ctx, err)
	}
	pid := producerID(p)
	if err := s.purge(ctx, s.rejections(pid), forgot); err != nil {
		return s.wrong(ctx, err)
	}
	s.writers.End(pid)
	s.keep(pid, u, false)
	return s.wrong(ctx, s.know(ctx, p, false))
}

// Rejections implements [store.Producers].
func (s *Store) Rejections(ctx context.Context, p store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		if err := s.open(ctx); err != nil {
			yield(store.Rejection{}, err)
			return
		}
		if err := s.rejectionsOf(ctx, p, after, func(r store.Rejection) bool { return yield(r, nil) }); err != nil {
			yield(store.Rejection{}, err)
		}
	}
}

func (s *Store) rejectionsOf(ctx context.Context, p store.Producer, after uint64, yield func(store.Rejection) bool) error {
	h, err := s.current(ctx, p)
	if err != nil || !h.state.Known(s.now()) {
		return err
	}
	low := h.state.low()
	return s.each(ctx, s.rejections(producerID(p)), func(m stored) (bool, error) {
		if m.seq > h.seq+maxBatch { // of a later append
			return false, nil
		}
		rejected, err := decodeRejections(m.data)
		if err != nil {
			return false, fmt.Errorf("message %d: %w", m.seq, err)
		}
		if h.state.obsolete(m.seq, rejected) {
			return true, nil
		}
		for _, r := range rejected {
			if r.Number > after && r.Number >= low && r.Number < h.state.Next && !yield(r) {
				return false, nil
			}
		}
		return true, nil
	})
}

// sweepEvery is after how many numbers of a producer its obsolete rejections are deleted.
const sweepEvery = store.Window / 8

// sweep deletes a producer's obsolete rejections, if that is due, after an append with
// rejections. The caller holds u's lock. If it fails, the next one deletes more.
func (s *Store) sweep(ctx context.Context, p store.Producer, u *writing) {
	st := u.w.state
	if u.swept <= st.Next && st.Next-u.swept < sweepEvery { // it is larger if the name is used again
		return
	}
	u.swept = st.Next
	obsolete := func(m stored) bool {
		rejected, err := decodeRejections(m.data)
		return err == nil && st.obsolete(m.seq, rejected)
	}
	subject, before := s.rejections(producerID(p)), uint64(0)
	oldest, err := s.next(ctx, subject, 1)
	if err != nil || oldest.seq == 0 || !obsolete(oldest) {
		return
	}
	_ = s.each(ctx, subject, func(m stored) (bool, error) {
		if !obsolete(m) {
			return false, nil
		}
		before = m.seq + 1
		return true, nil
	})
	_ = s.purge(ctx, subject, before)
}

// low returns the first number whose rejection is still told.
func (s state) low() uint64 { return max(s.Next, store.Window) - store.Window }

// obsolete reports whether the rejections in the message with sequence seq are all before
// the window, or those of an earlier producer of the name.
func (s state) obsolete(seq uint64, rejected []store.Rejection) bool {
	n := len(rejected)
	return seq < s.since || n > 0 && rejected[n-1].Number < s.low()
}

// current returns a producer's home, confirmed by the broker.
func (s *Store) current(ctx context.Context, p store.Producer) (home, error) {
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for h := range homes(ctx, &tries, s.conn, s.home(p)) {
		ok, err := confirm(ctx, s.conn, s.barrier(), check{h.subject, h.seq})
		if ok {
			return h, nil
		}
		tries.failed(err)
	}
	return home{}, s.wrong(ctx, tries.err(ctx))
}

// Known implements [store.Producers].
func (s *Store) Known(ctx context.Context, after store.Producer, limit int) ([]store.KnownProducer, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	known := map[store.Producer]bool{}
	if err := s.each(ctx, s.knownOf(hashOf("principal", after.Principal)), func(m stored) (bool, error) {
		p, is, err := parseKnown(m)
		known[p] = is
		return true, err
	}); err != nil {
		return nil, err
	}
	var all []store.Producer
	for p, is := range known {
		if is && p.Compare(after) > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, store.Producer.Compare)
	var page []store.KnownProducer
	for _, p := range all {
		if len(page) == limit {
			break
		}
		ctx, end := s.until(ctx)
		h, err := readHome(ctx, s.conn, s.home(p))
		end()
		if err != nil {
			return nil, s.wrong(ctx, err)
		}
		if h.state.Known(s.now()) {
			page = append(page, store.KnownProducer{Producer: p, Next: h.state.Next, Seen: h.state.Seen})
		}
	}
	return page, nil
}
