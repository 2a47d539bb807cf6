package log

import (
	"context"
	"encoding/binary"
	"iter"
	"time"

	"github.com/dictwire/dictwire/store"
)

// keyImport is the key of how far a copy of another store is: see store.Importer.
var keyImport = string(rune(prefixImport))

// Saved implements [store.Census].
func (s *Store) Saved(ctx context.Context) iter.Seq2[store.SavedProducer, error] {
	return func(yield func(store.SavedProducer, error) bool) {
		const page = 4096 // producers that are held at once
		for from, more := string(rune(prefixProducer)), true; more; {
			var all []store.SavedProducer
			var err error
			if from, all, err = s.saved(ctx, from, page); err != nil {
				yield(store.SavedProducer{}, err)
				return
			}
			for _, p := range all {
				if !yield(p, nil) {
					return
				}
			}
			more = from != ""
		}
	}
}

// saved returns producers that are known, of at most so many keys, and the key where the
// next ones begin, "" where there are none.
func (s *Store) saved(ctx context.Context, from string, keys int) (next string, all []store.SavedProducer, err error) {
	if err := s.enter(ctx); err != nil {
		return "", nil, err
	}
	defer s.leave()
	err = s.scanProducers(from, string(rune(prefixProducer+1)), func(key string, p store.SavedProducer, known bool) bool {
		if keys--; keys < 0 {
			next = key
			return false
		}
		if known {
			all = append(all, p)
		}
		return true
	})
	return next, all, err
}

// Imported implements [store.Importer].
func (s *Store) Imported(ctx context.Context) (store.Copied, error) {
	if err := s.enter(ctx); err != nil {
		return store.Copied{}, err
	}
	defer s.leave()
	return s.imported()
}

func (s *Store) imported() (store.Copied, error) {
	v, err := s.states.get(keyImport)
	if err != nil || v.data == nil {
		return store.Copied{}, err
	}
	return decodeCopied(v.data)
}

func encodeCopied(c store.Copied) []byte {
	b := []byte{0}
	if c.Complete {
		b[0] = 1
	}
	b = appendString(b, c.Source)
	return append(b, c.Next.String()...)
}

func decodeCopied(b []byte) (c store.Copied, err error) {
	if len(b) == 0 {
		return c, unavailable(errState)
	}
	source, rest, ok := cutString(b[1:])
	c.Source, c.Complete = string(source), b[0] == 1
	if c.Next, err = store.ParsePosition(string(rest)); err != nil || !ok {
		return c, unavailable(errState)
	}
	return c, nil
}

// Import implements [store.Importer]. Blocks that the source took at one time are a frame,
// which has that time and how far the copy is with it.
func (s *Store) Import(ctx context.Context, was, to store.Copied, what store.Import) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.importing.Lock()
	defer s.importing.Unlock()
	if f := s.failed(); f != nil {
		return f
	}
	if is, err := s.imported(); err != nil {
		return err
	} else if is != was {
		return store.ErrFenced
	}
	s.half.Store(true)
	size := 0
	for _, b := range what.Blocks {
		if err := b.Block.Check(); err != nil {
			return err
		}
		size += len(b.Block.Data)
	}
	if err := s.reserve.check(size); err != nil {
		return err
	}
	rest := len(what.Producers)+len(what.Cursors) > 0
	for blocks := what.Blocks; len(blocks) > 0; {
		n := 1
		for n < len(blocks) && blocks[n].Time.Equal(blocks[0].Time) {
			n++
		}
		at := store.Copied{Source: to.Source, Next: blocks[n-1].Next}
		if n == len(blocks) && !rest {
			at = to
		}
		m := s.importBlocks(blocks[:n], at)
		blocks = blocks[n:]
		if len(blocks) > 0 && s.commitHasty(m) {
			continue // the next one is durable after it
		}
		if err := s.commitNew(m); err != nil {
			return err
		}
	}
	for _, p := range what.Producers {
		if err := s.importProducer(ctx, p); err != nil {
			return err
		}
	}
	for _, c := range what.Cursors {
		if err := s.importCursor(ctx, c); err != nil {
			return err
		}
	}
	if rest || len(what.Blocks) == 0 {
		if err := s.set(keyImport, encodeCopied(to), 0); err != nil {
			return err
		}
	}
	s.half.Store(!to.Complete)
	return nil
}

// importBlocks makes a frame of blocks that were taken at one time.
func (s *Store) importBlocks(blocks []store.ReadBatch, to store.Copied) *commit {
	m := newCommit()
	for _, batch := range blocks {
		s.draftBlock(m, kindImported, batch.Block, 0)
	}
	m.set(keyImport, encodeCopied(to), 0)
	m.time = max(blocks[0].Time.UnixNano(), 1)
	return m
}

// importProducer makes a producer known as it is, with an epoch that nobody has.
func (s *Store) importProducer(ctx context.Context, p store.ImportedProducer) error {
	if err := p.Check(); err != nil {
		return err
	}
	is, err := s.acquire(ctx, p.Producer)
	if err != nil {
		return err
	}
	defer s.releaseTurn(p.Producer, is)
	by := 0
	if is.state.Next == 0 {
		by = 1
	}
	state := p.ProducerState
	state.Epoch = s.epoch.Add(1)
	m := newCommit()
	if err := s.deleteRejections(m, p.Producer); err != nil {
		return err
	}
	for rest := p.Rejected; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < store.MaxRejections && rest[n].Number == rest[0].Number+uint64(n) {
			n++
		}
		m.set(rejectedKey(p.Producer, rest[0].Number), store.AppendRejections(nil, rest[:n]), 0)
		rest = rest[n:]
	}
	m.set(is.key, appendState(nil, state), by)
	m.changes = append(m.changes, change{key: expiryKey(state, is.key), data: []byte{}})
	if err := s.commitNew(m); err != nil {
		return err
	}
	is.state = state
	return nil
}

// importCursor saves a cursor as it is.
func (s *Store) importCursor(ctx context.Context, c store.SavedCursor) error {
	return s.change(ctx, c.CursorName, func(by int) error {
		if err := s.within(c.Position); err != nil {
			return err
		}
		return s.set(cursorKey(c.CursorName), encodeCursor(c.Position, c.Saved), by)
	})
}

func encodeCursor(p store.Position, saved time.Time) []byte {
	v := binary.LittleEndian.AppendUint64(nil, p.Block)
	v = binary.LittleEndian.AppendUint32(v, p.Index)
	return binary.LittleEndian.AppendUint64(v, uint64(saved.UnixNano()))
}
