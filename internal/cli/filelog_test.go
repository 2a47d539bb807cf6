package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
)

// A file that has lost records since they were counted causes an error, not an endless
// wait; records added since do not matter.
func TestFileLogChanges(t *testing.T) { synctest.Test(t, testFileLogChanges) }

func testFileLogChanges(t *testing.T) {
	for _, test := range []struct {
		now, want string
	}{
		{"{\"n\":1}\n", "ends after 1 of the 3 records that it had"},
		{"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n", ""},
	} {
		f := &fileLog{path: filepath.Join(t.TempDir(), "f"), topic: "t", producer: "p", to: json.Codec{}}
		f.read = func(r io.Reader) source { return newSequence(f.path, r, json.Codec{}, codec.Limits{}).dict }
		write := func(text string) {
			if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n")
		if bad, err := f.open(t.Context()); err != nil || bad != nil || f.next != 4 {
			t.Fatal(bad, err, f.next)
		}
		write(test.now)
		for _, from := range []uint64{1, 2, 3, 4} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			got, next := "", from
			for b, err := range f.Read(ctx, "t", from) {
				if err != nil {
					got = err.Error()
				} else {
					next = b.First + 1
				}
			}
			cancel()
			if want := test.want; from < 4 && (want == "" && (got != "" || next != 4) || !strings.Contains(got, want)) || from == 4 && got != "" {
				t.Errorf("from %d: %q, up to %d", from, got, next)
			}
		}
	}
}
