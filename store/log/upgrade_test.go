package log_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

var update = flag.Bool("update", false, "write the stores of a new format, which all later versions must open")

// formats names the stores in testdata, each written by the version that used this format:
// a store that was closed, and the files of one in use. They are never made again; a new
// format is added beside them.
var formats = []string{"v2", "v2-index3"}

// TestUpgrade opens the stores of every earlier format, and reads all of each.
func TestUpgrade(t *testing.T) {
	current := filepath.Join("testdata", formats[len(formats)-1])
	if _, err := os.Stat(current); *update && errors.Is(err, fs.ErrNotExist) {
		makeStores(t, current)
	}
	for _, format := range formats {
		for _, c := range []struct{ how, without string }{
			{"closed", ""}, {"closed", "states"}, {"closed", "*.idx"}, {"in-use", ""}, {"in-use", "states"},
		} {
			t.Run(format+" "+c.how+" without "+c.without, func(t *testing.T) {
				dir := copied(t, filepath.Join("testdata", format, c.how))
				if c.without != "" {
					remove(t, filepath.Join(dir, c.without))
				}
				verifyUpgraded(t, dir)
			})
		}
	}
}

// upgraded returns the options of the stores.
func upgraded() *log.Options {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	return &log.Options{
		Reserve: -1, KeepEvery: -1, MaxSegment: 16 << 10, Durability: store.OS,
		Now: func() time.Time {
			now = now.Add(time.Second)
			return now
		},
	}
}

// The producers and cursors of the stores.
var (
	till   = store.Producer{Principal: "shop", Topic: "orders.eu", Name: "till-7"}
	silent = store.Producer{Principal: "shop", Topic: "orders.eu", Name: "silent"}
	office = store.CursorName{Principal: "office", Name: "billing", Subscription: "orders.*"}
)

// numbers is the number of records of the producer till. Each is a block; number 20 was
// rejected, and those below number 5 were trimmed.
const (
	numbers = 60
	bad     = 20
	trimmed = 5
)

// has is the bytes that each principal has stored.
var has = map[string]uint64{till.Principal: 36125, store.Anonymous: 720}

// tillBlock returns a block of the stores. Its records hardly compress.
func tillBlock(epoch, n uint64) *store.Block {
	b := &store.Block{
		Topic: till.Topic, Codec: "json", Received: time.Unix(int64(n), 5).UTC(), Peer: "192.0.2.1:4711", Principal: till.Principal,
		Producer: till, Epoch: epoch, First: n, Note: fmt.Appendf(nil, "note %d", n),
	}
	if n == bad {
		b.Topic, b.Codec, b.Rejected = store.Rejected, "cbor", []store.Rejection{{Number: n, Code: "schema", Text: "/id: want an int"}}
		b.Add([]byte{0xa1, 0x61, 'n', 0x14})
		return b
	}
	b.Add(fmt.Appendf(nil, `{"n":%d,"noise":%q}`, n, noise(int(n), 500)))
	return b
}

// loose returns a block without numbers, but with times.
func loose(n int) *store.Block {
	b := &store.Block{Topic: "events", Codec: "cbor", Principal: store.Anonymous, Extended: true}
	b.Add([]byte{0xa1, 0x61, 'n', byte(n)})
	b.Add([]byte{0xa0})
	b.Times = []int64{int64(n), store.UnknownTime}
	return b
}

// makeStores makes the stores of the current format.
func makeStores(t *testing.T, dir string) {
	t.Helper()
	work := filepath.Join(t.TempDir(), "store")
	s, err := log.Open(t.Context(), work, upgraded())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	_, err = s.Claim(t.Context(), silent, store.ClaimRequest{Attempt: 3})
	must(err)
	c, err := s.Claim(t.Context(), till, store.ClaimRequest{Attempt: 7})
	must(err)
	saved, err := s.ClaimCursor(t.Context(), office, store.CursorRequest{})
	must(err)
	var fifth store.Position
	for n := uint64(1); n <= numbers; n++ {
		r := s.Append(t.Context(), tillBlock(c.Epoch, n))[0]
		must(r.Err)
		if n == trimmed {
			fifth = r.Position
		}
		if n%10 == 0 {
			must(s.Append(t.Context(), loose(int(n)))[0].Err)
		}
		if n == numbers/2 {
			must(s.Commit(t.Context(), office, saved.Epoch, r.Position))
			must(s.Trim(t.Context(), till.Topic, fifth))
			must(s.Tidy(t.Context()))
		}
	}
	must(os.MkdirAll(dir, 0o755))
	must(os.CopyFS(filepath.Join(dir, "in-use"), os.DirFS(work)))
	must(s.Close())
	s, err = log.Open(t.Context(), work, upgraded())
	must(err)
	for _, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"events"}}) { // builds indexes
		must(err)
	}
	must(s.Close())
	must(os.CopyFS(filepath.Join(dir, "closed"), os.DirFS(work)))
}

