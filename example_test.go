package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
)

// A server that prints what it receives, and a client that sends a dictionary.
func Example() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &dictwire.Server{
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			fmt.Println("Received Dictionary from Client:")
			fmt.Println(r.Dict())
			return nil, nil
		}),
	}
	go func() {
		if err := srv.Serve(dictwire.Endpoint{Listener: l}); !errors.Is(err, dictwire.ErrServerClosed) {
			log.Fatal(err)
		}
	}()

	person := dict.Of("name", "Alice", "age", 30, "city", "Paris")
	if _, err := dictwire.Send(ctx, l.Addr().String(), person); err != nil {
		log.Fatal(err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Received Dictionary from Client:
	// {'name': 'Alice', 'age': 30, 'city': 'Paris'}
}

// A client sends many dictionaries, and reads them back.
func ExampleClient() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := new(dictwire.Server)
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer srv.Close()

	c, err := dictwire.Dial(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	type order struct {
		ID   int
		City string `dict:"city"`
	}
	for i := range 3 {
		if err := c.SendAsync(ctx, "orders.eu", order{ID: i, City: "Paris"}); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders.*"}}) {
		if err != nil {
			log.Fatal(err)
		}
		for d, err := range batch.All() {
			var o order
			if err == nil {
				err = d.To(&o)
			}
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(batch.Topic, o.ID, o.City)
		}
	}
	// Output:
	// orders.eu 0 Paris
	// orders.eu 1 Paris
	// orders.eu 2 Paris
}

// Send returns when the record is settled, with the handler's reply.
func ExampleClient_Send() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &dictwire.Server{
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			v, _ := r.Dict().Get("age")
			age, ok := v.Int()
			if !ok {
				return nil, dictwire.Reject("", "/age: want an int")
			}
			return dict.Of("in ten years", age+10), nil
		}),
	}
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer srv.Close()

	c, err := dictwire.Dial(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Send(ctx, "people", dict.Of("name", "Alice", "age", 30)))
	_, err = c.Send(ctx, "people", dict.Of("name", "Bob", "age", "old"))
	var rejected *dictwire.RejectedError
	fmt.Println(errors.As(err, &rejected), rejected.Code, rejected.Text)
	// Output:
	// {'in ten years': 40} <nil>
	// true handler /age: want an int
}

// A program can send its log to a topic.
func ExampleLogHandler() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := new(dictwire.Server)
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer srv.Close()

	c, err := dictwire.Dial(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	h, err := dictwire.NewLogHandler(c, "log.shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	slog.New(h).Info("paid", "order", 4711, "took", 1500*time.Microsecond)
	if err := h.Flush(ctx); err != nil { // at the end of the program
		log.Fatal(err)
	}
	for batch := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"log.*"}}) {
		for d := range batch.All() {
			d.Delete("time")
			fmt.Println(d)
		}
	}
	// Output:
	// {'level': 'INFO', 'msg': 'paid', 'order': 4711, 'took': datetime.timedelta(microseconds=1500)}
}
