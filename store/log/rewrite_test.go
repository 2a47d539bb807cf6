package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// mix is a store with topics of which some are trimmed, and what it should hold.
type mix struct {
	t      *testing.T
	fs     *crashfs.FS
	s      *log.Store
	n      int
	record int                       // bytes
	kept   map[store.Position][]byte // by the position of their block
	size   int                       // bytes in kept
}

func newMix(t *testing.T, record int, maxSegment int64) *mix {
	m := &mix{t: t, fs: crashfs.New(1), record: record, kept: map[store.Position][]byte{}}
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, MaxSegment: maxSegment})
	return m
}

func (m *mix) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// put appends a record to a topic.
func (m *mix) put(topic string) {
	m.t.Helper()
	m.n++
	b := &store.Block{Topic: topic, Codec: "json"}
	b.Add(noise(m.n, m.record))
	r := m.s.Append(m.t.Context(), b)[0]
	m.must(r.Err)
	if strings.HasPrefix(topic, "kept") {
		m.kept[r.Position] = slices.Clone(b.Data)
		m.size += len(b.Data)
	}
}

// fill appends n records, of which one in every is kept.
func (m *mix) fill(n, every int) {
	for i := range n {
		if i%every == 0 {
			m.put("kept")
		} else {
			m.put("gone")
		}
	}
}

// trim trims everything in the topic "gone".
func (m *mix) trim() {
	m.t.Helper()
	head, err := m.s.Head(m.t.Context())
	m.must(err)
	m.must(m.s.Trim(m.t.Context(), "gone", head))
}

// verify reads all of a store.
func (m *mix) verify(s *log.Store) {
	m.t.Helper()
	if err := m.holds(s, nil); err != nil {
		m.t.Fatal(err)
	}
}

// holds reports what the store lacks, except for what is reported as damaged.
func (m *mix) holds(s *log.Store, damaged func(*store.DamageError)) error {
	there := map[store.Position]bool{}
	var damages []*store.DamageError
	last := uint64(0)
	for b, err := range s.Read(context.Background(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
		var d *store.DamageError
		switch {
		case errors.As(err, &d) && damaged != nil:
			damages = append(damages, d)
			damaged(d)
		case err != nil:
			return err
		case b.Block != nil:
			at := b.At
			if want := m.kept[at]; !bytes.Equal(want, b.Block.Data) || at.Block <= last {
				return fmt.Errorf("at %v after %d there is %.20q, want %.20q", at, last, b.Block.Data, want)
			}
			there[at], last = true, at.Block
		}
	}
	for at := range m.kept {
		if !there[at] && !slices.ContainsFunc(damages, func(d *store.DamageError) bool { return d.From.Compare(at) <= 0 && at.Compare(d.To) < 0 }) {
			return fmt.Errorf("the block at %v is missing, and %v is told", at, damages)
		}
	}
	return nil
}

// segments returns the segment files, and their size in all.
func segments(fs *crashfs.FS) (names []string, size int) {
	for _, name := range fs.Files() {
		if strings.Contains(name, ".seg") {
			names = append(names, path.Base(name))
			size += len(fs.Get(name))
		}
	}
	return names, size
}

// The store uses little more disk than the retained records and a few segments need,
// whatever is trimmed, in any order.
func TestRewriteBounds(t *testing.T) {
	const maxSegment, record = 256 << 10, 4000
	for _, every := range []int{2, 5, 40, 1000} {
		t.Run(fmt.Sprint("1 in ", every, " is kept"), func(t *testing.T) {
			m := newMix(t, record, maxSegment)
			var last []store.Position
			for range 12 {
				m.fill(250, every)
				head, err := m.s.Head(t.Context())
				m.must(err)
				last = append(last, head)
				if len(last) > 2 { // only the newer ones stay
					m.must(m.s.Trim(t.Context(), "gone", last[len(last)-2]))
				}
				m.must(m.s.Tidy(t.Context()))
				stats, err := m.s.Topics(t.Context())
				m.must(err)
				retained := 0
				for _, s := range stats {
					retained += int(s.Bytes)
				}
				names, size := segments(m.fs)
				if limit := retained*13/10 + 4*maxSegment; size > limit {
					t.Fatalf("%d bytes are retained, and the files take %d, want at most %d: %v", retained, size, limit, names)
				}
			}
			m.verify(m.s)
			names, size := segments(m.fs)
			t.Logf("%d bytes kept, %d on the disk, in %d files", m.size, size, len(names))
			if most := 20 + m.size/maxSegment*2; len(names) > most {
				t.Errorf("%d files, want at most %d", len(names), most)
			}
			left := m.fs.Crash(false, nil)
			m.must(m.s.Close())
			for _, fs := range []*crashfs.FS{m.fs, left, withoutStates(left)} {
				s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: maxSegment, Damaged: func(d log.Damage) { t.Error(d) }})
				m.verify(s)
				m.must(s.Close())
			}
		})
	}
}