// verifyUpgraded opens a store, compares everything in it, continues to use it, and opens
// it again.
func verifyUpgraded(t *testing.T, dir string) {
	t.Helper()
	damaged := 0
	o := upgraded()
	o.Damaged = func(log.Damage) { damaged++ }
	for again := range uint64(2) {
		s, err := log.Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		next := numbers + 1 + again
		readUpgraded(t, s, next)
		if again == 0 {
			if got := storedIn(t, s); !maps.Equal(got, has) {
				t.Errorf("there are %v stored, want %v", got, has)
			}
		}
		known, err := s.Known(t.Context(), store.Producer{Principal: till.Principal}, 9)
		if err != nil || len(known) != 2 || known[0].Producer != silent || known[0].Next != 1 || known[1].Producer != till || known[1].Next != next {
			t.Errorf("producers: %v, %v", known, err)
		}
		for r, err := range s.Rejections(t.Context(), till, 0) {
			if want := (store.Rejection{Number: bad, Code: "schema", Text: "/id: want an int"}); err != nil || r != want {
				t.Errorf("rejected: %v, %v", r, err)
			}
		}
		at, ok, err := s.Cursor(t.Context(), office)
		if err != nil || !ok {
			t.Errorf("cursor: %v, %v", ok, err)
		}
		for b, err := range s.Read(t.Context(), at, store.ReadOptions{Topics: []string{till.Topic}}) {
			if err != nil || b.Block == nil || b.Block.First != numbers/2 {
				t.Errorf("from the cursor on: %+v, %v", b.Block, err)
			}
			break
		}
		if _, err := s.Claim(t.Context(), till, store.ClaimRequest{Attempt: 6}); !errors.Is(err, store.ErrStale) {
			t.Errorf("a claim from before: %v", err)
		}
		c, err := s.Claim(t.Context(), till, store.ClaimRequest{Attempt: 8 + again, Acked: next - 1})
		if err != nil || c.Next != next || c.New || string(c.Note) != fmt.Sprint("note ", next-1) {
			t.Errorf("claim: %+v, %v", c, err)
		}
		if err := s.Append(t.Context(), tillBlock(c.Epoch, next))[0].Err; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if damaged > 0 {
		t.Errorf("%d damages", damaged)
	}
}

// readUpgraded reads and compares everything in a store.
func readUpgraded(t *testing.T, s *log.Store, next uint64) {
	t.Helper()
	n, events := uint64(trimmed), 0
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case b.Block == nil:
		case b.Block.Topic == "events":
			events += 10
			if want := loose(events); fmt.Sprintf("%+v", b.Block.Clone()) != fmt.Sprintf("%+v", want.Clone()) {
				t.Errorf("a block of events is %+v, want %+v", b.Block, want)
			}
		default:
			if want := tillBlock(b.Block.Epoch, n); fmt.Sprintf("%+v", b.Block.Clone()) != fmt.Sprintf("%+v", want.Clone()) {
				t.Errorf("block %d is %+v, want %+v", n, b.Block, want)
			}
			n++
		}
	}
	if n != next || events != numbers {
		t.Errorf("read to number %d and event %d, want %d and %d", n, events, next, numbers)
	}
}

// remove removes files that can be rebuilt.
func remove(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	for _, file := range files {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// copied returns a copy of a directory that may be changed.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	files := 0
	if err := filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
		files++
		return errors.Join(err, os.Chmod(path, 0o700))
	}); err != nil {
		t.Fatal(err)
	}
	if files < 5 {
		t.Fatalf("%s has %d files", dir, files)
	}
	return to
}
