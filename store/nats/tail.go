package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/dictwire/dictwire/store"
)

// follow processes the headers of all messages in the stream until the store is closed.
func (s *Store) follow() {
	tries := pace{}
	for tries.wait(s.ctx) {
		if err := s.hear(&tries); err != nil && s.ctx.Err() == nil {
			s.logger.Warn("lost the stream of headers", "err", err)
		}
	}
}

// hear reads headers from the first unprocessed message on, until some are lost, or none
// come and no heartbeats either.
func (s *Store) hear(tries *pace) error {
	s.mu.Lock()
	from := s.seen + 1
	s.mu.Unlock()
	c, err := s.headers(s.ctx, from, s.all())
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(10*time.Second), jetstream.PullMaxMessages(4096))
	if err != nil {
		return err
	}
	defer it.Stop()
	defer context.AfterFunc(s.ctx, it.Stop)()
	s.hearBy(it.Stop)
	defer s.hearBy(nil)
	for next := uint64(1); ; next++ {
		m, err := it.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) && s.ctx.Err() == nil { // by hearAgain
			return nil
		}
		if err != nil {
			return err
		}
		about, err := m.Metadata()
		if err != nil {
			return err
		}
		if about.Sequence.Consumer != next {
			return errLost
		}
		*tries = pace{}
		if s.note(m.Subject(), about.Sequence.Stream, m.Headers().Get(markHeader), about.Timestamp) {
			err := fmt.Errorf("%w: %s: %w", store.ErrUnavailable, s.where(), store.ErrHalf)
			s.end(err)
			if s.fatal != nil {
				s.fatal(err)
			}
			return err
		}
	}
}

// headers makes a consumer of the headers of some subjects from a sequence on. The broker
// deletes it when nobody has asked it for messages for a while. Until the broker answers, it
// is asked again for the same consumer, since an election may lose requests.
func (s *Store) headers(ctx context.Context, from uint64, subjects ...string) (jetstream.Consumer, error) {
	ctx, end := s.until(ctx)
	defer end()
	config := jetstream.ConsumerConfig{
		Name: nuid.Next(), FilterSubjects: subjects, HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	}
	tries := pace{}
	for c := range read(ctx, &tries, func() (jetstream.Consumer, error) {
		limit, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		return s.js.CreateConsumer(limit, s.stream, config)
	}) {
		return c, nil
	}
	return nil, tries.err(ctx)
}

// hearBy sets what hearAgain calls.
func (s *Store) hearBy(stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearing = stop
}

// hearAgain makes follow ask for the headers again. It is called after a disconnect, when
// the last of them may have been lost, and with them what would tell that.
func (s *Store) hearAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hearing != nil {
		s.hearing()
	}
}

