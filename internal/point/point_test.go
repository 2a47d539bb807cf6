package point_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// Each notation of a point finds it.
func TestParse(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := memory.New(&memory.Options{Now: func() time.Time { return now }})
	defer s.Close()
	ctx := t.Context()
	var at [4]store.Position
	for i := range at {
		b := &store.Block{Topic: "t", Codec: "json"}
		b.Add([]byte("{}"))
		r := s.Append(ctx, b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		at[i] = r.Position
		now = now.Add(10 * time.Hour)
	}
	head, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]store.Position{
		"": {}, "earliest": {}, "latest": head, at[2].String(): at[2], "other.7.1": {Tag: "other", Block: 7, Index: 1},
		"2026-11-23T10:00Z": at[1], "2026-11-23T10:00:00.5Z": at[2], "2026-11-23T21:00+01:00": at[2], "2020-01-01T00:00:00Z": at[0],
		"1h": head, "10m": head, // all records are from another year
		"70000d": at[0], "10000w": at[0],
	} {
		p, err := point.Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, err := p.In(ctx, s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "10", "-10m", "0s", "10y", "2026-11-23", "a.b.c", "300y", "100000000d", "1w2d", "today", "10:00", "2026-11-23 10:00"} {
		if p, err := point.Parse(text); err == nil || !strings.HasPrefix(err.Error(), "want earliest, latest, a position, a time") {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

// Dates and times without a zone are local, and are written so that they mean the same
// everywhere.
func TestParseLocal(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	now := time.Date(2026, 3, 1, 15, 4, 5, 6, zone)
	for text, want := range map[string]string{
		"2026-02-28": "2026-02-27T22:00:00Z", "2026-02-28 10:00": "2026-02-28T08:00:00Z",
		"2026-02-28T10:00:01.5": "2026-02-28T08:00:01.5Z", "2026-02-28 10:00:01": "2026-02-28T08:00:01Z",
		"2026-02-28T10:00Z": "2026-02-28T10:00:00Z", "2026-02-28T10:00:00+05:00": "2026-02-28T05:00:00Z",
		"today": "2026-02-28T22:00:00Z", "yesterday": "2026-02-27T22:00:00Z", "now": "2026-03-01T13:04:05.000000006Z",
		"10:00": "2026-03-01T08:00:00Z", "10:00:30": "2026-03-01T08:00:30Z",
		"1w": "168h0m0s", "1.5h": "1h30m0s", "": "earliest", "earliest": "earliest", "latest": "latest",
		"k3f9a2bc.18234.0": "k3f9a2bc.18234.0",
	} {
		p, err := point.ParseLocal(text, now)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, p, err, want)
		}
		if again, err := point.Parse(p.String()); err != nil || again.String() != want {
			t.Errorf("%q again: %v, %v", p, again, err)
		}
	}
	for _, text := range []string{"tomorrow", "2026-02-30", "25:00", "2026-02-28 10", "Monday", "1y"} {
		if p, err := point.ParseLocal(text, now); err == nil || err.Error() != "want "+point.Help {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for text, want := range map[string]bool{
		"earliest": true, "latest": true, "now": true, "1h": true, "yesterday": true, "15:04": true,
		"15:05": false, "2027-01-01": false, "k3f9a2bc.18234.0": false,
	} {
		if p, err := point.ParseLocal(text, now); err != nil || p.Past(now) != want {
			t.Errorf("%q: %v, %v", text, err, !want)
		}
	}
}
