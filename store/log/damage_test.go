package log_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// TestDamage damages a file of a store that was closed, killed, or lost power. Each
// acknowledged record is there, or both a reader and a check report damage at its place,
// now and at later openings. No position is given out twice.
func TestDamage(t *testing.T) {
	kinds := map[string]int{}
	for seed := range testrand.From(*first, max(testrand.Many(*seeds*2), 120)) { // enough for some of each kind
		w := newWorld(seed + 1<<20)
		what := ""
		if err := w.live(w.rng.IntN(3)+1, func() error {
			if w.power { // the last writes may be lost without a report
				if s, err := w.open(); err != nil {
					return err
				} else if err := s.Close(); err != nil {
					return err
				}
			}
			what = w.harm()
			return nil
		}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if what == "" {
			kinds["no harm"]++
			continue
		}
		kind, err := w.judge()
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, what, err)
		}
		kinds[kind]++
	}
	t.Log(kinds)
	if kinds[lost] == 0 || kinds[whole] == 0 || kinds[untold] == 0 {
		t.Errorf("%v: want some of each kind", kinds)
	}
}

// The outcomes of damage.
const (
	refused = "told, and does not open"
	lost    = "told, and records are lost"
	whole   = "told, and all records are there"
	untold  = "all is there, and nothing is told"
)

// judge opens a damaged store a few times, and returns the outcome.
func (w *world) judge() (kind string, err error) {
	o := w.opts
	o.FS = w.fs
	viewed, err := w.viewDamaged()
	if err != nil {
		return "", fmt.Errorf("read-only: %w", err)
	}
	defer func() {
		if err == nil && (viewed == untold) != (kind == untold) {
			err = fmt.Errorf("read-only: %s, and then: %s", viewed, kind)
		}
	}()
	missing := false
	if s, err := log.Open(context.Background(), "store", &o); err == nil {
		if kind, err = w.inspect(s, len(w.told) > 0, true); err != nil {
			return "", err
		}
	} else if missing = errors.Is(err, log.ErrDamaged); !missing {
		return "", err
	}
	accepted := false
	for _, salvage := range []bool{false, true, false} {
		accepted = accepted || salvage
		if missing && !salvage && kind == "" {
			continue
		}
		w.told, o.Salvage = nil, salvage
		s, err := log.Open(context.Background(), "store", &o)
		if missing && errors.Is(err, log.ErrDamaged) {
			return refused, nil
		}
		if err != nil {
			return "", err
		}
		again, err := w.inspect(s, len(w.told) > 0, !accepted || kind == untold)
		if err != nil {
			return "", err
		}
		switch {
		case kind == "" && again == untold: // the missing part held nothing
			kind = whole
		case kind == "" || kind == again:
			kind = again
		case kind == whole && again == untold && accepted:
		default:
			return "", fmt.Errorf("%s, and when it is opened again (to salvage: %v): %s", kind, salvage, again)
		}
	}
	return kind, nil
}

// viewDamaged opens a damaged store read-only, and returns the outcome.
func (w *world) viewDamaged() (kind string, err error) {
	if err = w.view(func(s *log.Store, told []string) error {
		kind, err = w.compare(s, len(told) > 0)
		return err
	}); errors.Is(err, log.ErrDamaged) {
		return refused, nil
	} else if errors.Is(err, os.ErrNotExist) && w.acks.head == 0 {
		return untold, nil // its first opening was never finished
	}
	return kind, err
}

// inspect reads all of a store, writes to it, and closes it. After damage was reported and
// accepted, numbers, rejections and cursors may be lost: then inspect does not check them.
func (w *world) inspect(s *log.Store, told, states bool) (kind string, err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	kind, err = w.compare(s, told)
	switch {
	case err != nil || kind != untold:
	case states:
		err = w.verify(s)
	default:
		acks := w.now()
		acks.cursor = store.Position{}
		_, _, err = acks.verify(s)
	}
	if err != nil {
		return "", err
	}
	b := &store.Block{Topic: "c", Codec: "json"}
	b.Add([]byte(`{"c":0}`))
	r := s.Append(context.Background(), b)[0]
	if r.Err != nil {
		return "", r.Err
	}
	if r.Position.Block < w.acks.head {
		return "", fmt.Errorf("the position %v is given, and all up to %d were", r.Position, w.acks.head)
	}
	w.ack(r.Position, []string{`{"c":0}`}, func(*acks) {})
	return kind, nil
}

