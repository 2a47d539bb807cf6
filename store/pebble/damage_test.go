package pebble_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

// filled returns the file system of a closed store with blocks of two topics,
// and what stands at their positions.
func filled(t *testing.T) (*vfs.MemFS, map[uint64]string) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]string{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		b := &store.Block{Topic: []string{"a", "b"}[i%2], Codec: "json"}
		noise := make([]byte, 1+rng.IntN(1500))
		for j := range noise {
			noise[j] = 'a' + byte(rng.IntN(26))
		}
		b.Add(fmt.Appendf(nil, `{"n":%d,"x":%q}`, i, noise))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		want[r.Position.Block] = string(b.Data)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, want
}

func tables(t *testing.T, fs vfs.FS) (names []string) {
	t.Helper()
	all, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasSuffix(name, ".sst") {
			names = append(names, "store/"+name)
		}
	}
	slices.Sort(names)
	return names
}

// change replaces a file by what f makes of it.
func change(t *testing.T, fs vfs.FS, name string, f func([]byte) []byte) {
	t.Helper()
	in, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(f(b)); err != nil {
		t.Fatal(err)
	}
	out.Close()
}

// survey reads all there is and returns how many blocks were read and how many
// are within what was reported as damaged. Every block is one or the other.
func survey(t *testing.T, s *pebble.Store, want map[uint64]string, topics ...string) (good, damaged int) {
	t.Helper()
	found := map[uint64]bool{}
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: topics}) {
		var d *store.DamageError
		switch {
		case errors.As(err, &d):
			for at := d.From.Block; at < min(d.To.Block, uint64(2*len(want))); at++ {
				if want[at] != "" && !found[at] {
					damaged++
					found[at] = true
				}
			}
		case err != nil:
			t.Fatal(err)
		case b.Block != nil:
			if string(b.Block.Data) != want[b.At.Block] {
				t.Fatalf("%v reads %.40q", b.At, b.Block.Data)
			}
			found[b.At.Block] = true
			good++
		}
	}
	return good, damaged
}

func TestFlippedBits(t *testing.T) {
	fs, want := filled(t)
	rng := rand.New(rand.NewPCG(3, 4))
	losses := 0
	for range 5 {
		fs := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
		name := tables(t, fs)[0]
		at := 0
		change(t, fs, name, func(b []byte) []byte {
			at = rng.IntN(len(b) * 9 / 10) // before the table's own index and footer
			b[at] ^= 1 << rng.IntN(8)
			return b
		})
		s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		good, damaged := survey(t, s, want)
		if good+damaged != len(want) || damaged > 40 {
			t.Fatalf("a bit at %d of %s: %d blocks read, %d damaged, of %d", at, name, good, damaged, len(want))
		}
		for _, topic := range []string{"a", "b"} {
			if g, d := survey(t, s, want, topic); g < len(want)/2-damaged || g > len(want)/2 || d > 80 {
				t.Fatalf("a bit at %d of %s: topic %s: %d blocks read, %d damaged", at, name, topic, g, d)
			}
		}
		r, err := s.Check(t.Context(), func(d *store.DamageError) {
			if d.To.Compare(d.From) < 0 {
				t.Errorf("damage from %v to %v", d.From, d.To)
			}
		})
		if err != nil || r.Damages == 0 || int(r.Blocks) < len(want)-damaged {
			t.Fatalf("a bit at %d of %s: Check: %+v, %v", at, name, r, err)
		}
		losses += damaged
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if losses == 0 {
		t.Fatal("nothing was damaged")
	}
}

// TestDamageStopsNobody damages all tables of a store, which the engine can't merge
// with later ones any more, and has it write more tables than it would let wait.
func TestDamageStopsNobody(t *testing.T) {
	fs, _ := filled(t)
	for _, name := range tables(t, fs) {
		change(t, fs, name, func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
	}
	const lives = 48 // each writes a table in the end
	o := pebble.Options{FS: fs, KeepEvery: -1, Reserve: -1}
	done := make(chan error, 1)
	go func() {
		for range lives {
			s, err := pebble.Open(t.Context(), "store", &o)
			if err == nil {
				err = errors.Join(s.Append(t.Context(), block("c", 1))[0].Err, s.Close())
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a writer waits")
	}
	s := open(t, o)
	read := 0
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"c"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block != nil {
			read++
		}
	}
	if read != lives {
		t.Fatalf("%d of %d blocks were read", read, lives)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedFile(t *testing.T) {
	fs, want := filled(t)
	s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	var last store.Position
	for range 200 { // enough for several tables
		b := &store.Block{Topic: "c", Codec: "cbor"}
		noise := make([]byte, 60_000)
		for j := range noise {
			noise[j] = byte(rng.Uint32())
		}
		b.Add(noise)
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		last, want[r.Position.Block] = r.Position, string(noise)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names := tables(t, fs)
	if len(names) < 2 {
		t.Fatalf("the tables are %v, want several", names)
	}
	change(t, fs, names[len(names)/2], func(b []byte) []byte { return b[:len(b)/2] })

	if _, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1}); err == nil {
		t.Fatal("a store with a file that was cut opened as if nothing were")
	}
	s, err = pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1, Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	good, damaged := survey(t, s, want)
	if good == 0 || good+damaged != len(want) {
		t.Fatalf("%d blocks read, %d damaged, of %d", good, damaged, len(want))
	}
	if r, err := s.Check(t.Context(), func(*store.DamageError) {}); err != nil || r.Damages == 0 {
		t.Fatalf("Check: %+v, %v", r, err)
	}
	b := &store.Block{Topic: "d", Codec: "json"}
	b.Add([]byte(`{}`))
	next := s.Append(t.Context(), b)[0]
	if next.Err != nil || next.Position.Compare(last) <= 0 {
		t.Fatalf("the next position is %v (%v), the last was %v", next.Position, next.Err, last)
	}
}

// TestFlippedBitsOfTheTable flips bits in the last tenth of a table, where its
// index, its footer and the store's own keys are. Open may refuse, and names the
// table, unless the store is to be salvaged; then each block is read or reported.
func TestFlippedBitsOfTheTable(t *testing.T) {
	fs, want := filled(t)
	rng := rand.New(rand.NewPCG(7, 8))
	refused, opened := 0, 0
	for i := range 12 {
		fs := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
		name := tables(t, fs)[0]
		at := 0
		change(t, fs, name, func(b []byte) []byte {
			if at = len(b)*9/10 + rng.IntN(len(b)/10); i < 4 {
				at = len(b) - 1 - 13*i // the footer
			}
			b[at] ^= 1 << rng.IntN(8)
			return b
		})
		s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1})
		if err != nil {
			refused++
			number := strings.TrimSuffix(strings.TrimPrefix(name, "store/"), ".sst")
			if !strings.Contains(err.Error(), number) {
				t.Errorf("a bit at %d of %s: Open: %v, want the table", at, name, err)
			}
			s, err = pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1, Salvage: true})
			if err != nil {
				t.Errorf("a bit at %d of %s: Open to salvage: %v", at, name, err)
				continue
			}
		} else {
			opened++
		}
		if good, damaged := survey(t, s, want); good+damaged != len(want) {
			t.Errorf("a bit at %d of %s: %d blocks read, %d damaged, of %d", at, name, good, damaged, len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 || opened == 0 {
		t.Fatalf("%d stores opened, %d were refused, want some of both", opened, refused)
	}
}
