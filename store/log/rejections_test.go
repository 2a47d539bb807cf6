package log_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A rejectee is a producer whose records are all rejected.
type rejectee struct {
	name  store.Producer
	epoch uint64
	next  uint64
	each  uint64 // so many records are a block
}

func refuse(t *testing.T, s *log.Store, each uint64) *rejectee {
	t.Helper()
	r := &rejectee{name: store.Producer{Topic: "a", Name: "p"}, each: each}
	r.claim(t, s)
	return r
}

func (r *rejectee) claim(t *testing.T, s *log.Store) {
	t.Helper()
	c, err := s.Claim(t.Context(), r.name, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r.epoch, r.next = c.Epoch, c.Next
}

// reject appends so many records, with a text that can't be compressed for each block.
func (r *rejectee) reject(t *testing.T, s *log.Store, records uint64) {
	t.Helper()
	for end := r.next + records; r.next < end; r.next += r.each {
		b := &store.Block{Topic: store.Rejected, Codec: "json", Producer: r.name, Epoch: r.epoch, First: r.next}
		text := string(noise(int(r.next), 400))
		for n := range r.each {
			b.Add([]byte(`{}`))
			b.Rejected = append(b.Rejected, store.Rejection{Number: r.next + n, Code: "schema", Text: text})
		}
		if a := s.Append(t.Context(), b)[0]; a.Err != nil {
			t.Fatal(a.Err)
		}
	}
}

// numbers returns the first and the last number with a rejection, and how many there are.
func (r *rejectee) numbers(t *testing.T, s *log.Store) (first, last uint64, n int) {
	t.Helper()
	for rejection, err := range s.Rejections(t.Context(), r.name, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			first = rejection.Number
		}
		last = rejection.Number
	}
	return first, last, n
}

// A producer that is rejected for ever takes bounded room, in the states and in what is
// carried when its segments are freed: that of a window, and of what was not swept yet.
func TestOldRejections(t *testing.T) {
	const windows = 8
	fs := crashfs.New(1)
	o := log.Options{FS: fs, KeepEvery: -1, Durability: store.OS, MaxSegment: 1 << 20}
	room := func(s *log.Store) (bytes int) { // once all is trimmed
		t.Helper()
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Trim(t.Context(), store.Rejected, head); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second one frees what the first one has carried
			if err := s.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range fs.Files() {
			if strings.HasSuffix(name, ".seg") || strings.HasSuffix(name, ".sst") {
				bytes += len(strings.TrimRight(string(fs.Get(name)), "\x00"))
			}
		}
		return bytes
	}
	s := open(t, o)
	r := refuse(t, s, 64)
	first := 0
	for n := range windows {
		for range 8 {
			r.reject(t, s, store.Window/8)
			if err := s.Tidy(t.Context()); err != nil { // makes checkpoints
				t.Fatal(err)
			}
		}
		now := room(s)
		if n == 0 {
			first = now
		}
		t.Logf("%d windows: %d bytes", n+1, now)
		if now > 3*first {
			t.Errorf("%d windows of rejections take %d bytes, and one took %d", n+1, now, first)
		}
		low, last, all := r.numbers(t, s)
		if last != r.next-1 || all != int(min(r.next-1, store.Window)) || low != last-uint64(all)+1 {
			t.Errorf("%d windows: %d rejections, from %d to %d", n+1, all, low, last)
		}
		if n == windows/2 { // it goes on in another process
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, o)
			r.claim(t, s)
		}
	}
}

// Rejections of a producer that was forgotten are not those of a later one of the same
// name, even if the states are made anew from a log that still has the old ones.
func TestForgottenRejections(t *testing.T) {
	for _, end := range []string{"forgotten", "expired"} {
		for _, freed := range []bool{false, true} { // the segment that says so
			t.Run(fmt.Sprintf("%s/freed=%v", end, freed), func(t *testing.T) { forgetRejections(t, end, freed) })
		}
	}
}

func forgetRejections(t *testing.T, end string, freed bool) {
	m := newMix(t, 10_000, 64<<10)
	r := refuse(t, m.s, 4096)
	r.reject(t, m.s, store.Window/2)
	m.must(m.s.Close())
	older := map[string][]byte{}
	for _, name := range m.fs.Files() {
		if strings.Contains(name, "/states/") {
			older[name] = bytes.Clone(m.fs.Get(name))
		}
	}
	m.s = open(t, log.Options{FS: m.fs, KeepEvery: -1})
	r.claim(t, m.s)
	r.reject(t, m.s, store.Window) // those before are old
	m.fill(30, 30)
	request := store.ClaimRequest{}
	if end == "expired" {
		request = store.ClaimRequest{Expire: 1}
	} else {
		m.must(m.s.Forget(t.Context(), r.name))
	}
	c, err := m.s.Claim(t.Context(), r.name, request)
	for m.must(err); !c.New; m.must(err) { // until the clock moves
		c, err = m.s.Claim(t.Context(), r.name, request)
	}
	m.fill(30, 30)
	if freed {
		m.trim()
		m.must(m.s.Tidy(t.Context()))
	}
	c, err = m.s.Claim(t.Context(), r.name, store.ClaimRequest{})
	m.must(err)
	for n := uint64(1); n < store.Window; n += 4096 {
		b := &store.Block{Topic: r.name.Topic, Codec: "json", Producer: r.name, Epoch: c.Epoch, First: n}
		for range 4096 {
			b.Add([]byte(`{}`))
		}
		m.must(m.s.Append(t.Context(), b)[0].Err)
	}
	check := func(s *log.Store, what string) {
		t.Helper()
		if first, last, n := r.numbers(t, s); n > 0 {
			t.Errorf("%s: there are %d rejections, from %d to %d", what, n, first, last)
		}
	}
	check(m.s, "as it is")
	left := withoutStates(m.fs)
	check(open(t, log.Options{FS: left.Crash(false, nil), KeepEvery: -1}), "without the states")
	for name, b := range older {
		left.Put(name, b)
	}
	check(open(t, log.Options{FS: left, KeepEvery: -1}), "with older states")
}
