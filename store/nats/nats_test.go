package nats_test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
	"github.com/dictwire/dictwire/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A broker is the broker for the stores of a test.
type broker struct {
	urls     string
	replicas int
	made     atomic.Int64
	options  map[store.Store]*nats.Options
}

func (b *broker) open(t testing.TB, o *nats.Options) store.Store {
	t.Helper()
	s, err := nats.Open(t.Context(), b.urls, o)
	if err != nil {
		t.Fatal(err)
	}
	b.options[s] = o
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fresh returns the options of a new store.
func (b *broker) fresh() *nats.Options {
	return &nats.Options{Prefix: fmt.Sprintf("s%d", b.made.Add(1)), Replicas: b.replicas}
}

func (b *broker) driver() storetest.Driver {
	return storetest.Driver{
		Open:   func(t testing.TB) store.Store { return b.open(t, b.fresh()) },
		Second: func(t testing.TB, s store.Store) store.Store { return b.open(t, b.options[s]) },
		Reopen: func(t testing.TB, s store.Store) store.Store {
			o := b.options[s]
			if err := s.(*nats.Store).Close(); err != nil {
				t.Fatal(err)
			}
			return b.open(t, o)
		},
		Importing: func(t testing.TB) (storetest.Importing, func(bool) (storetest.Importing, error)) {
			o := b.fresh()
			o.Import = true
			s := b.open(t, o).(*nats.Store)
			return s, func(goesOn bool) (storetest.Importing, error) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				next := *o
				next.Import = goesOn
				again, err := nats.Open(t.Context(), b.urls, &next)
				if err != nil {
					return nil, err
				}
				s = again
				t.Cleanup(func() { _ = again.Close() })
				return s, nil
			}
		},
		Bounded: func(t testing.TB, n int) store.Store {
			o := b.fresh()
			o.MaxTopics, o.MaxProducers, o.MaxCursors = n, n, n
			return b.open(t, o)
		},
	}
}

func TestStore(t *testing.T) {
	b := &broker{urls: brokertest.URLs(brokertest.Cluster(t, 1, "")), replicas: 1, options: map[store.Store]*nats.Options{}}
	if testing.Short() {
		fewer(t, 20)
	}
	storetest.Run(t, b.driver())
}

// fewer makes the model of storetest run fewer than 100 times.
func fewer(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if err := f.Value.Set(fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) })
}

func TestClose(t *testing.T) {
	b := &broker{urls: brokertest.URLs(brokertest.Cluster(t, 1, "")), replicas: 1, options: map[store.Store]*nats.Options{}}
	storetest.Close(t, b.open(t, b.fresh()).(*nats.Store))
}

// TestCluster is TestStore on three nodes, each store on all of them.
func TestCluster(t *testing.T) {
	if testing.Short() {
		return // the stage cluster runs it
	}
	fewer(t, 15)
	b := &broker{urls: brokertest.URLs(brokertest.Cluster(t, 3, "")), replicas: 3, options: map[store.Store]*nats.Options{}}
	storetest.Run(t, b.driver())
}
