package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// states holds what is known of producers, cursors and topics: keys and values, each with
// the sequence number of the frame that set it. They are derived from the log. The engine
// has them as of the last checkpoint. Later changes are in memory, and are read from the
// log again when the store is opened.
//
//	changes ─▶ fresh ─▶ leaving ─▶ engine
//	              a checkpoint, with the number of the last frame that counts
type states struct {
	dir string

	mu      sync.Mutex
	db      *engine.DB
	fuse    fuse
	blown   []*engine.DB // no longer written to
	fresh   map[string]value
	leaving map[string]value // on the way to the engine, or nil
	seq     uint64           // of the last frame that is included
	mark    mark             // before that frame

	one     sync.Mutex // one checkpoint at a time
	durable uint64     // seq of the last checkpoint; guarded by mu
	damaged error      // guarded by mu
}

// A value is the value of a key. A deleted key has a value without data until no older
// frame is left that could set it.
type value struct {
	seq  uint64
	data []byte
}

// The first byte of a key.
const (
	prefixCursor   = 'c'
	prefixExpiry   = 'e' // producers by expiry; derived, not in the log
	prefixForgot   = 'f' // producers that were forgotten, with their rejections; without data
	prefixCount    = 'n' // numbers of a principal's names; derived, not in the log
	prefixImport   = 'i' // how far a copy of another store is
	prefixMeta     = 'm'
	prefixProducer = 'p'
	prefixRejected = 'r'
	prefixTopic    = 't'
)

const (
	keyApplied = "mapplied" // tag and sequence number
	maxFresh   = 1 << 15    // changes at which a checkpoint is due
	maxFrames  = 1 << 16    // frames at which a checkpoint is due
)

