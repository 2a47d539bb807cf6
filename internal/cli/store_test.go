package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/store/log"
)

// The hint for a store of another version holds for older and newer versions.
func TestVersionHint(t *testing.T) {
	for version, newer := range map[uint64]bool{1: false, 3: true} {
		err := hinted(fmt.Errorf("open: %w", &log.VersionError{File: "f", Version: version, Reads: 2}))
		var h hintError
		if !errors.As(err, &h) || strings.Contains(h.hint, "newer one") != newer || strings.Contains(h.hint, "export") == newer {
			t.Errorf("version %d: %+v", version, err)
		}
	}
}
