// Package storedir has the rules for the directory of a store on disk, whatever engine
// writes it: what it may hold before, who may read it, and how much of the disk stays
// free.
package storedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// ErrForeign is wrapped by the error for a directory that holds files of others.
var ErrForeign = errors.New("the directory holds other files")

// CheckEmpty returns an error if a directory with these entries is not suitable for a new
// store. Entries that the file system puts into its root do not count.
func CheckEmpty(names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "lost+found" })
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%w: %s", ErrForeign, List(names))
}

// List returns names for people: the first few, and the number of others.
func List(names []string) string {
	const most = 3
	quoted := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	text := strings.Join(quoted, ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Guard makes a directory accessible to its owner only, if others than the owner and its
// group had access. It returns the directory's previous permissions, or zero if nothing
// had to be changed. The error says why it could not be changed.
func Guard(dir string) (had fs.FileMode, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	if had = info.Mode().Perm(); had&0o007 == 0 {
		return 0, nil
	}
	return had, os.Chmod(dir, 0o700) //nolint:gosec // a directory
}

// ErrReserve is wrapped by the error for a reserve that a disk can never have.
var ErrReserve = errors.New("nothing could ever be stored")

// Usual returns the default reserve on a disk of total bytes that is not small: 1 GiB, or
// 2 % of the disk if that is more.
func Usual(total uint64) uint64 { return max(1<<30, total/50) }

// Reserve returns how many bytes of a disk of total bytes stay free. want is the option's
// value: zero means usual, but at most a tenth of the disk; negative means none. working
// is how many other bytes must be free. An error wraps ErrReserve.
func Reserve(want int64, usual, total, working uint64) (uint64, error) {
	switch {
	case want < 0:
		return 0, nil
	case want == 0:
		return min(usual, total/10), nil
	case uint64(want)+working >= total:
		return 0, fmt.Errorf("%w: a reserve of %s and %s to work with, on a disk of %s",
			ErrReserve, size(uint64(want)), size(working), size(total))
	}
	return uint64(want), nil
}

// size writes bytes in the largest unit with a value of at least ten.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; i < len(units)-1 && n >= 10<<10; i++ {
		n >>= 10
	}
	return fmt.Sprint(n, " ", units[i])
}
