package lease_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/lease"
)

// crowd lets all slots for first turns rest for a while, and makes others wait for them.
func crowd(t *testing.T, all *lease.Turns) {
	t.Helper()
	all.Host("known").Turn().Known()
	use(t, all)
}

// use uses all slots for first turns, which then rest if known peers are at work.
func use(t *testing.T, all *lease.Turns) {
	t.Helper()
	for range few() {
		turn := all.Host("stranger").Turn()
		if err := turn.Begin(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		turn.End()
	}
}

// The slot of a first turn rests, too, since hundreds of strangers have nothing else.
func TestFirstTurnsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		crowd(t, all)
		before := time.Now()
		if err := all.Host("other").Turn().Begin(t.Context(), nil); err != nil || time.Since(before) == 0 {
			t.Errorf("after %v: %v; want a rest", time.Since(before), err)
		}
		time.Sleep(time.Second)
	})
}

// Good records of a host pay for first turns of its later connections: 64 each, and no more
// than there were good records.
func TestCreditPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		host := all.Host("good")
		host.Credit(2*64 + 63)
		host.Leave()
		crowd(t, all)
		for n := range 3 {
			waits := begin(t.Context(), all.Host("good").Turn())
			if waited := len(waits) == 0; waited != (n == 2) {
				t.Errorf("turn %d waits: %v", n+1, waited)
			}
		}
		time.Sleep(time.Second)
	})
}

// Bad records count against a host, and both counts are limited.
func TestCreditIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		host := all.Host("h")
		turns := func() (n int) {
			for {
				crowd(t, all)
				turn := host.Turn()
				waits := begin(t.Context(), turn)
				if len(waits) == 0 {
					<-waits
					turn.End()
					return n
				}
				n++
			}
		}
		host.Credit(1 << 30)
		if n := turns(); n != 256 {
			t.Errorf("%d turns are paid for, want 256", n)
		}
		host.Credit(-1 << 30)
		host.Credit(256*64 + 64)
		if n := turns(); n != 1 {
			t.Errorf("%d turns are paid for, want 1", n)
		}
		time.Sleep(time.Second)
	})
}

// A limited number of idle hosts is remembered, and none without credit.
func TestHostsAreForgotten(t *testing.T) {
	all := lease.NewTurns()
	var m runtime.MemStats
	heap := func() uint64 {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 200_000 {
		h := all.Host(fmt.Sprintf("host-%d", n))
		h.Credit(n % 2 * 1000)
		h.Leave()
	}
	if more := int64(heap()) - int64(before); more > 4<<20 {
		t.Errorf("hosts that are gone hold %d bytes", more)
	}
	runtime.KeepAlive(all)
}
