package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

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
		if err := srv.Serve(l); !errors.Is(err, dictwire.ErrServerClosed) {
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

// A handler that replies, and a client that sends over one connection.
func ExampleBareConn() {
	ctx := context.Background()
	l, err := dictwire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &dictwire.Server{
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			age, ok := r.Dict().Get("age")
			years, isInt := age.Int()
			if !ok || !isInt {
				return nil, errors.New("/age: want an int")
			}
			return dict.Of("in ten years", years+10), nil
		}),
	}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()

	c, err := dictwire.DialBare(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, person := range []*dict.Dict{
		dict.Of("name", "Alice", "age", 30),
		dict.Of("name", "Bob", "age", "old"),
	} {
		if err := c.Send(ctx, person); err != nil {
			log.Fatal(err)
		}
		var refusal *dictwire.RemoteError
		switch reply, err := c.Receive(ctx); {
		case errors.As(err, &refusal):
			fmt.Println(refusal.Code, "-", refusal.Text)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(reply)
		}
	}
	if err := c.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	_, err = c.Receive(ctx)
	fmt.Println(err == io.EOF)
	// Output:
	// {'in ten years': 40}
	// handler - /age: want an int
	// true
}
