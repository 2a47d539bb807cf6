package nats

import (
	"errors"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
)

// onNode returns a store on a broker with one node, both of which end with the test.
func onNode(t *testing.T, opts *Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), brokertest.URLs(brokertest.Cluster(t, 1, "")), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestKeep trims by bytes and by age.
func TestKeep(t *testing.T) {
	s := onNode(t, &Options{
		Replicas: 1,
		Keep: func(topic string) (time.Duration, uint64) {
			return map[string]time.Duration{"old": time.Hour}[topic], map[string]uint64{"long": 5000}[topic]
		},
	})
	for range 20 {
		for _, topic := range []string{"old", "long", "all"} {
			b := &store.Block{Topic: topic, Codec: "json"}
			b.Add(make([]byte, 1000))
			if r := s.Append(t.Context(), b)[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	for _, c := range []struct {
		now  time.Time
		want [3]uint64 // of all, long and old
	}{
		{time.Now(), [3]uint64{20, 5, 20}},
		{time.Now().Add(2 * time.Hour), [3]uint64{20, 5, 0}},
	} {
		if err := s.trimOld(t.Context(), c.now); err != nil {
			t.Fatal(err)
		}
		topics, err := s.Topics(t.Context())
		if err != nil || len(topics) != 3 {
			t.Fatal(topics, err)
		}
		for i, topic := range topics {
			if topic.Blocks != c.want[i] {
				t.Errorf("%s: %d blocks, want %d", topic.Name, topic.Blocks, c.want[i])
			}
		}
	}
}

// TestVersions refuses brokers that are too old.
func TestVersions(t *testing.T) {
	for version, ok := range map[string]bool{"2.14.4": true, "2.14.10": true, "2.15.0-RC.1": true, "3.0.0": true, "2.14.3": false, "2.12.9": false, "1.99.99": false} {
		if err := checkVersion("node n", version); (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// TestExpire stops counting expired producers, and counts those that come back.
func TestExpire(t *testing.T) {
	o := &Options{Replicas: 1, MaxProducers: 4}
	urls := brokertest.URLs(brokertest.Cluster(t, 1, ""))
	var all []*Store
	for range 2 {
		s, err := Open(t.Context(), urls, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		all = append(all, s)
	}
	s, ctx := all[0], t.Context()
	claim := func(name string, expire time.Duration) error {
		_, err := s.Claim(ctx, store.Producer{Principal: "p", Topic: "a", Name: name}, store.ClaimRequest{Expire: expire})
		return err
	}
	counted := func(want int) {
		t.Helper()
		for _, s := range all {
			if err := s.upToDate(ctx); err != nil {
				t.Fatal(err)
			}
			if n := s.ofProducers.All(); n != want {
				t.Fatalf("%d producers are counted, want %d", n, want)
			}
		}
	}
	for name, expire := range map[string]time.Duration{"short": time.Minute, "long": 10 * time.Hour} {
		if err := claim(name, expire); err != nil {
			t.Fatal(err)
		}
	}
	if err := claim("more", time.Minute); !errors.As(err, new(*store.LimitError)) {
		t.Fatalf("Claim of a third one: %v, want a limit", err)
	}
	counted(2)
	for _, early := range []time.Duration{0, expireEvery / 2} { // its time is not over, or it may be being claimed
		if err := s.expire(ctx, time.Now().Add(early)); err != nil {
			t.Fatal(err)
		}
		counted(2)
	}
	if err := s.expire(ctx, time.Now().Add(2*expireEvery)); err != nil {
		t.Fatal(err)
	}
	counted(1)
	if err := claim("more", time.Minute); err != nil {
		t.Fatal(err)
	}
	counted(2)
}

// TestClocks has servers whose clocks differ by ten minutes. No producer expires early, and
// nothing is trimmed early or late.
func TestClocks(t *testing.T) {
	urls := brokertest.URLs(brokertest.Cluster(t, 1, ""))
	ctx := t.Context()
	var all []*Store
	for _, ahead := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		s, err := Open(ctx, urls, &Options{
			Replicas: 1,
			Keep:     func(string) (time.Duration, uint64) { return 3 * time.Minute, 0 },
			clock:    func() time.Time { return time.Now().Add(ahead) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if off := time.Until(s.now()); off.Abs() > time.Second {
			t.Errorf("a server whose clock is %v ahead takes the time to be %v ahead", ahead, off)
		}
		all = append(all, s)
	}
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	for n := range uint64(4) {
		s := all[n%2]
		c, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: n + 1, Acked: n, Expire: time.Minute})
		if err != nil {
			t.Fatalf("Claim %d: %v", n, err)
		}
		b := &store.Block{Topic: "a", Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: n + 1}
		b.Add([]byte("{}"))
		if err := s.Append(ctx, b)[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range all {
		if err := errors.Join(s.upToDate(ctx), s.trimOld(ctx, s.now())); err != nil { // with what the other server stored
			t.Fatal(err)
		}
		topics, err := s.Topics(ctx)
		if err != nil || len(topics) != 1 || topics[0].Blocks != 4 {
			t.Errorf("%+v, %v, want 4 blocks", topics, err)
		}
		known, err := s.Known(ctx, store.Producer{Principal: "p"}, 10)
		if err != nil || len(known) != 1 || time.Until(known[0].Seen).Abs() > time.Minute {
			t.Errorf("%+v, %v, want one that was seen now", known, err)
		}
	}
}

// TestRejectionsGo has a producer with rejections older than its window, and one that is
// forgotten. Their rejections are deleted.
func TestRejectionsGo(t *testing.T) {
	s := onNode(t, &Options{Replicas: 1})
	ctx := t.Context()
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	add := func(first uint64, topic string, records int) {
		t.Helper()
		bl := &store.Block{Topic: topic, Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: first}
		if topic == store.Rejected {
			bl.Rejected = []store.Rejection{{Number: first, Code: "schema", Text: "no"}}
		}
		for range records {
			bl.Add([]byte("{}"))
		}
		if r := s.Append(ctx, bl)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	holds := func(listed, messages int) {
		t.Helper()
		n := 0
		for _, err := range s.Rejections(ctx, p, 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		there := 0
		if err := s.each(ctx, s.rejections(producerID(p)), func(stored) (bool, error) { there++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		if n != listed || there != messages {
			t.Fatalf("%d rejections are listed and %d messages hold them, want %d and %d", n, there, listed, messages)
		}
	}
	const old = 74
	for i := range uint64(old) {
		add(i+1, store.Rejected, 1)
	}
	holds(old, old)
	add(old+1, "a", store.Window)
	add(old+1+store.Window, store.Rejected, 1)
	holds(1, 1)
	if err := s.Forget(ctx, p); err != nil {
		t.Fatal(err)
	}
	holds(0, 0)
}

// TestRejectionsBounded has a producer whose records are all rejected, and whose rejections
// nobody reads. It takes bounded room, and none for rejections once it has expired.
func TestRejectionsBounded(t *testing.T) {
	s := onNode(t, &Options{Replicas: 1})
	ctx := t.Context()
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	const (
		windows = 4
		each    = 512 // records of a block
	)
	holds := func(subject string) (n int) {
		t.Helper()
		if err := s.each(ctx, subject, func(stored) (bool, error) { n++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	rejections, home := s.rejections(producerID(p)), s.home(p)
	next := uint64(1)
	for range windows {
		c, err := s.Claim(ctx, p, store.ClaimRequest{Acked: next - 1, Expire: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for end := next + store.Window; next < end; next += each {
			b := &store.Block{Topic: store.Rejected, Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: next}
			for n := range uint64(each) {
				b.Add([]byte("{}"))
				b.Rejected = append(b.Rejected, store.Rejection{Number: next + n, Code: "schema", Text: "no"})
			}
			if r := s.Append(ctx, b)[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		s.Release(p, c.Epoch)
		if n := holds(rejections); n > (store.Window+sweepEvery)/each+1 {
			t.Errorf("%d messages hold %d rejections, each message %d, with a window of %d", n, next-1, each, store.Window)
		}
		if err := s.upToDate(ctx); err != nil { // and then what was superseded is deleted
			t.Fatal(err)
		}
		if n := holds(home); n > 2 {
			t.Errorf("%d messages hold the producer's state", n)
		}
	}
	listed := 0
	for r, err := range s.Rejections(ctx, p, 0) {
		if want := next - store.Window + uint64(listed); err != nil || r.Number != want {
			t.Fatalf("rejection of %d, %v, want that of %d", r.Number, err, want)
		}
		listed++
	}
	if listed != store.Window {
		t.Errorf("%d rejections are listed, want %d", listed, store.Window)
	}
	if err := s.expire(ctx, time.Now().Add(2*expireEvery)); err != nil {
		t.Fatal(err)
	}
	if n := holds(rejections); n != 0 {
		t.Errorf("%d messages hold rejections of a producer that has expired", n)
	}
}
