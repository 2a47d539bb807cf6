package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Saved implements [store.Census].
func (s *Store) Saved(ctx context.Context) iter.Seq2[store.SavedProducer, error] {
	return func(yield func(store.SavedProducer, error) bool) {
		err := s.open(ctx)
		if err == nil {
			err = s.each(ctx, s.knownOf("*"), func(m stored) (bool, error) {
				p, known, err := parseKnown(m)
				if err != nil || !known {
					return err == nil, err
				}
				h, err := s.current(ctx, p)
				if err != nil || !h.state.Known(time.Now()) {
					return err == nil, err
				}
				return yield(store.SavedProducer{Producer: p, ProducerState: h.state.ProducerState}, nil), nil
			})
		}
		if err != nil {
			yield(store.SavedProducer{}, err)
		}
	}
}

// Others returns how many other servers have the store open, or had it open a few seconds
// ago and did not say goodbye. Servers with [Options.Unserved] don't count.
func (s *Store) Others(ctx context.Context) (n int, err error) {
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	there := map[string]bool{}
	err = s.each(ctx, s.layout.front("*"), func(m stored) (bool, error) {
		there[m.subject] = m.mark == "f" && m.subject != s.layout.front(s.front)
		return true, nil
	})
	for _, is := range there {
		if is {
			n++
		}
	}
	return n, err
}

// copied is the JSON body of the message that records the progress of a copy.
type copied struct {
	store.Copied

	Nonce uint64 // identifies the write to its author
}

// completeMark is the mark of that message once the copy is complete.
const completeMark = "i complete"

func (c copied) message(subject string) (message, error) {
	mark := "i half"
	if c.Complete {
		mark = completeMark
	}
	data, err := json.Marshal(c)
	return message{subject: subject, mark: mark, data: data}, err
}

// A step is the progress of a copy, and the sequence of the message that records it.
type step struct {
	seq uint64
	copied
}

// refused reports whether the store is an incomplete copy that was not opened to continue
// it. s.mu is held.
func (s *Store) refused() bool { return s.half && !s.imports }

// readImported reads the progress of a copy from a replica.
func (s *Store) readImported(ctx context.Context) (is step, err error) {
	m, err := s.last(ctx, s.imported())
	if err != nil || m.seq == 0 {
		return is, err
	}
	if err := json.Unmarshal(m.data, &is.copied); err != nil {
		return is, fmt.Errorf("message %d on %s: %w", m.seq, m.subject, err)
	}
	is.seq = m.seq
	return is, nil
}

// Imported implements [store.Importer].
func (s *Store) Imported(ctx context.Context) (store.Copied, error) {
	if err := s.open(ctx); err != nil {
		return store.Copied{}, err
	}
	is, err := s.currentImport(ctx)
	return is.Copied, err
}

// currentImport returns the progress of a copy, confirmed by the broker.
func (s *Store) currentImport(ctx context.Context) (step, error) {
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for is := range read(ctx, &tries, func() (step, error) { return s.readImported(ctx) }) {
		ok, err := confirm(ctx, s.conn, s.barrier(), check{s.imported(), is.seq})
		if ok {
			return is, nil
		}
		tries.failed(err)
	}
	return step{}, s.wrong(ctx, tries.err(ctx))
}

// Import implements [store.Importer]. All blocks are in one batch with the message that
// records the progress of the copy.
func (s *Store) Import(ctx context.Context, was, to store.Copied, what store.Import) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	is := s.step
	s.mu.Unlock()
	if is.seq == 0 || is.Copied != was {
		var err error
		if is, err = s.currentImport(ctx); err != nil {
			return err
		}
		if is.Copied != was {
			return store.ErrFenced
		}
	}
	seq, rest := is.seq, len(what.Producers)+len(what.Cursors) > 0
	if n := len(what.Blocks); n > 0 {
		at := to
		if rest {
			at = store.Copied{Source: to.Source, Next: what.Blocks[n-1].Next}
		}
		var err error
		if seq, err = s.importBlocks(ctx, seq, at, what.Blocks); err != nil || !rest {
			return s.wrong(ctx, err)
		}
	}
	for some := range slices.Chunk(what.Producers, importsAtOnce) {
		var running sync.WaitGroup
		errs := make([]error, len(some))
		for i, p := range some {
			running.Go(func() { errs[i] = s.importProducer(ctx, p) })
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			return s.wrong(ctx, err)
		}
	}
	for _, c := range what.Cursors {
		if err := s.importCursor(ctx, c); err != nil {
			return err
		}
	}
	_, err := s.importStep(ctx, seq, to, nil)
	return s.wrong(ctx, err)
}

