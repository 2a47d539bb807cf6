package steady

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A machine has a clock that can be set.
type machine struct {
	shown  time.Time
	passed time.Duration
	log    bytes.Buffer
}

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func newMachine() *machine { return &machine{shown: noon} }

func (m *machine) clock(newest time.Time) *Clock {
	return begin(func() (time.Time, time.Duration) { return m.shown, m.passed }, newest, slog.New(slog.NewTextHandler(&m.log, nil)))
}

func (m *machine) pass(d time.Duration) { m.shown, m.passed = m.shown.Add(d), m.passed+d }

func (m *machine) set(by time.Duration) { m.shown = m.shown.Add(by) }

const year = 365 * 24 * time.Hour

func (m *machine) expect(t *testing.T, c *Clock, want time.Time, logged ...string) {
	t.Helper()
	if got := c.Expiry(); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
	lines := strings.Split(strings.TrimSpace(m.log.String()), "\n")
	if m.log.Len() == 0 {
		lines = nil
	}
	if len(lines) != len(logged) {
		t.Fatalf("logged %q, want %q", lines, logged)
	}
	for i, text := range logged {
		if !strings.Contains(lines[i], text) {
			t.Errorf("logged %q, want %q", lines[i], text)
		}
	}
	m.log.Reset()
}

func TestJumpAndBack(t *testing.T) {
	m := newMachine()
	c := m.clock(noon)
	m.pass(time.Minute)
	m.expect(t, c, noon.Add(time.Minute))
	m.set(10 * year)
	m.pass(time.Minute)
	m.expect(t, c, noon.Add(2*time.Minute), "jumped ahead")
	m.pass(30 * time.Minute)
	m.expect(t, c, noon.Add(32*time.Minute))
	m.set(-10 * year)
	m.pass(time.Minute)
	m.expect(t, c, noon.Add(33*time.Minute), "came back")
	m.pass(2 * time.Hour)
	m.expect(t, c, noon.Add(153*time.Minute))
}

func TestJumpThatStays(t *testing.T) {
	m := newMachine()
	c := m.clock(noon)
	m.set(3 * 24 * time.Hour) // the machine slept
	m.expect(t, c, noon, "jumped ahead")
	m.pass(59 * time.Minute)
	m.expect(t, c, noon.Add(59*time.Minute))
	m.pass(time.Minute)
	m.expect(t, c, noon.Add(3*24*time.Hour+time.Hour))
}

func TestJumpInSteps(t *testing.T) {
	m := newMachine()
	c := m.clock(time.Time{})
	for range 3 {
		m.set(24 * time.Hour)
		m.pass(50 * time.Minute)
		_ = c.Expiry()
	}
	m.log.Reset()
	m.expect(t, c, noon.Add(150*time.Minute))
	m.set(-48 * time.Hour) // not all the way back
	m.expect(t, c, noon.Add(150*time.Minute), "came back")
}

func TestSmallSteps(t *testing.T) {
	m := newMachine()
	c := m.clock(noon)
	m.set(50 * time.Second)
	m.expect(t, c, noon.Add(50*time.Second))
	m.set(-50 * time.Second)
	m.expect(t, c, noon)
}

func TestStart(t *testing.T) {
	m := newMachine()
	c := m.clock(noon.Add(-10 * year)) // the machine was off, or its clock is wrong
	m.pass(time.Minute)
	m.expect(t, c, noon.Add(time.Minute-10*year))
	m.pass(time.Hour)
	m.expect(t, c, noon.Add(61*time.Minute))

	m = newMachine()
	c = m.clock(noon.Add(10 * year)) // it was wrong before
	m.expect(t, c, noon, "behind the newest record")

	m = newMachine()
	c = m.clock(time.Time{}) // nothing is stored
	m.expect(t, c, noon)
}

func TestMonotonic(t *testing.T) {
	c := New(time.Now, time.Time{}, nil)
	if got := time.Since(c.Expiry()); got < 0 || got > time.Minute {
		t.Errorf("%v ago", got)
	}
}
