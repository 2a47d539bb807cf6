package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// Each frame says how far the log was synced when it was written. Without the slots and the
// states, only this distinguishes damage from the end of the log: a damaged frame is
// reported as missing, unless it is one of the last two.
func TestFramesPromise(t *testing.T) {
	const frames = 10
	for _, power := range []bool{false, true} {
		for spoilt := 1; spoilt <= frames-2; spoilt++ {
			t.Run(fmt.Sprintf("record %d, power lost: %v", spoilt, power), func(t *testing.T) {
				fs := crashfs.New(1)
				s := open(t, log.Options{FS: fs, KeepEvery: -1})
				for n := range frames {
					if err := appendNoise(t.Context(), s, n+1, 100); err != nil {
						t.Fatal(err)
					}
				}
				fs = onlySegments(fs.Crash(power, nil))
				spoil(t, fs, noise(spoilt, 100))
				for range 2 { // reported until it is accepted
					if told := told(t, fs, frames-1); len(told) == 0 {
						t.Error("nothing is told")
					}
				}
			})
		}
	}
}

// A position is not given out twice, even if no file records that it was given out.
func TestPositionsLeap(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	for n := range 5 {
		if err := appendNoise(t.Context(), s, n+1, 100); err != nil {
			t.Fatal(err)
		}
	}
	given, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fs = onlySegments(fs)
	spoil(t, fs, noise(5, 100))
	s = open(t, log.Options{FS: fs, KeepEvery: -1})
	if head, err := s.Head(t.Context()); err != nil || head.Compare(given) < 0 {
		t.Errorf("positions go on with %v (%v), and all below %v were given", head, err, given)
	}
}

// An opening that writes the closing frame again may have been followed by frames that
// somebody has read, and that a loss of power has removed.
func TestClosedBefore(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	if err := errors.Join(appendNoise(t.Context(), s, 1, 100), s.Close()); err != nil {
		t.Fatal(err)
	}
	fs = onlySegments(fs)
	s = open(t, log.Options{FS: fs, KeepEvery: -1})
	left := onlySegments(fs)
	if err := appendNoise(t.Context(), s, 2, 100); err != nil {
		t.Fatal(err)
	}
	given, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, log.Options{FS: left, KeepEvery: -1})
	if head, err := s.Head(t.Context()); err != nil || head.Compare(given) < 0 {
		t.Errorf("positions go on with %v (%v), and all below %v were given", head, err, given)
	}
}

// onlySegments returns what a crash leaves of a file system if nothing but the segments
// says what was synced.
func onlySegments(fs *crashfs.FS) *crashfs.FS {
	fs = fs.Crash(false, nil)
	for _, name := range fs.Files() {
		if path.Ext(name) != ".seg" {
			fs.Delete(name)
		}
	}
	return fs
}

// The first frame of a segment is found after zeros at the end of the segment before, even
// if the header of the next one is damaged.
func TestZerosBeforeFirst(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10})
	count := func() int { names, _ := segments(fs); return len(names) }
	n, first := 0, count()
	for ; count() < first+2; n++ { // the last one is the first of its segment
		if err := appendNoise(t.Context(), s, n+1, 9000); err != nil {
			t.Fatal(err)
		}
	}
	fs = onlySegments(fs)
	names, _ := segments(fs)
	fs.Damage(path.Join("store", names[len(names)-3]), func(b []byte) []byte { return append(b, make([]byte, 4096)...) })
	fs.Damage(path.Join("store", names[len(names)-1]), func(b []byte) []byte { b[40] ^= 1; return b })
	for range 2 {
		if told := told(t, fs, n); len(told) > 0 {
			t.Errorf("%q is told", told)
		}
	}
}

