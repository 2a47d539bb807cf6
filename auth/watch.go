package auth

import (
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options configure the watching of files.
type Options struct {
	// Every is the interval of checks for changes. Zero means every second; negative
	// means never, so that only Reload reads the files again.
	Every time.Duration

	// Logger is told when files were read again, and once why they can't be. Nil disables
	// it.
	Logger *slog.Logger
}

// A watcher reads files again when they change, until it is closed.
type watcher struct {
	paths []string
	load  func() error
	log   *slog.Logger

	watches bool // checks happen by themselves

	mu     sync.Mutex
	seen   []fs.FileInfo // the files as last loaded; guarded by mu
	failed string        // why they can't be loaded, or ""; guarded by mu
	told   bool          // failed has been logged; guarded by mu
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once
}

// watch loads files, which must succeed, and watches them.
func watch(o *Options, load func() error, paths ...string) (*watcher, error) {
	if o == nil {
		o = new(Options)
	}
	w := &watcher{paths: paths, load: load, log: o.Logger, stop: make(chan struct{}), done: make(chan struct{})}
	w.seen = w.look()
	if err := load(); err != nil {
		return nil, err
	}
	every := o.Every
	if every == 0 {
		every = time.Second
	}
	if every < 0 {
		close(w.done)
		return w, nil
	}
	w.watches = true
	go w.run(every)
	return w, nil
}

func (w *watcher) run(every time.Duration) {
	defer close(w.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.check()
		}
	}
}

// look returns the present state of the files, following links; nil for a missing one.
func (w *watcher) look() []fs.FileInfo {
	now := make([]fs.FileInfo, len(w.paths))
	for i, path := range w.paths {
		now[i], _ = os.Stat(path)
	}
	return now
}

// check loads the files if they have changed. A file that can't be loaded may be half
// written, so it is logged only if the next check fails, too.
func (w *watcher) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.refresh() && w.failed != "" && !w.told && w.reload() != nil {
		w.tell()
	}
}

// refreshNow loads the files if they have changed, for callers that can't wait for the
// next check, and reports whether they had.
func (w *watcher) refreshNow() bool {
	if !w.watches {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refresh()
}

// refresh loads the files if they have changed, and reports whether they had. w.mu is
// held.
func (w *watcher) refresh() (changed bool) {
	now := w.look()
	for i, was := range w.seen {
		is := now[i]
		changed = changed || (is == nil) != (was == nil) ||
			is != nil && (!os.SameFile(is, was) || is.Size() != was.Size() || !is.ModTime().Equal(was.ModTime()))
	}
	if changed {
		w.seen = now
		_ = w.reload()
	}
	return changed
}

// reload loads the files. w.mu is held.
func (w *watcher) reload() error {
	err := w.load()
	switch {
	case err != nil && err.Error() != w.failed:
		w.failed, w.told = err.Error(), false
	case err == nil:
		w.failed, w.told = "", false
		if w.log != nil {
			w.log.Info("read again", "files", w.paths)
		}
	}
	return err
}

// tell logs why the files can't be loaded. w.mu is held.
func (w *watcher) tell() {
	if w.told = true; w.log != nil {
		w.log.Error("can't be read again: going on with what was read before", "files", w.paths, "error", w.failed)
	}
}

// Reload reads the files again now. If that fails, the last valid ones stay in force, and
// the error says why.
func (w *watcher) Reload() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = w.look()
	err := w.reload()
	w.told = err != nil // the caller is told
	return err
}

// Close stops the checks. What was read stays in force.
func (w *watcher) Close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.done
	return nil
}
