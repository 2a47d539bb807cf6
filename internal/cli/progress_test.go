package cli

import (
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/terminal"
)

// A progress line shows what is done, how fast, and the remaining time, and fits in the
// terminal.
func TestProgressLine(t *testing.T) {
	half := state{text: "500 records exported", count: 500, share: 0.5}
	for _, c := range []struct {
		state state
		width int
		want  string
	}{
		{half, 80, "[############------------]  50 %  500 records exported, 50/s, 10 s left"},
		{half, 50, " 50 %  500 records exported, 50/s, 10 s left"},
		{half, 20, " 50 %  500…10 s left"},
		{state{text: "7 sent, 7 stored", count: 7, share: -1}, 80, "7 sent, 7 stored, 1/s"},
		{state{text: "1 MiB of 3 MiB copied", count: 20 << 20, unit: "B", share: 1}, 80, "[########################] 100 %  1 MiB of 3 MiB copied, 2048 KiB/s"},
		{state{text: "0 of 9", share: 0}, 80, "[------------------------]   0 %  0 of 9, 0/s"},
	} {
		got := c.state.line(10*time.Second, c.width)
		if got != c.want || terminal.Columns(got) > c.width {
			t.Errorf("%+v in %d columns: %q, want %q", c.state, c.width, got, c.want)
		}
	}
	for d, want := range map[time.Duration]string{1500 * time.Millisecond: "2 s", 5 * time.Minute: "5 min", 3 * time.Hour: "3 h"} {
		if got := about(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