// Frames of another log are ignored, even if they have the same numbers and are at the same
// offset of a segment with the same number.
func TestFramesOfAnotherLog(t *testing.T) {
	left := func(from int) *crashfs.FS {
		fs := crashfs.New(1)
		s := open(t, log.Options{FS: fs, KeepEvery: -1})
		for n := range 5 {
			if err := appendNoise(t.Context(), s, from+n, 100); err != nil {
				t.Fatal(err)
			}
		}
		return fs.Crash(false, nil)
	}
	const name, frames = "store/log-0000000001.seg", 4096
	fs, other := left(1), left(101).Get("store/log-0000000001.seg")
	fs.Damage(name, func(b []byte) []byte { return append(b[:frames], other[frames:]...) })
	for range 2 {
		if told := told(t, fs, 0); len(told) == 0 {
			t.Error("nothing is told")
		}
	}
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	for b := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if b.Block != nil {
			t.Errorf("%.40q is read", b.Block.Data)
		}
	}
}

// A group written during the sync of the previous one is neither promised nor acknowledged
// by that sync.
func TestOverlappingGroups(t *testing.T) {
	d := newDisk()
	s, err := log.Open(t.Context(), "store", &log.Options{FS: d, KeepEvery: -1, MaxSegment: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const before, size, many = 90, 700, 300 // so that a group may overlap, and each frame has pages of its own
	for n := range before {                 // until there is a large segment
		if err := appendNoise(t.Context(), s, -n-1, 10_000); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	defer func() {
		all.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	first, others := make(chan error, 1), make(chan error, many)
	release := d.Block()
	defer release()
	all.Go(func() { first <- appendNoise(t.Context(), s, 1, size) })
	<-d.Blocked()
	written := make(chan struct{})
	once := sync.OnceFunc(func() { close(written) })
	d.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Write && strings.HasSuffix(name, ".seg") {
			once()
		}
		return nil
	})
	for n := range many {
		all.Go(func() { others <- appendNoise(t.Context(), s, n+2, size) })
	}
	<-written
	lose := func(least int) {
		for seed := range uint64(30) {
			if told := told(t, d.Crash(true, rand.New(rand.NewPCG(seed, 0))), least); len(told) > 0 {
				t.Fatalf("seed %d: power was lost, and %q is told", seed, told)
			}
		}
	}
	lose(before)
	then := d.Block()
	defer then()
	release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Blocked():
	case err := <-others:
		t.Fatalf("answered without a sync of its own: %v", err)
	}
	lose(before + 1)
	then()
	for range many {
		if err := <-others; err != nil {
			t.Fatal(err)
		}
	}
	lose(before + 1 + many)
}

// noise returns the record with the number n, which can be found in a file.
func noise(n, size int) []byte {
	b := make([]byte, size/2)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b) // never fails
	return fmt.Appendf(nil, "%x", b)
}

func appendNoise(ctx context.Context, s *log.Store, n, size int) error {
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add(noise(n, size))
	return s.Append(ctx, b)[0].Err
}

// spoil flips a bit of a record in its segment.
func spoil(t *testing.T, fs *crashfs.FS, record []byte) {
	t.Helper()
	for _, name := range fs.Files() {
		if at := bytes.Index(fs.Get(name), record); at >= 0 && path.Ext(name) == ".seg" {
			fs.Damage(name, func(b []byte) []byte { b[at] ^= 1; return b })
			return
		}
	}
	t.Fatalf("%.40q is in no segment", record)
}

// told opens and closes a store that should have at least so many records, and returns the
// damage that is reported.
func told(t *testing.T, fs *crashfs.FS, least int) (told []string) {
	t.Helper()
	s, err := log.Open(t.Context(), "store", &log.Options{FS: fs, KeepEvery: -1, Damaged: func(d log.Damage) { told = append(told, d.Text) }})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil && !errors.As(err, new(*store.DamageError)) {
			t.Fatal(err)
		}
		if err == nil && b.Block != nil {
			got++
		}
	}
	if got < least {
		t.Errorf("%d records are there, want %d", got, least)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return told
}