func withoutStates(fs *crashfs.FS) *crashfs.FS {
	left := fs.Crash(false, nil)
	for _, name := range left.Files() {
		if strings.Contains(name, "/states/") {
			left.Delete(name)
		}
	}
	return left
}

// Wherever a rewrite is interrupted, by a killed process or a loss of power, either the old
// or the new file is used, and the other one is removed.
func TestRewriteCrash(t *testing.T) {
	seen := map[bool]int{}
	for _, power := range []bool{false, true} {
		for ops, after := 1, 0; after < 20; ops++ {
			m := newMix(t, 1000, 64<<10)
			m.fill(200, 5)
			m.trim()
			m.fs.CrashAfter(ops, power, nil)
			m.must(m.s.Tidy(t.Context()))
			left := m.fs.After()
			if left == nil { // the rewrite is finished
				after++
				left = m.fs.Crash(power, rand.New(rand.NewPCG(uint64(after), 1)))
			}
			m.must(m.s.Close())
			for _, fs := range []*crashfs.FS{withoutStates(left), left} {
				s := open(t, log.Options{FS: fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Errorf("power %v, after %d operations: %v", power, ops, d) }})
				names, _ := segments(fs)
				numbers, anew := map[string]bool{}, false
				for _, name := range names {
					number, revision, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(name, ".seg"), "log-"), "-")
					if numbers[number] || strings.HasSuffix(name, ".tmp") {
						t.Fatalf("power %v, after %d operations: %v", power, ops, names)
					}
					numbers[number], anew = true, anew || revision != ""
				}
				seen[anew]++
				if err := m.holds(s, nil); err != nil {
					t.Fatalf("power %v, after %d operations: %v: %v", power, ops, names, err)
				}
				m.must(s.Close())
			}
		}
	}
	t.Log(seen)
	if seen[false] < 10 || seen[true] < 10 {
		t.Errorf("the old file was used in %d cases and the new one in %d", seen[false], seen[true])
	}
}

// If a rewrite is interrupted while both files exist, and the old one and the states are
// then lost, the new file is used: what the old one said of producers was appended to the
// log before.
func TestRewriteCarriesStates(t *testing.T) {
	p, both := store.Producer{Topic: "gone", Name: "x"}, 0
	for ops := 1; ops <= 40; ops++ { // it takes about 24, unless the trim has already begun it
		m := newMix(t, 1000, 64<<10)
		claim, err := m.s.Claim(t.Context(), p, store.ClaimRequest{})
		m.must(err)
		b := &store.Block{Topic: "gone", Codec: "json", Producer: p, Epoch: claim.Epoch, First: 1}
		b.Add([]byte(`{}`))
		m.must(m.s.Append(t.Context(), b)[0].Err)
		m.fill(200, 5)
		m.trim()
		m.fs.CrashAfter(ops, false, nil)
		m.must(m.s.Tidy(t.Context()))
		left := m.fs.After()
		m.must(m.s.Close())
		if left == nil {
			continue
		}
		old, rewritten := "store/log-0000000001.seg", "store/log-0000000001-1.seg"
		if files := left.Files(); !slices.Contains(files, old) || !slices.Contains(files, rewritten) {
			continue
		}
		both++
		left = withoutStates(left)
		left.Delete(old)
		s := open(t, log.Options{FS: left, KeepEvery: -1})
		m.verify(s)
		if claim, err = s.Claim(t.Context(), p, store.ClaimRequest{Acked: 1}); err != nil || claim.Next != 2 {
			t.Errorf("after %d operations: the producer's next number is %d (%v), want 2", ops, claim.Next, err)
		}
		m.must(s.Close())
	}
	if both == 0 {
		t.Error("both files were never there")
	}
}

// A reader in the middle of a file that is rewritten continues in it and after it.
func TestRewriteUnderReader(t *testing.T) {
	m := newMix(t, 1000, 64<<10)
	m.fill(300, 3)
	before, _ := segments(m.fs)
	n := 0
	for b, err := range m.s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
		m.must(err)
		if b.Block == nil {
			continue
		}
		if !bytes.Equal(b.Block.Data, m.kept[b.At]) {
			t.Fatalf("at %v there is %.20q", b.At, b.Block.Data)
		}
		if n++; n == 5 || n == 50 {
			m.trim()
			m.must(m.s.Tidy(t.Context()))
			if names, _ := segments(m.fs); slices.Contains(names, before[0]) {
				t.Fatalf("%s is there: %v", before[0], names)
			}
		}
	}
	if n != len(m.kept) {
		t.Errorf("%d records were read, want %d", n, len(m.kept))
	}
}

