package log_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A file of a newer version is refused by name, however the store is opened, and nothing is
// changed. One that only looks newer is reported as damaged.
func TestVersions(t *testing.T) {
	sum := func(b ...[]byte) uint32 {
		return crc32.Checksum(slices.Concat(b...), crc32.MakeTable(crc32.Castagnoli))
	}
	header := func(b []byte, version string) []byte {
		copy(b, "dictwire log "+version)
		size := binary.LittleEndian.Uint32(b[16:])
		binary.LittleEndian.PutUint32(b[20:], sum(b[:16], b[24:24+size]))
		return b
	}
	for what, c := range map[string]struct {
		file   string // the suffix of its name
		change func(b []byte) []byte
		want   string // the error; "" if the file is damaged
	}{
		"segment":       {"1.seg", func(b []byte) []byte { return header(b, "3") }, "log-0000000001.seg has format version 3, this dictwire reads up to version 2"},
		"older segment": {"1.seg", func(b []byte) []byte { return header(b, "1") }, "log-0000000001.seg has format version 1, this dictwire reads version 2"},
		"flipped":       {"1.seg", func(b []byte) []byte { b[13] = '3'; return b }, ""},
		"index": {".idx", func(b []byte) []byte {
			copy(b, "dictwire index4")
			n := len(b) - 4
			binary.LittleEndian.PutUint32(b[n:], sum(b[:n]))
			return b
		}, "log-0000000001.idx has format version 4, this dictwire reads up to version 3"},
		"flipped index": {".idx", func(b []byte) []byte { b[14] = '4'; return b }, ""},
		"slots":         {"synced", func(b []byte) []byte { copy(b, "dictwire slots 3"); return b }, "synced has format version 3, this dictwire reads up to version 1"},
		"states":        {"states/marker.format-version.999999.999", nil, "states has format version 999, this dictwire reads up to version"},
	} {
		t.Run(what, func(t *testing.T) {
			fs := crashfs.New(1)
			o := log.Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10}
			s := open(t, o)
			for n := range 4 {
				if err := appendNoise(t.Context(), s, n, 9000); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for b, err := range open(t, o).Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"b"}}) { // builds indexes
				_, _ = b, err
			}
			name := path.Join("store", c.file)
			if c.change == nil {
				fs.Put(name, nil)
			} else {
				files := fs.Files()
				i := slices.IndexFunc(files, func(name string) bool { return strings.HasSuffix(name, c.file) })
				if i < 0 {
					t.Fatal(files)
				}
				fs.Damage(files[i], c.change)
			}
			fs = fs.Crash(false, nil)
			o.FS = fs
			before, ops := contents(fs), fs.Ops()
			for how, o := range map[string]log.Options{
				"write": o, "read-only": {FS: fs, ReadOnly: true}, "salvage": {FS: fs, Salvage: true},
			} {
				s, err := log.Open(t.Context(), "store", &o)
				if c.want == "" {
					if err != nil {
						t.Errorf("%s: %v", how, err)
					} else if err := s.Close(); err != nil {
						t.Error(err)
					}
					continue
				}
				var version *log.VersionError
				if !errors.As(err, &version) || errors.Is(err, log.ErrDamaged) || !strings.HasPrefix(err.Error(), "store: open store: "+c.want) {
					t.Errorf("%s: %v, want %s", how, err, c.want)
				}
				if !maps.Equal(before, contents(fs)) || fs.Ops() != ops {
					t.Errorf("%s: something has changed", how)
				}
			}
		})
	}
}

// contents returns the contents of all files.
func contents(fs *crashfs.FS) map[string]string {
	all := map[string]string{}
	for _, name := range fs.Files() {
		all[name] = string(fs.Get(name))
	}
	return all
}
