package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
)

// TestDamageMatrix damages one file of a spool whose program was killed. Each appended
// record is there, or its loss is reported, and no number is used twice.
func TestDamageMatrix(t *testing.T) {
	kinds := map[string]int{}
	for seed := range testrand.From(*first, testrand.Many(*seeds*5)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs, records, err := killed(t.Context(), rng, seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		what := harm(rng, fs)
		if what == "" {
			kinds["no harm"]++
			continue
		}
		kind, err := inspect(t.Context(), fs, records)
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, what, err)
		}
		kinds[kind]++
	}
	t.Log(kinds)
	if kinds[refused] == 0 || kinds[gap] == 0 || kinds[whole] == 0 {
		t.Errorf("%v: want some of each kind", kinds)
	}
}

// The possible results of damage.
const (
	refused = "does not open"
	gap     = "a reader is told"
	whole   = "all is there"
)

// killed fills a spool, and returns what a killed program leaves of it.
func killed(ctx context.Context, rng *rand.Rand, seed uint64) (_ *crashfs.FS, records [][]byte, err error) {
	fs := crashfs.New(seed)
	s, err := disk.Open(ctx, "spool", &disk.Options{FS: fs, Reserve: -1})
	if err != nil {
		return nil, nil, err
	}
	for range 1 + rng.IntN(60) {
		noise := make([]byte, 1<<rng.IntN(16))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		r := fmt.Appendf(nil, `{"n":%d,"x":"%x"}`, len(records), noise)
		if _, err := s.Append(ctx, "t", "json", r); err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
		records = append(records, r)
	}
	left := fs.Crash(false, nil)
	return left, records, s.Close()
}

// harm damages one file, and returns a description; "" if nothing has changed.
func harm(rng *rand.Rand, fs *crashfs.FS) string {
	var names []string
	for _, name := range fs.Files() {
		if path.Base(name) != "LOCK" && (path.Ext(name) == ".seg" || rng.IntN(4) == 0) {
			names = append(names, name)
		}
	}
	return fs.Harm(rng, names)
}

// inspect opens a damaged spool and reads it.
func inspect(ctx context.Context, fs *crashfs.FS, records [][]byte) (kind string, err error) {
	s, err := disk.Open(ctx, "spool", &disk.Options{FS: fs, Reserve: -1})
	if errors.Is(err, spool.ErrDamaged) {
		s, err := disk.Open(ctx, "spool", &disk.Options{FS: fs, Reserve: -1, AcceptLost: true})
		if err == nil { // otherwise nothing usable is left
			_, err = s.Append(ctx, "t", "json", []byte("{}"))
			return refused, errors.Join(err, s.Close())
		}
		return refused, nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	kind = whole
	last := uint64(len(records))
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n, err := s.Append(ctx, "t", "json", []byte("{}"))
	if err != nil {
		return "", err
	}
	if n <= last {
		return "", fmt.Errorf("%d were appended, and the next one is number %d", last, n)
	}
	for from := uint64(1); from < n; {
		for b, err := range s.Read(ctx, "t", from) {
			var damaged *spool.GapError
			if errors.As(err, &damaged) {
				if damaged.From != from || damaged.To <= from {
					return "", fmt.Errorf("a gap from %d to %d, read from %d", damaged.From, damaged.To, from)
				}
				kind, from = gap, damaged.To
				break
			}
			if err != nil {
				return "", err
			}
			if b.First != from {
				return "", fmt.Errorf("read %d, want %d", b.First, from)
			}
			for _, r := range b.Records {
				if from <= last && !bytes.Equal(r, records[from-1]) {
					return "", fmt.Errorf("number %d is %.40q, want %.40q", from, r, records[from-1])
				}
				from++
			}
			break
		}
	}
	return kind, nil
}
