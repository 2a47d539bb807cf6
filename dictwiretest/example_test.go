package dictwiretest_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
)

// A shop is the code under test: it sends each order.
type shop struct{ c *dictwire.Client }

func (s shop) order(ctx context.Context, what string) error {
	return s.c.SendAsync(ctx, "orders", dict.Of("what", what))
}

func ExampleNewServer() {
	// In a test file, this would be func TestShop(t *testing.T).
	testShop := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := dictwiretest.NewServer(t, nil)
			s := shop{srv.Client}
			if err := s.order(t.Context(), "tea"); err != nil {
				t.Fatal(err)
			}
			srv.Cut() // records in flight are sent again, and stored once
			if err := srv.Client.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := srv.Records("orders"); len(got) != 1 || got[0].String() != "{'what': 'tea'}" {
				t.Errorf("stored %v", got)
			}
		})
	}
	_ = testShop
}