// Damage is still reported after a rewrite.
func TestRewriteKeepsDamage(t *testing.T) {
	for seed := range uint64(60) {
		m := newMix(t, 1000, 64<<10)
		m.fill(200, 4)
		m.must(m.s.Close())
		rng := rand.New(rand.NewPCG(seed, 1))
		names, _ := segments(m.fs)
		name := "store/" + names[rng.IntN(2)] // a large one that is sealed
		size := len(bytes.TrimRight(m.fs.Get(name), "\x00"))
		at := 4096 + rng.IntN(size-4096)
		m.fs.Damage(name, func(b []byte) []byte {
			if rng.IntN(2) == 0 {
				b[at] ^= 1
			} else {
				clear(b[at:min(size, at+rng.IntN(5000)+1)])
			}
			return b
		})
		m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1})
		check := func() (lost uint64, n int) {
			r, err := m.s.Check(t.Context(), func(*store.DamageError) {})
			m.must(err)
			return r.Records, r.Damages
		}
		_, before := check()
		told := map[store.Position]bool{}
		m.must(m.holds(m.s, func(d *store.DamageError) { told[d.From] = true }))
		if before == 0 {
			t.Fatalf("seed %d: nothing is told", seed)
		}
		m.trim()
		records, untrimmed := check()
		for range 3 {
			m.must(m.s.Tidy(t.Context()))
			if _, err := m.s.Head(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.must(m.holds(m.s, func(*store.DamageError) {}))
			if again, after := check(); again != records || after < untrimmed {
				t.Fatalf("seed %d: byte %d of %s: %d records and %d damages, and after a rewriting %d and %d", seed, at, name, records, untrimmed, again, after)
			}
			m.must(m.s.Close())
			m.fs = withoutStates(m.fs)
			m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1})
			m.fill(150, 4)
			m.trim()
			records, untrimmed = check()
		}
	}
}

// A segment that can't be read is not rewritten, and that is logged.
func TestRewriteReadError(t *testing.T) {
	var said bytes.Buffer
	m := newMix(t, 1000, 64<<10)
	m.must(m.s.Close())
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	m.fill(200, 5)
	before, _ := segments(m.fs)
	began := false
	m.fs.SetFault(func(op crashfs.Op, name string) error {
		began = began || op == crashfs.Create && strings.HasSuffix(name, ".seg.tmp")
		if began && op == crashfs.Read && path.Base(name) == before[1] {
			return errInjected
		}
		return nil
	})
	m.trim()
	_ = m.s.Tidy(t.Context()) // or it is done in the background
	_ = m.s.Tidy(t.Context())
	m.fs.SetFault(nil)
	names, _ := segments(m.fs)
	if !slices.Contains(names, before[1]) || slices.Contains(names, before[2]) {
		t.Errorf("of %v there are %v", before, names)
	}
	m.must(m.s.Close())
	if !strings.Contains(said.String(), before[1]) || !strings.Contains(said.String(), errInjected.Error()) {
		t.Errorf("it says %q", said.String())
	}
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Error(d) }})
	m.verify(m.s)
	m.must(m.s.Tidy(t.Context()))
	if names, _ := segments(m.fs); slices.Contains(names, before[1]) {
		t.Errorf("opened again, there are %v", names)
	}
	m.verify(m.s)
}

// If the file of a rewritten segment can't be removed, that is reported as such. The next
// opening removes it.
func TestRewriteRemoveError(t *testing.T) {
	var said bytes.Buffer
	m := newMix(t, 1000, 64<<10)
	m.must(m.s.Close())
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	m.fill(200, 5)
	before, _ := segments(m.fs)
	m.fs.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Remove && path.Base(name) == before[1] {
			return errInjected
		}
		return nil
	})
	m.trim()
	m.must(m.s.Tidy(t.Context()))
	m.must(m.s.Close())
	m.fs.SetFault(nil)
	if text := said.String(); !strings.Contains(text, "can't be removed") || !strings.Contains(text, before[1]) || strings.Contains(text, "rewritten") {
		t.Errorf("it says %q", text)
	}
	if names, _ := segments(m.fs); !slices.Contains(names, before[1]) || slices.Contains(names, before[2]) {
		t.Errorf("of %v there are %v", before, names)
	}
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Error(d) }})
	if names, _ := segments(m.fs); slices.Contains(names, before[1]) {
		t.Errorf("opened again, there are %v", names)
	}
	m.verify(m.s)
}

