package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// What a segment says of a producer, a cursor and a trim stays in the log after the segment
// was freed or rewritten: the states are rebuilt from the log if their own files are lost,
// or are older than the freed segment.
func TestStatesOutliveTheirSegments(t *testing.T) {
	for _, older := range []bool{false, true} {
		for _, rewritten := range []bool{false, true} {
			t.Run(fmt.Sprintf("older=%v/rewritten=%v", older, rewritten), func(t *testing.T) { outlive(t, older, rewritten) })
		}
	}
}

func outlive(t *testing.T, older, rewritten bool) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	put := func(topic string, n int, p store.Producer, epoch uint64) store.Position {
		t.Helper()
		b := &store.Block{Topic: topic, Codec: "json", Producer: p, Epoch: epoch}
		if epoch > 0 {
			b.First = 1
		}
		b.Add(noise(n, 10_000))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Position
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	none := store.Producer{}
	put("kept", 1, none, 0)
	kept := put("kept", 2, none, 0)
	want := []store.Position{kept}
	for range 40 { // keeps the first segment from being rewritten
		want = append(want, put("kept", 2, none, 0))
	}
	fill := func() {
		for n := range 40 {
			put("freed", 3, none, 0)
			if rewritten && n%3 == 0 { // so that each segment has some
				want = append(want, put("kept", 2, none, 0))
			}
		}
	}
	fill()
	must(s.Close())
	states := map[string][]byte{}
	for _, name := range fs.Files() {
		if strings.Contains(name, "/states/") {
			states[name] = bytes.Clone(fs.Get(name))
		}
	}
	s = open(t, log.Options{FS: fs, KeepEvery: -1})
	p := store.Producer{Topic: "freed", Name: "x"}
	claim, err := s.Claim(t.Context(), p, store.ClaimRequest{})
	must(err)
	put("freed", 4, p, claim.Epoch)
	must(s.Trim(t.Context(), "kept", kept))
	must(s.Reset(t.Context(), cursor, kept))
	before := fs.Files()
	fill()
	head, err := s.Head(t.Context())
	must(err)
	must(s.Trim(t.Context(), "freed", head))
	if !rewritten {
		fs.SetFault(func(op crashfs.Op, name string) error {
			if op == crashfs.Create && strings.Contains(name, "-1.seg") {
				return errors.New("not to be rewritten")
			}
			return nil
		})
	}
	if err := s.Tidy(t.Context()); rewritten {
		must(err)
	}
	newest := before[0] // the segment that held it
	for _, name := range before {
		if strings.HasSuffix(name, ".seg") {
			newest = max(newest, name)
		}
	}
	if slices.Contains(fs.Files(), newest) {
		t.Fatalf("%s is still there", newest)
	}
	left := fs.Crash(false, nil)
	for _, name := range left.Files() {
		if strings.Contains(name, "/states/") {
			left.Delete(name)
		}
	}
	if older {
		for name, b := range states {
			left.Put(name, b)
		}
	}
	check := func(s *log.Store) {
		t.Helper()
		var there []store.Position
		for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
			must(err)
			if b.Block != nil {
				there = append(there, b.At)
			}
		}
		if !slices.Equal(there, want) {
			t.Errorf("there are blocks at %v, want %v", there, want)
		}
		stats, err := s.Topics(t.Context())
		must(err)
		for _, topic := range stats {
			if has := uint64(len(want)); topic.Name == "kept" && topic.Blocks != has || topic.Name == "freed" && topic.Blocks != 0 {
				t.Errorf("%s is said to hold %d blocks", topic.Name, topic.Blocks)
			}
		}
		if at, found, err := s.Cursor(t.Context(), cursor); err != nil || !found || at != kept {
			t.Errorf("the cursor is at %v (%v, %v), want %v", at, found, err, kept)
		}
	}
	r := open(t, log.Options{FS: left, KeepEvery: -1, ReadOnly: true})
	check(r)
	must(r.Close())
	s = open(t, log.Options{FS: left, KeepEvery: -1, Damaged: func(d log.Damage) { t.Error(d) }})
	check(s)
	if claim, err := s.Claim(t.Context(), p, store.ClaimRequest{}); err != nil || claim.Next != 2 {
		t.Errorf("the producer's next number is %d (%v), want 2", claim.Next, err)
	}
}

