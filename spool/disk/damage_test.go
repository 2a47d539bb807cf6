package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store"
)

// TestDamaged damages some of six blocks of a spool with two records each. The client sends
// the records before the first damaged one, and then says what is wrong; one that accepts
// the loss continues after it.
func TestDamaged(t *testing.T) {
	for _, damaged := range [][]int{{3}, {1}, {6}, {2, 3, 5}, {1, 2, 3, 4, 5, 6}} {
		t.Run(fmt.Sprint(damaged), func(t *testing.T) {
			dir := t.TempDir()
			s := reopen(t, dir)
			for block := 1; block <= 6; block++ {
				if _, err := s.Append(t.Context(), "t", "json", damageable(block, 1), damageable(block, 2)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var before, left []string
			for block := 1; block <= 6; block++ {
				records := []string{string(damageable(block, 1)), string(damageable(block, 2))}
				if block < damaged[0] {
					before = append(before, records...)
				}
				if !slices.Contains(damaged, block) {
					left = append(left, records...)
				} else {
					damage(t, dir, damageable(block, 1))
				}
			}

			srv := newServer(t)
			s = reopen(t, dir)
			c := dial(t, s, srv.addr, dictwire.Dialer{})
			err := c.Flush(t.Context())
			var gap *spool.GapError
			if !errors.Is(err, spool.ErrDamaged) || !errors.As(err, &gap) || !errors.As(err, new(*store.DamageError)) {
				t.Fatalf("Flush: %v, want ErrDamaged", err)
			}
			if first := uint64(2*damaged[0] - 1); gap.From != first {
				t.Errorf("damaged from %d, want %d", gap.From, first)
			}
			if got := srv.records("t"); !slices.Equal(got, before) {
				t.Errorf("stored %d records, want %d", len(got), len(before))
			}
			_ = c.Close()
			_ = s.Close()

			s = reopen(t, dir)
			c = dial(t, s, srv.addr, dictwire.Dialer{AcceptLost: true})
			more := dictwire.Record{Codec: json.Codec{}, Bytes: []byte(`{"more":true}`)}
			if _, err := c.Send(t.Context(), "t", more); err != nil {
				t.Fatalf("Send of one more: %v", err)
			}
			if err := c.Flush(t.Context()); !errors.Is(err, spool.ErrDamaged) {
				t.Errorf("Flush behind an accepted loss: %v, want ErrDamaged once", err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Errorf("the next Flush: %v", err)
			}
			if got, want := srv.records("t"), append(left, string(more.Bytes)); !slices.Equal(got, want) {
				t.Errorf("stored %d records, want %d", len(got), len(want))
			}
			_ = c.Close()
			if st := s.Stats(); st.Records != 0 {
				t.Errorf("the spool holds %d records", st.Records)
			}
			_ = s.Close()

			// Settled records are not requested again.
			s = reopen(t, dir)
			c = dial(t, s, srv.addr, dictwire.Dialer{})
			if _, err := c.Send(t.Context(), "t", more); err != nil {
				t.Fatalf("Send without a loss to accept: %v", err)
			}
			_ = c.Close()
			_ = s.Close()
		})
	}
}

// damageable is a record whose bytes can be found in a file, and which is as large as what
// the engine reads at once.
func damageable(block, record int) []byte {
	noise := make([]byte, 6<<10)
	_, _ = rand.NewChaCha8([32]byte{byte(block), byte(record)}).Read(noise)
	return fmt.Appendf(nil, `{"text":"%x"}`, noise)
}

func reopen(t *testing.T, dir string) *disk.Spool {
	t.Helper()
	s, err := disk.Open(t.Context(), dir, &disk.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// damage flips a bit of a record in a directory's files.
func damage(t *testing.T, dir string, record []byte) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, record[9:29]); at >= 0 {
			data[at] ^= 1
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%.40s is in none of %q", record, names)
}
