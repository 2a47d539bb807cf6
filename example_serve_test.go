package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// serve starts a server for an example. It returns its address, and a function that ends
// it.
func serve(h dictwire.Handler) (addr string, end func()) {
	l, err := dictwire.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &dictwire.Server{Handler: h}
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
	return l.Addr().String(), func() { _ = srv.Close() }
}

// dialed returns a client of a server for an example, and a function that ends both.
func dialed(h dictwire.Handler) (c *dictwire.Client, end func()) {
	addr, stop := serve(h)
	c, err := dictwire.Dial(context.Background(), addr)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		_ = c.Close()
		stop()
	}
}

// send3 sends three orders.
func send3(c *dictwire.Client) {
	ctx := context.Background()
	for i, what := range []string{"tea", "milk", "bread"} {
		if err := c.SendAsync(ctx, "orders", dict.Of("id", i+1, "what", what)); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

// A handler can be tested without a server.
func ExampleNewRequest() {
	handler := dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if _, ok := r.Dict().Get("id"); !ok {
			return nil, dictwire.Reject("", "/id: missing")
		}
		return nil, nil
	})
	_, err := handler.Handle(context.Background(), dictwire.NewRequest("orders", dict.Of("what", "tea")))
	fmt.Println(err)
	// Output: /id: missing
}

// A handler can reject a record, and the sender is told why. After any other error the
// handler is called again.
func ExampleReject() {
	c, end := dialed(dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		what, _ := r.Dict().Get("what")
		if text, _ := what.Text(); text == "milk" {
			return nil, dictwire.Reject("sold_out", "no milk today")
		}
		return nil, nil
	}))
	defer end()
	_, err := c.Send(context.Background(), "orders", dict.Of("what", "milk"))
	var rejected *dictwire.RejectedError
	if errors.As(err, &rejected) && rejected.Reason == "sold_out" {
		fmt.Println(err)
	}
	// Output: dictwire: record 1 of topic orders was rejected: no milk today
}

// A handler's reply is what Send returns.
func ExampleHandlerFunc() {
	c, end := dialed(dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		return dict.Of("topic", r.Topic, "number", r.Number), nil
	}))
	defer end()
	fmt.Println(c.Send(context.Background(), "orders", dict.Of("id", 1)))
	// Output: {'topic': 'orders', 'number': 1} <nil>
}

// Shutdown ends a server without losing received records.
func ExampleServer_Shutdown() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := new(dictwire.Server)
	done := make(chan error)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	if _, err := dictwire.Send(ctx, l.Addr().String(), dict.Of("n", 1)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(srv.Shutdown(ctx), <-done == dictwire.ErrServerClosed)
	// Output: <nil> true
}

// A program can read the store that its server uses. Package store/log has one on disk.
func ExampleServer_store() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	st := memory.New(nil)
	srv := &dictwire.Server{Store: st}
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer srv.Close()
	if _, err := dictwire.Send(ctx, l.Addr().String(), dict.Of("n", 1)); err != nil {
		log.Fatal(err)
	}
	for b, err := range st.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		if b.Block != nil {
			fmt.Println(b.Block.Topic, b.Block.Codec, len(b.Block.Lengths))
		}
	}
	// Output: default cbor 1
}
