package dictwire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/dictwire/dictwire/internal/client"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
)

// errors.As finds a *fault.Error in everything that the server reports.
func TestFaultsOfServer(t *testing.T) {
	h := dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		return nil, dictwire.Reject("field", "no such field")
	})
	c := dictwiretest.NewServer(t, h).Client
	_, err := c.Send(t.Context(), "t", dict.Of("a", 1))
	var f *fault.Error
	if !errors.As(err, new(*dictwire.RejectedError)) || !errors.As(err, &f) || f.Code != fault.Handler || f.Reason != "field" || f.Text != "no such field" {
		t.Errorf("Send = %v, %+v", err, f)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		server, err := l.Accept()
		if err != nil {
			return // the test has failed
		}
		_, _ = io.WriteString(server, `{"error":"nothing can be stored","code":"unavailable","at":7}`+"\n"+`{"error":"again","code":"malformed"}`+"\n")
		_ = server.Close()
	}()
	bare, err := client.DialBare(t.Context(), l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	_, err = bare.Receive(t.Context())
	if !errors.Is(err, dictwire.ErrUnavailable) || !errors.As(err, &f) || f.At != 7 || err.Error() != "dictwire: the server says: nothing can be stored" {
		t.Errorf("Receive = %v, %+v", err, f)
	}
	if _, err = bare.Receive(t.Context()); errors.Is(err, dictwire.ErrUnavailable) || !errors.As(err, &f) || f.Code != fault.Malformed || f.At != -1 {
		t.Errorf("Receive = %v, %+v", err, f)
	}
}
