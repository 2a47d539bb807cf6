package memory_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
	"github.com/dictwire/dictwire/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t testing.TB, now func() time.Time) store.Store {
			s := memory.New(&memory.Options{Now: now})
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	})
}

func TestKeepsTheNewest(t *testing.T) {
	s := memory.New(&memory.Options{KeepBytes: 1000})
	for range 100 {
		b := &store.Block{Topic: "a", Codec: "json"}
		b.Add(make([]byte, 100))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	stats, err := s.Topics(t.Context())
	if err != nil || stats[0].Bytes != 1000 || stats[0].First.Block != 91 {
		t.Fatalf("Topics: %+v, %v", stats, err)
	}
}
