package dictwire_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// TestSeveralAddresses ends three servers of one store, one after another. The client moves
// to a remaining one, with everything that it sends and reads, and every record is there
// once.
func TestSeveralAddresses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st := memory.New(nil)
	defer st.Close()
	var addrs []string
	var servers []*dictwire.Server
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &dictwire.Server{Store: st}
		go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
		defer srv.Close()
		servers, addrs = append(servers, srv), append(addrs, l.Addr().String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	c, err := dictwire.Dial(ctx, strings.Join(append([]string{nobody}, addrs...), ","))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const each = 50
	got := make(chan error, 1)
	go func() {
		n := int64(0)
		for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"a"}, Follow: true}) {
			if err != nil {
				got <- err
				return
			}
			for d, err := range batch.All() {
				var v struct {
					N int64 `dict:"n"`
				}
				if err == nil {
					err = d.To(&v)
				}
				if err != nil || v.N != n {
					got <- fmt.Errorf("record %d is %d: %w", n, v.N, err)
					return
				}
				n++
			}
			if n == 3*each {
				got <- nil
				return
			}
		}
	}()
	for i := range 3 * each {
		if _, err := c.Send(ctx, "a", map[string]any{"n": i}); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if i == each || i == 2*each { // a remaining server answers for the next record
			_ = servers[i/each-1].Close()
		}
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}
