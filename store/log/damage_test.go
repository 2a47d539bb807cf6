package log_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// TestDamage damages one file of a store that was closed, killed, or lost power:
// all that was acknowledged is there, or the damage is told, and no position is
// given twice.
func TestDamage(t *testing.T) {
	kinds := map[string]int{}
	for seed := range *seeds * 3 {
		w := newWorld(uint64(seed) + 1<<20)
		what, untold, err := w.harmed()
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, what, err)
		}
		if untold {
			kinds["nothing lost"]++
		} else {
			kinds["told"]++
		}
	}
	t.Log(kinds)
	if kinds["told"] == 0 || kinds["nothing lost"] == 0 {
		t.Errorf("%v: want both", kinds)
	}
}

// harmed lets a store live, damages it and says whether nothing was told. The
// error says what is wrong with that.
func (w *world) harmed() (what string, untold bool, err error) {
	if err := w.live(w.rng.IntN(3)+1, func() string { what = w.harm(); return "" }); err != nil {
		return what, false, err
	}
	return w.judge(what)
}

// judge opens a damaged store and says whether nothing was told.
func (w *world) judge(what string) (_ string, untold bool, err error) {
	w.told = nil
	o := w.opts
	o.FS = w.fs
	ctx := context.Background()
	s, err := log.Open(ctx, "store", &o)
	if errors.Is(err, log.ErrDamaged) {
		o.Salvage = true
		if s, err = log.Open(ctx, "store", &o); errors.Is(err, log.ErrDamaged) {
			return what, false, nil // told, and nothing is changed
		}
	}
	if err != nil {
		return what, false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	told := len(w.told) > 0 || o.Salvage
	r, err := s.Check(ctx, func(*store.DamageError) { told = true })
	if err != nil {
		return what, false, err
	}
	_ = r
	head, err := s.Head(ctx)
	if err != nil {
		return what, false, err
	}
	if head.Block < w.acks.head {
		return what, false, fmt.Errorf("the head is %v, and positions were given up to %d", head, w.acks.head)
	}
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil || b.Block == nil {
			continue
		}
		for i, r := range b.Block.Records(0) {
			at := b.At
			at.Index = i
			if want, ok := w.acks.records[at]; ok && want != string(r) {
				return what, false, fmt.Errorf("at %v there is %.60q, want %.60q", at, r, want)
			}
		}
	}
	if told {
		return what, false, nil
	}
	return what, true, w.verify(s)
}

// harm damages one file, and says what it did.
func (w *world) harm() string {
	names := w.fs.Files()
	var mine []string
	for _, name := range names {
		// One of the many files of the states is as good as another.
		if !strings.Contains(name, "/states/") || w.rng.IntN(4) == 0 {
			mine = append(mine, name)
		}
	}
	if w.power {
		// The last groups before power was lost are not promised to be told of.
		var segments []string
		for _, name := range names {
			if path.Ext(name) == ".seg" {
				segments = append(segments, name)
			}
		}
		newest := segments[max(0, len(segments)-3):]
		mine = slices.DeleteFunc(mine, func(name string) bool { return slices.Contains(newest, name) })
	}
	if len(mine) == 0 {
		return ""
	}
	name := mine[w.rng.IntN(len(mine))]
	size := len(w.fs.Get(name))
	at := 0
	if size > 0 {
		at = w.rng.IntN(size)
		if used := strings.TrimRight(string(w.fs.Get(name)), "\x00"); len(used) > 0 && w.rng.IntN(4) > 0 {
			at = w.rng.IntN(len(used)) // not in space that was allocated ahead
		}
	}
	n := 1 + w.rng.IntN(2000)
	end := min(size, at+n)
	base := path.Base(name)
	switch w.rng.IntN(6) {
	case 0, 1:
		if size == 0 {
			return ""
		}
		w.fs.Damage(name, func(b []byte) []byte { b[at] ^= 1 << w.rng.IntN(8); return b })
		return fmt.Sprintf("a bit of byte %d of %s", at, base)
	case 2:
		w.fs.Damage(name, func(b []byte) []byte { clear(b[at:end]); return b })
		return fmt.Sprintf("zeros from %d to %d of %s", at, end, base)
	case 3:
		w.fs.Damage(name, func(b []byte) []byte { return b[:at] })
		return fmt.Sprintf("%s cut at %d", base, at)
	case 4:
		w.fs.Delete(name)
		return "without " + base
	default:
		other := mine[w.rng.IntN(len(mine))]
		if path.Ext(other) != path.Ext(name) || other == name {
			return ""
		}
		b := w.fs.Get(other)
		w.fs.Damage(name, func([]byte) []byte { return b })
		return base + " as " + path.Base(other)
	}
}