// openStates opens the engine in a directory.
func openStates(fs vfs.FS, dir string, readOnly bool) (*states, error) {
	st := &states{fuse: newFuse(fs), dir: dir, fresh: map[string]value{}}
	var err error
	st.db, err = openEngine(st.fuse, dir, readOnly)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func openEngine(fs vfs.FS, dir string, readOnly bool) (*engine.DB, error) {
	cache := engine.NewCache(8 << 20)
	defer cache.Unref()
	o := &engine.Options{
		Cache: cache, FS: fs, FormatMajorVersion: engine.FormatNewest, ReadOnly: readOnly,
		DisableWAL:    true, // the log serves as one
		MemTableSize:  4 << 20,
		MaxOpenFiles:  256,
		Logger:        quiet{},
		EventListener: &engine.EventListener{DataCorruption: func(engine.DataCorruptionInfo) {}},
	}
	o.Experimental.ReadSamplingMultiplier = -1
	db, err := engine.Open(dir, o)
	if err != nil {
		return nil, brief{err}
	}
	return db, nil
}

// mend reopens the engine after a failed write; perhaps the disk was full. The changes
// that the engine missed are in memory. st.one is held.
func (st *states) mend() error {
	blown := st.fuse.err()
	if blown == nil || len(st.blown) == maxMends {
		return blown
	}
	fuse := newFuse(st.fuse.FS)
	fuse.locked = true
	db, err := openEngine(fuse, st.dir, false)
	if err != nil {
		return err
	}
	if err := fuse.err(); err != nil {
		return errors.Join(err, db.Close())
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	// Readers of the old engine may go on.
	st.blown = append(st.blown, st.db)
	st.db, st.fuse = db, fuse
	return nil
}

// maxMends is how often the engine is reopened.
const maxMends = 16

func (st *states) engine() *engine.DB {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.db
}

func (st *states) close() error {
	var errs []error
	for _, db := range append(st.blown, st.db) {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// quiet is a logger that logs nothing. The engine never has a reason to end the process:
// see fuse.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Errorf(format, a...)) }

// A brief is an error of the engine without the details on further lines.
type brief struct{ error }

func (b brief) Error() string {
	text, _, _ := bytes.Cut([]byte(b.error.Error()), []byte("\n"))
	return string(text)
}

func (b brief) Unwrap() error { return b.error }

// applied returns the tag of the states' log, and the last frame that they include.
func (st *states) applied() (tag string, seq uint64, err error) {
	v, err := st.get(keyApplied)
	if err != nil || v.data == nil {
		return "", 0, err
	}
	return string(v.data), v.seq, nil
}

// put sets a key. It keeps data, which is nil for a deleted key.
func (st *states) put(key string, seq uint64, data []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.set(key, seq, data)
}

// set is put with st.mu held. It reuses the memory of the key's old value.
func (st *states) set(key string, seq uint64, data []byte) {
	old := st.fresh[key].data
	if data != nil {
		data = append(append(old, 0)[:0], data...) // not nil even if it is empty
	}
	st.fresh[key] = value{seq, data}
}

// get returns the value of a key, or the zero value.
func (st *states) get(key string) (value, error) {
	st.mu.Lock()
	v, ok := st.fresh[key]
	if ok {
		v.data = slices.Clone(v.data)
	} else {
		v, ok = st.leaving[key]
	}
	db := st.db
	st.mu.Unlock()
	if ok {
		return v, nil
	}
	b, closer, err := db.Get([]byte(key))
	if errors.Is(err, engine.ErrNotFound) {
		return value{}, nil
	}
	if err != nil {
		return value{}, st.unreadable(err)
	}
	defer closer.Close()
	return decodeValue(slices.Clone(b))
}

func encodeValue(v value) []byte {
	b := binary.AppendUvarint(nil, v.seq)
	if v.data == nil {
		return append(b, 0)
	}
	return append(append(b, 1), v.data...)
}

func decodeValue(b []byte) (value, error) {
	seq, n := binary.Uvarint(b)
	if n <= 0 || n == len(b) || b[n] > 1 {
		return value{}, unavailable(errState)
	}
	v := value{seq: seq}
	if b[n] == 1 {
		v.data = b[n+1:]
	}
	return v, nil
}

var errState = errors.New("a state that can't be read")

// unreadable notes that the engine's files are damaged, so that the next opening rebuilds
// the states from the log.
func (st *states) unreadable(err error) error {
	err = unavailable(brief{err})
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.damaged == nil && engine.IsCorruptionError(err) {
		st.damaged = err
	}
	return err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", store.ErrUnavailable, err) }

// scan calls yield with the keys of a range, in order, until it returns false. Deleted
// keys have no data. It sees the states as of its beginning.
func (st *states) scan(from, below string, yield func(key string, v value) bool) error {
	st.mu.Lock()
	fresh := map[string]value{}
	for _, m := range []map[string]value{st.leaving, st.fresh} {
		for key, v := range m {
			if key >= from && key < below {
				fresh[key] = value{v.seq, slices.Clone(v.data)}
			}
		}
	}
	// Take the iterator of the engine now, so that no change is missed between the two.
	it, err := st.db.NewIter(&engine.IterOptions{LowerBound: []byte(from), UpperBound: []byte(below)})
	st.mu.Unlock()
	if err != nil {
		return st.unreadable(err)
	}
	defer it.Close()
	keys := slices.Sorted(maps.Keys(fresh))
	for it.First(); it.Valid(); it.Next() {
		key := string(it.Key())
		for len(keys) > 0 && keys[0] < key {
			if !yield(keys[0], fresh[keys[0]]) {
				return nil
			}
			keys = keys[1:]
		}
		if _, ok := fresh[key]; ok {
			continue
		}
		v, err := decodeValue(slices.Clone(it.Value()))
		if err != nil {
			return err
		}
		if !yield(key, v) {
			return nil
		}
	}
	if err := it.Error(); err != nil {
		return st.unreadable(err)
	}
	for _, key := range keys {
		if !yield(key, fresh[key]) {
			return nil
		}
	}
	return nil
}

// due reports whether a checkpoint should be made, which is also so after a failed one.
func (st *states) due() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.fresh) >= maxFresh || st.behind() || st.leaving != nil
}

// behind reports whether an opening after a crash would have to read many frames again,
// however small they are. mu is held.
func (st *states) behind() bool { return st.seq-st.durable > maxFrames }

// checkpoint makes the states durable, including what save adds while mu is held, and
// removes keys that were deleted before the frame forget.
func (st *states) checkpoint(tag string, forget uint64, save func()) error {
	st.one.Lock()
	defer st.one.Unlock()
	if err := st.mend(); err != nil {
		return unavailable(fmt.Errorf("the states can't be written: %w", err))
	}
	st.mu.Lock()
	save()
	if st.leaving == nil {
		st.leaving, st.fresh = st.fresh, make(map[string]value, len(st.fresh)/2)
	} else { // the last checkpoint failed
		maps.Copy(st.leaving, st.fresh)
		st.fresh = map[string]value{}
	}
	seq, mark := st.seq, st.mark.encode(st.seq)
	st.mu.Unlock()

	b := st.db.NewBatch()
	for key, v := range st.leaving {
		var err error
		if v.data == nil && (v.seq < forget || key[0] == prefixExpiry || key[0] == prefixCount || key[0] == prefixRejected) {
			err = b.Delete([]byte(key), nil)
		} else {
			err = b.Set([]byte(key), encodeValue(v), nil)
		}
		if err != nil {
			return st.unreadable(err)
		}
	}
	if err := errors.Join(
		b.Set([]byte(keyApplied), encodeValue(value{seq, []byte(tag)}), nil),
		b.Set([]byte(keyMark), encodeValue(value{seq, mark}), nil),
		st.db.Apply(b, engine.NoSync),
		st.db.Flush(),
	); err != nil {
		return st.unreadable(err)
	}
	if err := st.fuse.err(); err != nil {
		return unavailable(fmt.Errorf("the states can't be written: %w", err))
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.leaving, st.durable = nil, seq
	return nil
}

// purge removes keys from the engine, except those that were set again; they are not
// there yet.
func (st *states) purge(keys []string) {
	db := st.engine()
	b := db.NewBatch()
	for _, key := range keys {
		_ = b.Delete([]byte(key), nil) // fails only for a batch that was applied
	}
	_ = db.Apply(b, engine.NoSync) // the rest is purged the next time
}

// sweep removes the keys of a range from the engine, except the last one.
func (st *states) sweep(from, below string) {
	db := st.engine()
	it, err := db.NewIter(&engine.IterOptions{LowerBound: []byte(from), UpperBound: []byte(below)})
	if err != nil {
		return // it is tried again
	}
	defer it.Close()
	if !it.Last() {
		return
	}
	last := slices.Clone(it.Key())
	if it.First() && bytes.Compare(it.Key(), last) < 0 {
		_ = db.DeleteRange([]byte(from), last, engine.NoSync) // the rest is removed the next time
	}
}

// verify reads all states, unless that is much, so that damage is found while they can
// still be rebuilt. It notes the positions in them.
func (st *states) verify(r *recovery) error {
	size := st.engine().Metrics().DiskSpaceUsage()
	if size > maxVerify {
		return nil
	}
	bad := error(nil)
	err := st.scan("a", "z", func(key string, v value) bool {
		switch {
		case v.data == nil:
		case key[0] == prefixCursor && len(v.data) == 20:
			r.pos = max(r.pos, binary.LittleEndian.Uint64(v.data))
		case key[0] == prefixTopic:
			var t topic
			t.decode(v.data)
			r.pos = max(r.pos, t.next, t.trimmed.Load())
		case key[0] == prefixProducer:
			_, bad = decodeState(v.data)
		}
		return bad == nil
	})
	return errors.Join(err, bad)
}

const maxVerify = 64 << 20
