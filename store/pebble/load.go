package pebble

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/dictwire/dictwire/internal/steady"
	"github.com/dictwire/dictwire/store"
)

// version is that of the keys.
const version = 4

// load loads what is needed to go on, and makes what a new store lacks.
func (s *Store) load() error {
	v, err := s.get(keyVersion)
	if err = s.tolerate(err); err != nil {
		return err
	}
	if v != nil && (len(v) != 1 || v[0] != version) {
		return fmt.Errorf("version %d, want %d: another release of dictwire wrote it", v, version)
	}
	tag, err := s.get(keyTag)
	if err = s.tolerate(err); err != nil {
		return err
	}
	copied, err := s.get(keyCopied)
	if err = s.tolerate(err); err != nil {
		return err
	}
	if tag == nil || copied != nil || s.opts.Restored {
		tag = []byte(store.NewTag())
	}
	s.tag = string(tag)
	generation, err := s.number(keyGeneration)
	if err != nil {
		generation = uint64(s.opts.Now().Unix()) // more than there were
	}
	if err = s.tolerate(err); err != nil {
		return err
	}
	generation++
	s.epoch.Store(generation << 32)
	if err := s.loadOrder(); err != nil {
		return err
	}
	var newest time.Time
	if s.order.last > 0 {
		newest = time.Unix(0, s.order.last)
	}
	s.clock = steady.New(s.opts.Now, newest, s.opts.Logger)
	if err := s.topics.load(s.db); err != nil {
		if err = s.tolerate(err); err != nil {
			return err
		}
		s.topics.find(s.db)
	}
	if err := s.loadCounts(); err != nil {
		return err
	}
	s.producers.init()
	s.cursors.seed = maphash.MakeSeed()

	b := s.db.NewBatch()
	set := func(key, value []byte) { _ = b.Set(key, value, nil) } // fails where a batch has been applied
	set(keyVersion, []byte{version})
	set(keyTag, tag)
	_ = b.Delete(keyCopied, nil)
	set(keyGeneration, binary.BigEndian.AppendUint64(nil, generation))
	set(keyNext, binary.BigEndian.AppendUint64(nil, s.order.next))
	for _, t := range s.topics.found {
		set(topicKey(t.name), t.encode(0, 0))
	}
	for _, t := range s.topics.byName {
		s.topics.touch(t)
	}
	return s.write(b)
}

// tolerate returns nil for damage of what can be made anew, where the store is
// to be salvaged.
func (s *Store) tolerate(err error) error {
	if s.opts.Salvage {
		return nil
	}
	return err
}

// number returns the number that a key holds, zero where there is none.
func (s *Store) number(key []byte) (uint64, error) {
	v, err := s.get(key)
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%q: %w", key, errDamaged)
	}
	return binary.BigEndian.Uint64(v), nil
}

// leap is how far positions go on where damage hides which were used.
const leap = 1 << 32

// loadOrder finds the next position: behind all that were ever used.
func (s *Store) loadOrder() error {
	next, err := s.number(keyNext)
	if err != nil {
		next = leap
	}
	if err = s.tolerate(err); err != nil {
		return err
	}
	next = max(next, 1)
	it, err := s.db.NewIter(bounds(orderKey(0), []byte{prefixOrder + 1}))
	if err != nil {
		return err
	}
	defer it.Close()
	if it.Last() {
		next = max(next, binary.BigEndian.Uint64(it.Key()[1:])+1)
		if t, _, err := splitPlace(it.Value()); err == nil {
			s.order.last = t
		}
	} else if it.Error() != nil {
		next += leap
	}
	s.order.next = next
	s.order.head.Store(next)
	return nil
}
