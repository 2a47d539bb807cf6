package point_test

import (
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// Each way to name a place finds it.
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
		"1h": head, "10m": head, // all is of another year
		"70000d": at[0],
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
	for _, text := range []string{"yesterday", "10", "-10m", "0s", "10y", "2026-11-23", "a.b.c", "300y", "100000000d"} {
		if p, err := point.Parse(text); err == nil || err.Error() != "want "+point.Help {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}
