package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/dict"
)

// A server that accepts peers with a token, for the topics of its entry.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "auth")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tokens.json")

	token := auth.NewToken()
	err = auth.Edit(path, true, func(l *auth.List) error {
		l.Entries = append(l.Entries, auth.Entry{Name: "till-7", Token: auth.HashOf(token), Send: []string{"orders.*"}})
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	tokens, err := auth.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	srv := &dictwire.Server{
		Authorizer: tokens.Authorize,
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			fmt.Println(r.Principal, "sends", r.Dict(), "to", r.Topic)
			return nil, nil
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(dictwire.Endpoint{Listener: l}) }()

	ctx := context.Background()
	c, err := dictwire.Dialer{Token: token}.Dial(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Send(ctx, "orders.eu", map[string]int{"id": 1})
	fmt.Println(err)
	_, err = c.Send(ctx, "bills", map[string]int{"id": 1})
	fmt.Println(errors.Is(err, dictwire.ErrUnauthenticated), err != nil)
	_ = c.Close()
	_ = srv.Close()
	<-served
	// Output:
	// till-7 sends {'id': 1} to orders.eu
	// <nil>
	// false true
}
