package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"

	"github.com/dictwire/dictwire/internal/heap"
	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/memory"
)

// openStore opens the store and prints where it is.
func (s *serve) openStore(ctx context.Context, logger *slog.Logger) (closingStore, error) {
	if s.store.dir == inMemory || s.once && s.store.dir == "" {
		keep, ok := s.keep.bytes.of("*")
		if !ok {
			keep = 64 << 20
		}
		s.inMemory = true
		limitHeap(int64(s.maxMemory) + 2*int64(keep))
		s.tell("store", "storing", "the newest %s in memory: nothing outlives this process", &keep)
		return memory.New(&memory.Options{
			KeepBytes: int64(keep),
			MaxTopics: int(s.maxTopics), MaxProducers: int(s.maxProducers), MaxCursors: int(s.maxCursors),
			MaxStoredBytes: int64(s.maxStored.byteSize),
		}), nil
	}
	if inBroker(s.store.dir) {
		return s.openBroker(ctx, logger)
	}
	dir, err := s.store.path()
	if err != nil {
		return nil, err
	}
	// The goroutine that waits for the disk keeps its thread, until the runtime notices: with a
	// single one, nothing else would run meanwhile.
	if runtime.GOMAXPROCS(0) == 1 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2)
	}
	st, err := log.Open(ctx, dir, &log.Options{
		Durability: store.Durability(s.durability.value), Reserve: int64(s.reserve.byteSize), Keep: func(topic string) log.Keep { return s.kept.Load().keep(topic) },
		MaxTopics: int(s.maxTopics), MaxProducers: int(s.maxProducers), MaxCursors: int(s.maxCursors),
		MaxStoredBytes: int64(s.maxStored.byteSize),
		Fatal: func(err error) {
			s.die(hintError{err, "what was acknowledged is safe; look after the disk, then start again"})
		},
		Logger: logger,
		Damaged: func(d log.Damage) {
			logger.Error("the store is damaged; dictwire store check lists what is lost", "damage", d.Text)
		},
	})
	switch {
	case errors.Is(err, store.ErrLocked):
		err = hintError{err, "another server has it open; --store names another directory, or memory"}
	case errors.Is(err, storedir.ErrForeign):
		err = hintError{err, "--store names an empty directory, or one that does not exist yet"}
	case errors.Is(err, storedir.ErrReserve):
		err = hintError{err, "--reserve takes less, or -1 for none"}
	}
	if err != nil {
		return nil, hinted(err)
	}
	if err := s.checkKind(ctx, st); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), st.Close())
	}
	s.disk = st
	guard(dir, s.say)
	const engine = 64 << 20
	limitHeap(int64(s.maxMemory) + engine)
	s.tell("store", "storing in", "%s, durability %s", dir, st.Limits().Durability)
	return st, nil
}

// guard makes a directory with records accessible to its owner only, and prints what it
// changes.
func guard(dir string, say func(format string, args ...any)) {
	switch had, err := storedir.Guard(dir); {
	case err != nil:
		say("other users have access to %s: %v", dir, err)
	case had != 0:
		say("other users had access to %s (mode %04o); now only its owner has", dir, had)
	}
}

// checkKind refuses a store that belongs to something else.
func (s *serve) checkKind(ctx context.Context, st store.Store) error {
	topics, err := st.Topics(ctx)
	if err != nil {
		return err
	}
	isSpool := slices.ContainsFunc(topics, func(t store.TopicStat) bool { return t.Name == disk.Topic })
	if isSpool {
		err = errors.New("it is a client's spool")
	} else if s.prepare != nil {
		err = s.prepare(ctx, st)
	}
	if err != nil {
		err = hintError{err, "--store names another directory"}
	}
	return err
}

// limitHeap makes the garbage collector keep the heap near the memory in use.
func limitHeap(inUse int64) {
	const rest = 12 << 20 // a server without records
	heap.Limit(inUse + inUse/4 + rest)
}