// note processes the header of a message. It reports whether this server must stop because
// the stream is becoming a copy of another store.
func (s *Store) note(subject string, seq uint64, value string, stored time.Time) (refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.seen {
		return false
	}
	s.seen = seq
	if s.changed != nil {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	if topic, pid, ok := s.parse(subject); ok {
		s.noteBlock(topic, pid, seq, value, stored)
	} else if _, ok := s.of("t", subject); ok {
		s.noteTopic(value)
	} else if id, ok := s.of("c", subject); ok {
		s.noteCursor(id, seq, value)
	} else if id, ok := s.of("k", subject); ok {
		s.noteKnown(id, value)
	} else if subject == s.imported() {
		s.half = value != completeMark
		return s.opened && s.refused()
	}
	return false
}

// noteBlock processes the header of a block or a state. s.mu is held.
func (s *Store) noteBlock(name, pid string, seq uint64, value string, stored time.Time) {
	m, err := parseMark(value, seq)
	if err != nil {
		return // only this package writes these subjects
	}
	if m.state != nil { // the claim itself may be deleted by now
		s.fence(&s.writers, pid, m.state.Epoch)
	}
	if m.kind != kindBlock {
		return
	}
	t := s.topicOf(name)
	at := seq - uint64(m.parts-1)
	t.add(at, seq+1, m, stored)
	s.lastBlock = heard{seq, stored}
	s.head = max(s.head, seq+1)
	if stored.After(s.newest) {
		s.newest = stored
	}
	if len(s.recent) >= 2*maxRecent {
		s.recent = append(s.recent[:0], s.recent[maxRecent:]...)
		s.recentAll = s.recent[0].at
	}
	s.recent = append(s.recent, recent{at, name})
}

// noteTopic processes a topic's registration or trim. s.mu is held.
func (s *Store) noteTopic(value string) {
	name, owner, to, err := parseTopicMark(value)
	if err != nil {
		return // only this package writes these subjects
	}
	s.registered(name, owner).trim(to)
	s.trimmed = max(s.trimmed, to)
	s.head = max(s.head, to)
}

// topicOf returns the entry of a topic, and adds it if necessary. s.mu is held.
func (s *Store) topicOf(name string) *topic {
	t := s.topics[name]
	if t == nil {
		t = &topic{}
		s.topics[name] = t
	}
	return t
}

// registered marks a topic as registered. s.mu is held.
func (s *Store) registered(name, owner string) *topic {
	t := s.topicOf(name)
	if !t.registered {
		t.registered = true
		s.ofTopics.Add(owner, 1)
	}
	return t
}

// topicMark returns the mark of the message on a topic's own subject.
func topicMark(name, owner string, to uint64) string {
	return "t " + strconv.FormatUint(to, 10) + " " + encodeName(name) + " " + encodeName(owner)
}

// parseTopicMark is the inverse of topicMark.
func parseTopicMark(value string) (name, owner string, to uint64, err error) {
	f := fields{rest: value}
	kind, to := f.text(), f.number(10)
	name, errName := decodeName(f.text())
	owner, errOwner := decodeName(f.text())
	if kind != "t" || f.err != nil || errName != nil || errOwner != nil {
		return "", "", 0, errMark
	}
	return name, owner, to, nil
}

// noteKnown processes a message that makes a producer known or unknown. s.mu is held.
func (s *Store) noteKnown(id, value string) {
	_, pid, _ := strings.Cut(id, ".")
	f := fields{rest: value}
	kind := f.text()
	principal, err := decodeName(f.text())
	if err != nil || len(pid) < 13 {
		return
	}
	switch pid = pid[:13]; {
	case kind == "k" && !s.producers[pid]:
		s.producers[pid] = true
		s.ofProducers.Add(principal, 1)
	case kind == "g" && s.producers[pid]:
		delete(s.producers, pid)
		s.ofProducers.Add(principal, -1)
	}
}

// knownMark returns the mark of the message that makes a producer known or unknown.
func knownMark(known bool, principal string) string {
	if known {
		return "k " + encodeName(principal)
	}
	return "g " + encodeName(principal)
}

// settled waits until readers can see everything that this server has stored.
func (s *Store) settled(ctx context.Context) error { return s.heardOf(ctx, s.acked.Load()) }

// heard identifies a message whose header has been processed.
type heard struct {
	seq  uint64
	time time.Time
}

// heardOf waits until all messages up to a sequence have been processed.
func (s *Store) heardOf(ctx context.Context, seq uint64) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if s.seen >= seq {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	ctx, cancel := s.until(ctx)
	defer cancel()
	for {
		s.mu.Lock()
		seen, changed := s.seen, s.changed
		s.mu.Unlock()
		if seen >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s.wrong(ctx, context.Cause(ctx))
		}
	}
}

// ack records the sequence up to which this server has stored messages, for its readers.
func (s *Store) ack(seq uint64) {
	for {
		was := s.acked.Load()
		if seq <= was || s.acked.CompareAndSwap(was, seq) {
			return
		}
	}
}

// catchUp waits until this server has processed everything that was stored when it was
// called. It has no time-out as long as there is progress.
func (s *Store) catchUp(ctx context.Context) error {
	seq, err := s.barrierNow(ctx)
	for err == nil {
		s.mu.Lock()
		before := s.seen
		s.mu.Unlock()
		if err = s.heardOf(ctx, seq); err == nil {
			return nil
		}
		s.mu.Lock()
		if s.seen > before && ctx.Err() == nil && s.ctx.Err() == nil {
			err = nil
		}
		s.mu.Unlock()
	}
	return err
}
