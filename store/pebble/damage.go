package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"path"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Damage costs no more than the blocks that it hit. The engine needs help for that.

// comparer orders keys by their bytes, and leads to a part of a table for keys
// that are in it alone. The engine's own has shorter keys in a table's index, which
// also lead there for some that come later: where such a part is damaged, it would
// hide blocks in other tables.
var comparer = func() *engine.Comparer {
	c := *engine.DefaultComparer
	c.Separator = func(dst, a, _ []byte) []byte { return append(dst, a...) }
	c.Successor = func(dst, a []byte) []byte { return append(dst, a...) }
	return &c
}()

// isDamage reports whether a block can't be read, and others perhaps can.
func isDamage(err error) bool {
	return errors.Is(err, errDamaged) || engine.IsCorruptionError(err)
}

// checked is a file system that finds what is damaged in parts of tables. In
// what it finds itself, the engine looks for a single flipped bit, each time, for as
// long as 300,000 checksums of it take.
type checked struct{ vfs.FS }

func (c checked) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, o...)
	if err != nil || path.Ext(name) != ".sst" {
		return f, err
	}
	return checkedFile{f, name}, nil
}

// Unwrap returns the file system within.
func (c checked) Unwrap() vfs.FS { return c.FS }

type checkedFile struct {
	vfs.File
	name string
}

const (
	leastPart = 1 << 10 // nothing else that the engine reads is as long
	trailer   = 1 + crc32.Size
)

// ReadAt reads a part of a table: its bytes, how they are compressed, and the
// checksum of both.
func (f checkedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if err != nil || n < leastPart {
		return n, err
	}
	body := p[:n-crc32.Size]
	got := bits.RotateLeft32(crc32.Checksum(body, castagnoli), -15) + 0xa282ead8
	if want := binary.LittleEndian.Uint32(p[n-crc32.Size:]); got != want {
		return 0, fmt.Errorf("%w: %s: %d bytes at %d: checksum %08x, want %08x", engine.ErrCorruption, path.Base(f.name), n-trailer, off, got, want)
	}
	return n, nil
}
