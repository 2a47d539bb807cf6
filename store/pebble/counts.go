package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/dictwire/dictwire/store/internal/names"
)

// A count is how the number of a principal's names changes with a commit. The
// committer counts, so that what is on disk is what was counted.
type count struct {
	kind      byte // the prefix of the names' keys
	principal string
	by        int
}

// quota returns the quota of a kind.
func (s *Store) quota(kind byte) *names.Quota {
	switch kind {
	case prefixTopic:
		return s.ofTopics
	case prefixProducer:
		return s.ofProducers
	default:
		return s.ofCursors
	}
}

// count counts what a commit changes, and notes it in its batch.
func (s *Store) count(m *commit) error {
	for _, c := range m.counts {
		n := s.quota(c.kind).Add(c.principal, c.by)
		key := append([]byte{prefixCount, c.kind}, c.principal...)
		v := binary.AppendVarint(nil, int64(n))
		v = binary.LittleEndian.AppendUint32(v, crc32.Checksum(v, castagnoli))
		if err := m.beside.Set(key, v, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeCounted is write for a batch that makes or removes a name.
func (s *Store) writeCounted(b *engine.Batch, hasty bool, c ...count) error {
	return s.commit(&commit{beside: b, counts: c, done: make(chan struct{}, 1)}, hasty)
}

// loadCounts loads how many names there are.
func (s *Store) loadCounts() error {
	it, err := s.db.NewIter(bounds([]byte{prefixCount}, []byte{prefixCount + 1}))
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			break
		}
		key := it.Key()
		v, _, err = cutSum(v, len(v))
		n, w := binary.Varint(v)
		if err != nil || w <= 0 || len(key) < 2 {
			if err := s.tolerate(fmt.Errorf("%q: %w", key, errDamaged)); err != nil {
				return errors.Join(err, it.Close())
			}
			continue
		}
		s.quota(key[1]).Add(string(key[2:]), int(n))
	}
	return s.tolerate(errors.Join(it.Error(), it.Close()))
}
