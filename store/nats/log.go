package nats

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// position returns a position of the store.
func (s *Store) position(block uint64) store.Position {
	return store.Position{Tag: s.tag, Block: block}
}

// Head implements [store.Log].
func (s *Store) Head(ctx context.Context) (store.Position, error) {
	if err := s.settled(ctx); err != nil {
		return store.Position{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position(s.head), nil
}

// within checks a position against the known head of the stream.
func (s *Store) within(p store.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.Within(s.tag, s.position(s.head))
}

// CheckPosition implements [store.Log]. Before it refuses a position, it asks the broker
// for the latest state.
func (s *Store) CheckPosition(ctx context.Context, p store.Position) error {
	if err := s.settled(ctx); err != nil {
		return err
	}
	if s.within(p) == nil {
		return nil
	}
	if err := s.upToDate(ctx); err != nil {
		return err
	}
	return s.within(p)
}

// Seek implements [store.Log].
func (s *Store) Seek(ctx context.Context, t time.Time) (store.Position, error) {
	if err := s.settled(ctx); err != nil {
		return store.Position{}, err
	}
	s.mu.Lock()
	head, newest := s.head, s.newest
	s.mu.Unlock()
	if newest.Before(t) {
		return s.position(head), nil
	}
	ctx, end := s.until(ctx)
	defer end()
	ask := getRequest{NextFor: s.blocks(""), StartTime: t.UTC().Format(time.RFC3339Nano), Batch: 1}
	tries := pace{}
	for all := range read(ctx, &tries, func() ([]stored, error) { return s.get(ctx, ask) }) {
		if len(all) == 0 {
			if ask.StartTime == "" { // the rest has no blocks
				return s.position(head), nil
			}
			if m, err := s.leaderNext(ctx, s.blocks(""), head-1); err == nil && m.seq == 0 { // it was trimmed
				return s.position(head), nil
			}
			tries.failed(nil) // that replica is behind
			continue
		}
		m := all[len(all)-1]
		topic, _, _ := s.parse(m.subject)
		at, err := parseMark(m.mark, m.seq)
		s.mu.Lock()
		known := s.topics[topic]
		gone := known != nil && m.seq < known.to
		s.mu.Unlock()
		switch {
		case m.seq >= head:
			return s.position(head), nil
		case err != nil || at.kind == kindState || gone || at.kind == kindBlock && at.parts > 1: // a block whose first part is before from
			ask.Seq, ask.StartTime = m.seq+1, ""
			tries = pace{}
			continue
		default:
			return s.position(m.seq), nil
		}
	}
	return store.Position{}, s.wrong(ctx, tries.err(ctx))
}

// Topics implements [store.Log].
func (s *Store) Topics(ctx context.Context, patterns ...string) ([]store.TopicStat, error) {
	if err := s.settled(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []store.TopicStat
	for name, t := range store.Named(store.NewPatterns(patterns), s.topics) {
		if t.next > 0 { // otherwise nothing was ever stored in it
			all = append(all, t.stat(name, s.tag))
		}
	}
	slices.SortFunc(all, func(a, b store.TopicStat) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Backlog implements [store.Log].
func (s *Store) Backlog(ctx context.Context, from store.Position, topics []string) (records uint64, err error) {
	if err := s.CheckPosition(ctx, from); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range store.Named(store.NewPatterns(topics), s.topics) {
		records += t.backlog(from)
	}
	return records, nil
}