// compare reads all of a store, and compares it with what was acknowledged.
func (w *world) compare(s *log.Store, told bool) (kind string, err error) {
	ctx := context.Background()
	checked := 0
	if _, err := s.Check(ctx, func(*store.DamageError) { checked++ }); err != nil {
		return "", err
	}
	there := map[store.Position]string{}
	var damages []*store.DamageError
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		var damage *store.DamageError
		switch {
		case errors.As(err, &damage):
			damages = append(damages, damage)
		case err != nil:
			return "", err
		case b.Block != nil:
			for i, r := range b.Block.Records(0) {
				at := b.At
				at.Index = i
				there[at] = string(r)
			}
		}
	}
	kind = untold
	if told || checked > 0 {
		kind = whole
	}
	for at, want := range w.acks.records {
		got, ok := there[at]
		switch {
		case ok && got != want:
			return "", fmt.Errorf("at %v there is %.60q, want %.60q", at, got, want)
		case ok || at.Block < w.acks.asked[topicOf(want)]:
		case !slices.ContainsFunc(damages, func(d *store.DamageError) bool { return d.From.Compare(at) <= 0 && at.Compare(d.To) < 0 }):
			return "", fmt.Errorf("%.60q at %v is lost, and a reader is told of %v", want, at, damages)
		case checked == 0:
			return "", fmt.Errorf("%.60q at %v is lost, and a check finds nothing", want, at)
		default:
			kind = lost
		}
	}
	if told && checked == 0 {
		return "", errors.New("the opening told of damage, and a check does not")
	}
	return kind, nil
}

// harm damages a file and describes the damage; it returns "" if nothing has changed.
func (w *world) harm() (what string) {
	names := w.fs.Files()
	var mine []string
	for _, name := range names {
		// There are many files of states, of which any one will do.
		if path.Base(name) != "LOCK" && (!strings.Contains(name, "/states/") || w.rng.IntN(8) == 0) {
			mine = append(mine, name)
		}
	}
	if len(mine) == 0 {
		return ""
	}
	return w.fs.Harm(w.rng, mine)
}

// If the newest segment, which is empty, and the last full one are swapped, no header
// reveals that the frames of the full one are missing; the segment after it does.
func TestSwapped(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10})
	var all []store.Position
	for n := range 20 {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(noise(n, 9000))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		all = append(all, r.Position)
	}
	fs = fs.Crash(false, nil)
	names, _ := segments(fs)
	full, empty := path.Join("store", names[len(names)-3]), path.Join("store", names[len(names)-1])
	a, b := fs.Get(full), fs.Get(empty)
	fs.Damage(full, func([]byte) []byte { return b })
	fs.Damage(empty, func([]byte) []byte { return a })
	for how, o := range map[string]log.Options{"read-only": {ReadOnly: true}, "salvage": {Salvage: true}} {
		o.FS, o.KeepEvery = fs.Crash(false, nil), -1
		s, err := log.Open(t.Context(), "store", &o)
		if err != nil {
			t.Fatal(how, err)
		}
		told, lost := map[uint64]bool{}, 0
		for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
			var d *store.DamageError
			if err != nil && !errors.As(err, &d) {
				t.Fatal(how, err)
			}
			for at := b.At.Block; at < b.Next.Block && at <= all[len(all)-1].Block; at++ {
				told[at] = true
				if d != nil {
					lost++
				}
			}
		}
		for _, at := range all {
			if !told[at.Block] {
				t.Errorf("%s: the block at %v is lost, and a reader is not told", how, at)
			}
		}
		if lost < 2 || lost > 4 {
			t.Errorf("%s: %d blocks are lost", how, lost)
		}
		if err := s.Close(); err != nil {
			t.Error(how, err)
		}
	}
}