// The states follow the log while it grows, even if no segment becomes full: after a crash,
// only a few frames are read again.
func TestStatesFollow(t *testing.T) {
	fs := crashfs.New(1)
	saved := make(chan struct{}, 1)
	fs.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Create && strings.HasSuffix(name, ".sst") {
			select {
			case saved <- struct{}{}:
			default:
			}
		}
		return nil
	})
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 64 << 20})
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{}`))
	for n := range 1 << 17 {
		select {
		case <-saved:
			if n < 1<<15 {
				t.Errorf("after %d frames", n)
			}
			return
		default:
		}
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	t.Error("131,072 frames, and no states were saved")
}

// Rejections are the only states in the body of a block. If a body in a sealed segment is
// damaged, and its blocks are trimmed, so that no reader misses them, then an opening that
// rebuilds the states reports it, unless the rejections can be read, there or where they
// were carried since.
func TestDamagedRejections(t *testing.T) {
	const good, bad = `{"good":1}`, `{"bad":1}`
	for _, c := range []struct {
		name, spoilt string
		keep         int // one in so many of the later records
		want         int // reports of damage
	}{{"rejected", bad, 1, 1}, {"beside", good, 1, 0}, {"intact", "", 1, 0}, {"carried", bad, 40, 0}} {
		for _, lost := range []bool{false, true} { // the states' files are lost, or only the changes since a checkpoint
			t.Run(fmt.Sprintf("%s/lost=%v", c.name, lost), func(t *testing.T) {
				m := newMix(t, 10_000, 64<<10)
				m.put("kept") // otherwise the segment would be freed, and all its states carried
				m.must(m.s.Close())
				states := map[string][]byte{}
				for _, name := range m.fs.Files() {
					if strings.Contains(name, "/states/") && !lost {
						states[name] = bytes.Clone(m.fs.Get(name))
					}
				}
				m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1})
				p := store.Producer{Topic: "gone", Name: "p"}
				claim, err := m.s.Claim(t.Context(), p, store.ClaimRequest{})
				m.must(err)
				accepted := &store.Block{Topic: "gone", Codec: "json", Producer: p, Epoch: claim.Epoch, First: 1}
				accepted.Add([]byte(good))
				rejected := &store.Block{
					Topic: store.Rejected, Codec: "json", Producer: p, Epoch: claim.Epoch, First: 2,
					Rejected: []store.Rejection{{Number: 2, Code: "schema"}},
				}
				rejected.Add([]byte(bad))
				for _, r := range m.s.Append(t.Context(), accepted, rejected) {
					m.must(r.Err)
				}
				m.fill(30, c.keep) // until the segment is sealed, and others are freed
				m.trim()
				if c.keep > 1 {
					m.must(m.s.Tidy(t.Context()))
				}
				head, err := m.s.Head(t.Context())
				m.must(err)
				m.must(m.s.Trim(t.Context(), store.Rejected, head))
				left := withoutStates(m.fs)
				for name, b := range states {
					left.Put(name, b)
				}
				if c.spoilt != "" {
					spoil(t, left, []byte(c.spoilt))
				}
				for _, readOnly := range []bool{true, false, false} { // reported until it is accepted
					told := 0
					s := open(t, log.Options{FS: left, KeepEvery: -1, ReadOnly: readOnly, Damaged: func(log.Damage) { told++ }})
					var all []store.Rejection
					for r, err := range s.Rejections(t.Context(), p, 0) {
						m.must(err)
						all = append(all, r)
					}
					checked := 0
					_, err := s.Check(t.Context(), func(*store.DamageError) { checked++ })
					m.must(err)
					if told != c.want || checked != c.want || len(all) != 1-c.want {
						t.Errorf("read-only %v: %d damages are told, a check finds %d, and there are %v; want %d damages", readOnly, told, checked, all, c.want)
					}
					m.must(s.Close())
				}
			})
		}
	}
}

// Claims that are not yet in the states are kept in memory, however many there are, so that
// none of their producers is taken for unknown.
func TestManyClaims(t *testing.T) {
	s := open(t, log.Options{FS: crashfs.New(1)})
	const producers = 3 * 64 * 64 // three times as many as stay in memory unused
	blocks := make([]*store.Block, producers)
	for i := range blocks {
		p := store.Producer{Topic: "a", Name: fmt.Sprint(i)}
		claim, err := s.Claim(t.Context(), p, store.ClaimRequest{})
		if err != nil {
			t.Fatal(err)
		}
		blocks[i] = &store.Block{Topic: "a", Codec: "json", Producer: p, Epoch: claim.Epoch, First: 1}
		blocks[i].Add([]byte("{}"))
	}
	for i, r := range s.Append(t.Context(), blocks...) {
		if r.Err != nil {
			t.Fatalf("producer %d: %v", i, r.Err)
		}
	}
}
