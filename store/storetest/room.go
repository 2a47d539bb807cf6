package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// A room is a store.Room that records what it grants, and grants as little as allowed.
type room struct {
	generous bool
	held     int64
	needed   int64 // the most at once
}

func (r *room) Need(_ context.Context, n int64) error {
	r.held, r.needed = n, max(r.needed, n)
	return nil
}

func (r *room) Want(_ context.Context, n int64) bool {
	if n > r.held && !r.generous {
		return false
	}
	r.held = n
	return true
}

// testRoom reads with room for everything, and with room for one block at a time.
func testRoom(t *testing.T, d Driver) {
	s := d.Open(t)
	var want []string
	for i, size := range []int{10, 10, 100_000, 10, 300_000, 1000, 1000} {
		for _, topic := range []string{"a", "b"} {
			record := fmt.Sprintf(`{"n":%d,"topic":%q,"text":%q}`, i, topic, strings.Repeat("text", size/4))
			b := &store.Block{Topic: topic, Codec: "json"}
			b.Add([]byte(record))
			if r := s.Append(t.Context(), b)[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			want = append(want, record)
		}
	}
	for _, topics := range [][]string{{"a"}, {"a", "b"}} {
		for _, generous := range []bool{true, false} {
			r := &room{generous: generous}
			var got []string
			for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: topics, Room: r}) {
				if err != nil {
					t.Fatal(err)
				}
				if b.Block == nil {
					continue
				}
				if n := int64(len(b.Block.Data)); r.held < n {
					t.Fatalf("%v: a block of %d bytes in a room of %d", topics, n, r.held)
				}
				for _, record := range b.Block.Records(b.At.Index) {
					got = append(got, string(record))
				}
			}
			if r.held != 0 {
				t.Errorf("%v: %d bytes are held after the end", topics, r.held)
			}
			if most := int64(1 << 20); r.needed > most {
				t.Errorf("%v: %d bytes are needed at once, want at most %d", topics, r.needed, most)
			}
			wanted := want
			if len(topics) == 1 {
				wanted = slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.Contains(s, `"topic":"b"`) })
			}
			if !slices.Equal(got, wanted) {
				t.Errorf("%v: %d records, want %d", topics, len(got), len(wanted))
			}
		}
	}

	// What can't be compressed is large where it lies, too.
	b := &store.Block{Topic: "c", Codec: "json"}
	random := make([]byte, min(600_000, s.Limits().BlockBytes/3))
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	b.Add(fmt.Appendf(nil, `{"text":"%x"}`, random))
	if r := s.Append(t.Context(), b)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}

	// Where the reader's context ends once there is room, so does the read, wherever that
	// was.
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		r := &fading{room: room{}, left: n, cancel: cancel}
		var last error
		for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Room: r}) {
			if last = err; b.Block != nil && err != nil {
				t.Fatalf("a block, and %v", err)
			}
		}
		cancel()
		if r.left > 0 { // the read needed less often
			break
		}
		if last != nil && !errors.Is(last, context.Canceled) {
			t.Fatalf("%v after need %d", last, n)
		}
	}

	// Where there is no room, the read ends with what says so.
	none := fmt.Errorf("no room")
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Room: full{none}}) {
		if err != none || b.Block != nil {
			t.Fatalf("%v, %v", b.Block, err)
		}
	}
}

// A full room grants nothing.
type full struct{ err error }

func (f full) Need(context.Context, int64) error  { return f.err }
func (full) Want(_ context.Context, n int64) bool { return n == 0 }

// A fading room cancels its reader's context after it has granted memory left times.
type fading struct {
	room
	left   int
	cancel func()
}

func (f *fading) Need(ctx context.Context, bytes int64) error {
	err := f.room.Need(ctx, bytes)
	if f.left--; f.left == 0 {
		f.cancel()
	}
	return err
}