// What is known of a producer outlives its blocks. That a producer was forgotten outlives
// the frame that says so, as long as older segments hold blocks of the producer. Both hold
// also if the states are rebuilt from the log.
func TestRewriteKeepsStates(t *testing.T) {
	m := newMix(t, 1000, 64<<10)
	write := func(topic, name string) store.Producer {
		p := store.Producer{Principal: "u", Topic: topic, Name: name}
		c, err := m.s.Claim(t.Context(), p, store.ClaimRequest{Attempt: 7})
		m.must(err)
		b := &store.Block{Topic: topic, Codec: "json", Principal: "u", Producer: p, Epoch: c.Epoch, First: 1, Note: []byte("note")}
		b.Add([]byte(`{}`))
		r := &store.Block{
			Topic: store.Rejected, Codec: "json", Principal: "u", Producer: p, Epoch: c.Epoch, First: 2, Note: []byte("note"),
			Rejected: []store.Rejection{{Number: 2, Code: "schema", Text: "why"}},
		}
		r.Add([]byte(`{"bad":1}`))
		for _, r := range m.s.Append(t.Context(), b, r) {
			m.must(r.Err)
		}
		return p
	}
	gone := write("gone", "gone")
	here := write("here", "here")
	forgotten := write("here", "forgotten")
	m.fill(100, 5)
	m.must(m.s.Forget(t.Context(), forgotten))
	m.fill(100, 5)
	m.trim()
	head, err := m.s.Head(t.Context())
	m.must(err)
	m.must(m.s.Trim(t.Context(), store.Rejected, head))
	m.must(m.s.Tidy(t.Context()))
	if names, _ := segments(m.fs); strings.Count(strings.Join(names, " "), "-1.seg") == 0 {
		t.Fatalf("nothing was rewritten: %v", names)
	}
	m.fs = withoutStates(m.fs)
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Error(d) }})
	m.verify(m.s)
	for _, p := range []store.Producer{gone, here} {
		if _, err := m.s.Claim(t.Context(), p, store.ClaimRequest{Attempt: 6}); !errors.Is(err, store.ErrStale) {
			t.Errorf("%s: an older attempt: %v", p.Name, err)
		}
		c, err := m.s.Claim(t.Context(), p, store.ClaimRequest{Attempt: 7})
		if err != nil || c.Next != 3 || string(c.Note) != "note" {
			t.Errorf("%s: %+v, %v", p.Name, c, err)
		}
		var all []store.Rejection
		for r, err := range m.s.Rejections(t.Context(), p, 0) {
			m.must(err)
			all = append(all, r)
		}
		if len(all) != 1 || all[0] != (store.Rejection{Number: 2, Code: "schema", Text: "why"}) {
			t.Errorf("%s: the rejections are %v", p.Name, all)
		}
	}
	if c, err := m.s.Claim(t.Context(), forgotten, store.ClaimRequest{Attempt: 1}); err != nil || !c.New {
		t.Errorf("a forgotten producer: %+v, %v", c, err)
	}
}

// A backup that was made before, during or after a rewrite is complete.
func TestRewriteBackup(t *testing.T) {
	m := newMix(t, 1000, 64<<10)
	m.fill(200, 5)
	var copies []map[store.Position][]byte // what the copies must hold
	take := func() {
		copies = append(copies, maps.Clone(m.kept))
		m.must(m.s.Backup(t.Context(), fmt.Sprint("copy", len(copies)-1)))
	}
	take()
	for range 4 {
		m.trim()
		done := make(chan error)
		go func() { done <- m.s.Tidy(context.Background()) }()
		take()
		m.must(<-done)
		take()
		m.fill(50, 5)
	}
	for n, kept := range copies {
		s, err := log.Open(t.Context(), fmt.Sprint("copy", n), &log.Options{
			FS: m.fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Errorf("copy %d: %v", n, d) },
		})
		m.must(err)
		head, err := s.Head(t.Context())
		m.must(err)
		m.kept = map[store.Position][]byte{}
		for at, data := range kept {
			at.Tag = head.Tag
			m.kept[at] = data
		}
		m.verify(s)
		r, err := s.Check(t.Context(), func(d *store.DamageError) { t.Errorf("copy %d: %v", n, d) })
		if m.must(err); len(m.kept) < 40 || r.Blocks < uint64(len(m.kept)) {
			t.Errorf("copy %d has %d blocks", n, r.Blocks)
		}
		m.must(s.Close())
	}
}