// importsAtOnce is how many producers are imported in parallel.
const importsAtOnce = 32

// importBlocks stores blocks, and the progress of the copy after them.
func (s *Store) importBlocks(ctx context.Context, seq uint64, to store.Copied, blocks []store.ReadBatch) (uint64, error) {
	var messages []message
	for _, batch := range blocks {
		b := batch.Block
		if err := b.Check(); err != nil {
			return 0, err
		}
		if err := s.register(ctx, b); err != nil {
			return 0, err
		}
		pid, st := nobody, (*state)(nil)
		if !b.Producer.IsZero() {
			if pid = producerID(b.Producer); b.Topic == b.Producer.Topic {
				st = &state{} // stands for an unknown producer
			}
		}
		messages = encodeBlock(messages, s.block(b.Topic, pid), b, st, s.part(), s.lately(b.Topic))
	}
	if len(messages) >= maxBatch {
		return 0, fmt.Errorf("nats: %w: raise max_payload of the broker", errLarge(len(messages)))
	}
	return s.importStep(ctx, seq, to, messages)
}

// importStep stores messages, followed by the new progress of the copy, exactly once.
func (s *Store) importStep(ctx context.Context, seq uint64, to store.Copied, messages []message) (uint64, error) {
	c := copied{to, rand.Uint64()}
	m, err := c.message(s.imported())
	if err != nil {
		return 0, err
	}
	m.rollup = len(messages) == 0
	messages = append(messages, m)
	done := func(seq uint64) (uint64, error) {
		s.mu.Lock()
		s.step = step{seq, c}
		s.mu.Unlock()
		s.ack(seq)
		return seq, nil
	}
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for tries.wait(ctx) {
		now, err := s.publish(ctx, &check{s.imported(), seq}, messages...)
		if err == nil {
			return done(now)
		}
		if !tries.again(err) {
			return 0, err
		}
		if errors.Is(err, errNotStored) {
			continue
		}
		switch is, err := s.readImported(ctx); {
		case err != nil:
			tries.failed(err)
		case is.seq > 0 && is.Nonce == c.Nonce:
			return done(is.seq)
		case is.seq > seq:
			return 0, store.ErrFenced
		} // otherwise a replica was behind, or nothing was stored: sending the same again stores it once
	}
	return 0, tries.err(ctx)
}

// importProducer stores a producer's state as it was in the source. Its epoch is the
// sequence of that message, and older rejections don't count.
func (s *Store) importProducer(ctx context.Context, p store.ImportedProducer) error {
	if err := p.Check(); err != nil {
		return err
	}
	ctx, end := s.until(ctx)
	defer end()
	if err := s.know(ctx, p.Producer, true); err != nil {
		return err
	}
	st := state{ProducerState: p.ProducerState, claim: rand.Uint64()}
	st.Epoch = 0
	pid := producerID(p.Producer)
	messages := []message{{subject: s.home(p.Producer), mark: mark{kind: kindState, state: &st}.String()}}
	for _, data := range encodeRejections(p.Rejected, s.part()) {
		messages = append(messages, message{subject: s.rejections(pid), data: data})
	}
	for some := range slices.Chunk(messages, maxBatch) {
		last, err := s.publishSome(ctx, some)
		if err != nil {
			return err
		}
		if st.since == 0 {
			st.since = last - uint64(len(some)-1)
		}
	}
	if len(messages) <= maxBatch {
		return nil
	}
	// The state follows all rejections but those of one batch.
	_, err := s.publishSome(ctx, []message{{subject: s.home(p.Producer), mark: mark{kind: kindState, state: &st}.String()}})
	return err
}

// publishSome publishes messages, which may be stored twice.
func (s *Store) publishSome(ctx context.Context, messages []message) (seq uint64, err error) {
	tries := pace{}
	for tries.wait(ctx) {
		if seq, err = s.publish(ctx, nil, messages...); err == nil || !tries.again(err) {
			return seq, err
		}
	}
	return 0, tries.err(ctx)
}

// importCursor stores a cursor as it was in the source.
func (s *Store) importCursor(ctx context.Context, c store.SavedCursor) error {
	if err := s.CheckPosition(ctx, c.Position); err != nil {
		return err
	}
	return s.rewrite(ctx, c.CursorName, func(saved, bool) (saved, bool, error) {
		v := newSaved(c.CursorName)
		v.Position, v.Saved = c.Position, c.Saved
		v.Position.Tag = s.tag
		return v, true, nil
	})
}
