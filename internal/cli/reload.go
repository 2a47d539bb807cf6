package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reloaded are the settings that SIGHUP changes. Others take effect at the next start.
// Tokens and certificates are read again automatically.
var reloaded = []string{
	"max-conns", "max-host-conns", "max-record-rate", "max-byte-rate",
	"first-timeout", "open-timeout", "idle-timeout", "record-timeout", "write-timeout", "grace",
	"keep-age", "keep-bytes", "max-stored", "schema", "quiet",
}

// notInMemory are those of them that a store in memory takes at the start.
var notInMemory = []string{"keep-age", "keep-bytes", "max-stored"}

// reload reads the settings again, applies those that can change, and names those that
// can't. If any is wrong, nothing changes.
func (s *serve) reload() {
	next, err := s.again()
	if err == nil {
		c, _ := configOf(next)
		err = s.checked.Load(c.of.schemas.values) // the files may have changed
	}
	if err != nil {
		tell(s.stderr, err)
		s.say("the settings stay as they are")
		return
	}
	var now, later []string
	before := s.current.Flags()
	next.Flags().VisitAll(func(f *pflag.Flag) {
		if was := before.Lookup(f.Name); was.Value.String() == f.Value.String() || isOfDoor(f.Name) {
			return
		}
		if slices.Contains(reloaded, f.Name) && (!s.inMemory || !slices.Contains(notInMemory, f.Name)) {
			now = append(now, f.Name)
		} else {
			later = append(later, f.Name)
		}
	})
	c, _ := configOf(next)
	was, _ := configOf(s.current)
	if !sameDoors(was.of.doors, c.of.doors) {
		later = append(later, keyEndpoints)
	}
	s.srv.Reload(c.of.server())
	s.kept.Store(&c.of.keep)
	if s.disk != nil {
		s.disk.SetMaxStoredBytes(int64(c.of.maxStored.byteSize))
	}
	s.grace, s.quiet = c.of.grace, c.of.quiet
	s.current = next
	s.say("reloaded: %s", changesOf(now))
	if len(later) > 0 {
		s.say("not before the next start: %s", changesOf(later))
	}
}

// again returns a command with the current settings.
func (s *serve) again() (*cobra.Command, error) {
	next := s.fresh()
	(&cobra.Command{Use: s.current.Root().Name()}).AddCommand(next) // for the names of its variables
	var failed error
	s.current.Flags().VisitAll(func(f *pflag.Flag) {
		if given := f.Annotations[givenAnnotation]; len(given) > 0 && failed == nil {
			failed = next.Flags().Set(f.Name, given[0])
		}
	})
	if failed == nil {
		failed = settle(next)
	}
	if failed != nil {
		return nil, failed
	}
	c, _ := configOf(next)
	if s.more != nil { // a relay, whose address may be an argument
		c.of.more = nil
	}
	return next, c.of.check()
}

func changesOf(names []string) string {
	if len(names) == 0 {
		return "no setting has changed"
	}
	return strings.Join(names, ", ")
}

func sameDoors(a, b []*door) bool {
	return slices.EqualFunc(a, b, func(a, b *door) bool { return a.text() == b.text() })
}

// text returns all settings of a door.
func (d *door) text() string {
	shown, flags := newDoor()
	*shown = *d
	var all []string
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, f.Name+"="+f.Value.String()) })
	return strings.Join(all, "\n")
}
