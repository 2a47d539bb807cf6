package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
)

// saveEvery is how late Settle becomes durable. A spool that is opened after a crash may know a
// lower settled number; the server then tells the right one, and nothing is sent twice.
const saveEvery = time.Second

// Settle implements [spool.Spool]. It returns the error of an earlier Settle that could not be
// saved.
func (s *Spool) Settle(_ context.Context, topic string, number uint64, sum uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	t := s.topics[topic]
	if t == nil || number >= t.given {
		return fmt.Errorf("spool: settle %s to %d, which it does not hold", topic, number)
	}
	if number <= t.acked {
		return nil
	}
	t.acked, t.sum = number, sum
	s.settles++
	s.unsaved = true
	wake(s.settled)
	if s.waiting > 0 {
		wake(s.hurry)
	}
	err := s.failure
	s.failure = nil
	return err
}

// keep saves settled numbers until the spool is closed.
func (s *Spool) keep() {
	for {
		select {
		case <-s.settled:
		case <-s.done:
			return
		}
		timer := time.NewTimer(saveEvery)
		select {
		case <-timer.C:
		case <-s.hurry:
		case <-s.done:
			timer.Stop()
			return
		}
		timer.Stop()
		if err := s.save(context.Background()); err != nil {
			s.mu.Lock()
			s.failure = fmt.Errorf("spool: what is settled can't be saved: %w", err)
			s.mu.Unlock()
		}
	}
}

// A saving is the settled number of a topic that must be saved.
type saving struct {
	topic *topic
	acked uint64
	sum   uint32
}

// save makes settled numbers durable, and then trims the records. In the other order, a spool
// could be opened after a crash that lacks records which it does not know to be settled. Only
// one save runs at a time.
func (s *Spool) save(ctx context.Context) error {
	s.mu.Lock()
	settles := s.settles
	var all []saving
	for _, t := range s.topics {
		if t.acked > t.saved {
			all = append(all, saving{t, t.acked, t.sum})
		}
	}
	s.mu.Unlock()
	var err error
	if len(all) > 0 {
		err = s.saveAll(ctx, all)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = s.settles != settles
	s.moreRoom()
	return err
}

func (s *Spool) saveAll(ctx context.Context, all []saving) error {
	notes := make([]ledger.Note, len(all))
	for i, sv := range all {
		notes[i] = ledger.Note{Kind: settled, Topic: sv.topic.name, Text: appendMark(nil, sv.acked, sv.sum)}
	}
	if err := s.ledger.Save(ctx, notes...); err != nil {
		return err
	}
	var errs []error
	for _, sv := range all {
		errs = append(errs, s.trim(ctx, sv))
	}
	return errors.Join(append(errs, s.count(ctx, all))...)
}

// trim deletes a topic's blocks whose records are all settled.
func (s *Spool) trim(ctx context.Context, sv saving) error {
	b, err := s.find(ctx, sv.topic.name, sv.acked+1)
	if err != nil {
		return err
	}
	before, first := b.at, b.first
	if b.end <= sv.acked+1 {
		before, first = b.behind, b.end
	}
	if err := s.store.Trim(ctx, sv.topic.name, before); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sv.topic.first, sv.topic.saved = max(sv.topic.first, first), sv.acked
	return nil
}

// count counts the records of topics that were trimmed.
func (s *Spool) count(ctx context.Context, all []saving) error {
	s.write.Lock() // so that all that is stored is counted
	defer s.write.Unlock()
	stats, err := s.store.Topics(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sv := range all {
		t := sv.topic
		i, ok := slices.BinarySearchFunc(stats, t.name, func(st store.TopicStat, name string) int { return strings.Compare(st.Name, name) })
		if !ok {
			continue
		}
		s.bytes += int64(stats[i].Bytes) - t.bytes
		t.bytes, t.oldest = int64(stats[i].Bytes), stats[i].Oldest
	}
	s.oldest = time.Time{}
	for _, t := range s.topics {
		s.older(t.oldest)
	}
	return nil
}

const markSize = 8 + crc32.Size

// appendMark appends a note with the settled number and its checksum.
func appendMark(dst []byte, acked uint64, sum uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, acked), sum)
}

// parseMark is the inverse of appendMark.
func parseMark(note []byte) (acked uint64, sum uint32, err error) {
	switch len(note) {
	case 0:
		return 0, 0, nil
	case markSize:
		return binary.BigEndian.Uint64(note), binary.BigEndian.Uint32(note[8:]), nil
	default:
		return 0, 0, fmt.Errorf("a note of %d bytes, want %d", len(note), markSize)
	}
}
