package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/dictwire/dictwire/store"
)

// Trim implements [store.Log].
//
// First it stores copies of the producers' states that are among the blocks. Then it stores
// how far the topic is trimmed, which hides the blocks. Finally it deletes them. If it is
// interrupted, the next trim of the topic completes the work.
func (s *Store) Trim(ctx context.Context, topic string, before store.Position) error {
	if err := s.CheckPosition(ctx, before); err != nil {
		return err
	}
	select {
	case s.trimming <- struct{}{}: // one at a time
		defer func() { <-s.trimming }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	if _, err := s.barrierNow(ctx); err != nil { // everything to be deleted is before the barrier
		return err
	}
	found, err := s.scan(ctx, topic, before.Block)
	if err != nil || found.messages == 0 {
		return s.wrong(ctx, err)
	}
	now := s.now()
	for pid := range found.states {
		if err := copyState(ctx, s.conn, s.block(topic, pid), found.purge, now); err != nil {
			return s.wrong(ctx, err)
		}
	}
	if found.to > 0 {
		if err := s.markTrim(ctx, topic, found.to); err != nil {
			return s.wrong(ctx, err)
		}
	}
	return s.wrong(ctx, s.purge(ctx, s.block(topic, "*"), found.purge))
}

// found describes what a trim has to do.
type found struct {
	messages int
	states   map[string]bool // producers whose states are among the messages
	to       uint64          // position after the last block
	purge    uint64          // messages before this sequence are deleted
}

// scan reads the headers of a topic before a position. If some are lost on the way, it
// starts again.
func (s *Store) scan(ctx context.Context, topic string, before uint64) (found, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	defer cancel(nil)
	tries := pace{}
	for tries.wait(ctx) && tries.tried < 10 {
		f := found{states: map[string]bool{}, purge: before}
		err := s.scanOnce(ctx, &f, topic, before)
		if err == nil {
			return f, nil
		}
		tries.failed(err)
	}
	return found{}, tries.err(ctx)
}

func (s *Store) scanOnce(ctx context.Context, f *found, topic string, before uint64) error {
	c, err := s.headers(ctx, 1, s.block(topic, "*"), s.barrier())
	if err != nil {
		return err
	}
	defer func() {
		leaving, end := s.until(context.WithoutCancel(ctx))
		defer end()
		_ = s.js.DeleteConsumer(leaving, s.stream, c.CachedInfo().Name)
	}()
	last := uint64(0)
	tries := pace{}
	for { // up to the barrier: without it, the replica that sends the headers is behind
		if !tries.wait(ctx) || tries.tried > 15 {
			return tries.err(ctx)
		}
		batch, err := c.FetchNoWait(1000)
		if err != nil {
			tries.failed(err)
			continue
		}
		for m := range batch.Messages() {
			about, err := m.Metadata()
			if err != nil {
				return err
			}
			if last++; about.Sequence.Consumer != last {
				return errLost
			}
			tries = pace{}
			done, err := f.add(s, m.Subject(), m.Headers().Get(markHeader), about.Sequence.Stream, before)
			if done || err != nil {
				return err
			}
		}
		tries.failed(batch.Error())
	}
}

var errLost = errors.New("lost some headers")

// add processes a message. It reports whether the message is after everything to be
// deleted.
func (f *found) add(s *Store, subject, value string, seq, before uint64) (done bool, err error) {
	if subject == s.barrier() {
		return seq >= before, nil
	}
	m, err := parseMark(value, seq)
	if err != nil {
		return false, fmt.Errorf("message %d: %w", seq, err)
	}
	begin := seq
	if m.kind == kindBlock {
		begin = seq - uint64(m.parts-1)
	}
	if begin >= before {
		return m.kind != kindPart || seq > before+maxBatch, nil
	}
	f.messages++
	if _, pid, ok := s.parse(subject); ok && m.state != nil {
		f.states[pid] = true
	}
	if m.kind == kindBlock {
		f.to = seq + 1
		f.purge = max(f.purge, f.to)
	}
	return false, nil
}

// markTrim stores how far a topic is trimmed, and waits until this server has processed
// that.
func (s *Store) markTrim(ctx context.Context, name string, to uint64) error {
	ctx, end := s.until(ctx)
	defer end()
	subject := s.topic(name)
	tries := pace{}
	for m := range read(ctx, &tries, func() (stored, error) { return s.last(ctx, subject) }) {
		_, owner, was, err := parseTopicMark(m.mark)
		switch {
		case m.seq == 0:
		case err != nil:
			return fmt.Errorf("message %d on %s: %w", m.seq, subject, err)
		case was >= to:
			return s.heardOf(ctx, m.seq)
		}
		seq, err := s.publish(ctx, &check{subject, m.seq}, message{subject: subject, mark: topicMark(name, owner, to), rollup: true})
		if err == nil {
			s.ack(seq)
			return s.heardOf(ctx, seq)
		}
		if !tries.again(err) {
			return err
		}
	}
	return tries.err(ctx)
}

// purge deletes the messages of a subject before a sequence.
func (s *Store) purge(ctx context.Context, subject string, before uint64) error {
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for tries.wait(ctx) {
		limit, cancel := context.WithTimeout(ctx, answerTime)
		err := s.handle.Purge(limit, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(before))
		cancel()
		if err == nil {
			return nil
		}
		tries.failed(err)
	}
	return tries.err(ctx)
}
