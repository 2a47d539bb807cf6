package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A VersionError is wrapped by the error of Open if a file of the store has a format that
// this package does not read. Nothing is changed then.
type VersionError struct {
	File    string
	Version uint64
	Reads   uint64 // the version of this package
}

func (e *VersionError) Error() string {
	upTo := ""
	if e.Version > e.Reads {
		upTo = "up to "
	}
	return fmt.Sprintf("%s has format version %d, this dictwire reads %sversion %d", e.File, e.Version, upTo, e.Reads)
}

// The magics of files, without the version. Slots of this version begin otherwise.
const (
	segmentMagic = "dictwire log "
	indexMagic   = "dictwire index"
	slotsMagic   = "dictwire slots "
)

const (
	segmentVersion = 2
	segmentStart   = segmentMagic + "2\r\n"

	indexVersion = 3
	indexStart   = indexMagic + "3\n"

	slotsVersion = 1

	magicSize = 16
)

// parseMagic returns the version in the magic of a kind of file.
func parseMagic(kind string, b []byte) (version uint64, ok bool) {
	digits, ok := strings.CutPrefix(string(b), kind)
	if !ok {
		return 0, false
	}
	version, err := strconv.ParseUint(strings.TrimRight(digits, "\r\n"), 10, 64)
	return version, err == nil
}

// checkVersions refuses files of other versions whose checksum is right; if it is not,
// the file is damaged. The checksum of a segment's header follows the size, and that of
// an index is at the end of the file. Both are CRC-32C and cover the magic.
func (r *recovery) checkVersions(names []string) error {
	for _, name := range names {
		var err error
		switch {
		case strings.HasSuffix(name, segmentSuffix):
			err = r.checkVersion(name, segmentMagic, segmentVersion, func(f vfs.File, length int64) bool {
				b := make([]byte, headerAt)
				if _, err := f.ReadAt(b, 0); err != nil {
					return false
				}
				size := headerSize(b)
				if size > length {
					return false
				}
				b = make([]byte, size)
				_, err := f.ReadAt(b, 0)
				return err == nil && validHeader(b)
			})
		case strings.HasSuffix(name, indexSuffix):
			err = r.checkVersion(name, indexMagic, indexVersion, func(f vfs.File, length int64) bool {
				sum := crc32.New(castagnoli)
				if _, err := io.Copy(sum, io.NewSectionReader(f, 0, length-crc32.Size)); err != nil {
					return false
				}
				b := make([]byte, crc32.Size)
				_, err := f.ReadAt(b, length-crc32.Size)
				return err == nil && sum.Sum32() == binary.LittleEndian.Uint32(b)
			})
		case name == slotsName:
			err = r.checkVersion(name, slotsMagic, slotsVersion, func(vfs.File, int64) bool { return true })
		case name == statesName:
			err = r.checkEngine()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r *recovery) checkVersion(name, kind string, reads uint64, valid func(f vfs.File, length int64) bool) error {
	f, err := r.s.fs.Open(r.s.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, magicSize)
	_, _ = f.ReadAt(b, 0) // an error shows when the file is needed
	version, ok := parseMagic(kind, b)
	if !ok || version == reads || version < reads && kind == indexMagic { // an old index is rebuilt
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !valid(f, info.Size()) {
		return nil
	}
	return &VersionError{name, version, reads}
}

// checkEngine refuses states of a newer engine, which shows in the name of a file.
func (r *recovery) checkEngine() error {
	names, err := r.s.fs.List(r.s.path(statesName))
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "marker.format-version.")
		if !ok {
			continue
		}
		_, text, _ := strings.Cut(rest, ".")
		if v, err := strconv.ParseUint(text, 10, 64); err == nil && v > uint64(engine.FormatNewest) {
			return &VersionError{statesName, v, uint64(engine.FormatNewest)}
		}
	}
	return err
}