// Lost records are no longer counted once their loss is accepted.
func TestSalvagedIsCounted(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10})
	for n := range 20 {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(noise(n, 9000))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := segments(fs)
	fs = fs.Crash(false, nil)
	if err := fs.Remove(path.Join("store", names[1])); err != nil {
		t.Fatal(err)
	}
	for _, salvage := range []bool{true, false} {
		s, err := log.Open(t.Context(), "store", &log.Options{FS: fs, KeepEvery: -1, Salvage: salvage})
		if err != nil {
			t.Fatal(err)
		}
		there := uint64(0)
		for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
			var d *store.DamageError
			if err != nil && !errors.As(err, &d) {
				t.Fatal(err)
			}
			if b.Block != nil {
				there++
			}
		}
		stats, err := s.Topics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if there == 0 || there == 20 || stats[0].Blocks != there || stats[0].Records != there {
			t.Errorf("salvage %v: a is said to hold %d blocks with %d records, and there are %d", salvage, stats[0].Blocks, stats[0].Records, there)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Blocks with damaged bodies are trimmed like others, and the rest is counted.
func TestDamagedAreTrimmed(t *testing.T) {
	m := newMix(t, 10_000, 64<<10)
	m.put("kept") // otherwise the segment would be freed
	m.must(m.s.Close())
	states := map[string][]byte{}
	for _, name := range m.fs.Files() {
		if strings.Contains(name, "/states/") {
			states[name] = bytes.Clone(m.fs.Get(name))
		}
	}
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1})
	m.put("gone")
	m.put("gone")
	spoilt := noise(m.n, m.record)
	m.fill(30, 1)
	m.trim()
	m.put("gone")
	left := withoutStates(m.fs)
	for name, b := range states { // as of the last checkpoint
		left.Put(name, b)
	}
	spoil(t, left, spoilt[:20])
	s := open(t, log.Options{FS: left, KeepEvery: -1})
	m.verify(s)
	stats, err := s.Topics(t.Context(), "gone")
	m.must(err)
	if len(stats) != 1 || stats[0].Blocks != 1 || stats[0].Records != 1 {
		t.Errorf("a block is left, and of the topic is said: %+v", stats)
	}
}

// A frame whose header gives a wrong length is reported as damaged.
func TestDamagedPadding(t *testing.T) {
	const name, frames, padding = "store/log-0000000001.seg", 4096, 44
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	for n := range 5 {
		if err := appendNoise(t.Context(), s, n+1, 100); err != nil {
			t.Fatal(err)
		}
		claim, err := s.ClaimCursor(t.Context(), store.CursorName{Name: strings.Repeat("c", n+1), Subscription: "*"}, store.CursorRequest{})
		if err != nil {
			t.Fatal(err)
		}
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), store.CursorName{Name: strings.Repeat("c", n+1), Subscription: "*"}, claim.Epoch, head); err != nil {
			t.Fatal(err)
		}
	}
	b := fs.Get(name)
	spoilt := 0
	for at := frames; ; {
		size := int(binary.LittleEndian.Uint32(b[at:]))
		if size == 0 {
			break
		}
		for bit := range 3 {
			left := fs.Crash(false, nil)
			left.Damage(name, func(b []byte) []byte { b[at+padding] ^= 1 << bit; return b })
			if told := told(t, left, 0); len(told) == 0 && binary.LittleEndian.Uint32(b[at+size:]) > 0 {
				t.Errorf("bit %d of the padding of the frame at %d: nothing is told", bit, at)
			}
			spoilt++
		}
		at += size
	}
	if spoilt < 30 {
		t.Errorf("%d frames were spoilt", spoilt)
	}
}
