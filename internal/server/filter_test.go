package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/dialect"
)

// selectAll is a filter that selects all records, and ends with nobody.
type selectAll struct{}

func (selectAll) Send(string, []uint32, []byte) error { return nil }
func (selectAll) Receive() (dialect.Filtered, error) {
	return dialect.Filtered{Results: []dialect.Result{{Kind: dialect.Selected}}}, nil
}
func (selectAll) Close() {}

// A reader whose context has ended is told so, also where the store's word of it is dropped
// on its way: the end of what it is given is not the end of what there is.
func TestFilterTellsItsEnd(t *testing.T) {
	in := openIntake(t, &Server{Topic: "default"})
	session, err := in.Open(t.Context(), dialect.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	take(t, in, []byte("{}"))
	over := errors.New("over")
	for range 50 { // it is dropped every other time
		r, err := session.Read(t.Context(), dialect.ReadRequest{
			Topics: []string{"t"}, Subscription: "t", From: "earliest", Follow: true,
			Forms: []dialect.Form{dialect.FormOf(json.Codec{})}, Filtering: &dialect.Filtering{Filter: selectAll{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancelCause(t.Context())
		given, told := 0, error(nil)
		for part, err := range r.Batches(ctx) {
			given += len(part.Lengths)
			told = err
			time.AfterFunc(time.Millisecond, func() { end(over) })
		}
		r.Close()
		end(nil)
		if given != 1 || !errors.Is(told, over) {
			t.Fatalf("%d records were given, and then it is told: %v", given, told)
		}
	}
}
