package form_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"example.com/form"
	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
)

// A third-party codec works throughout: records are sent, replied to, stored and read in
// it.
func TestOwnCodec(t *testing.T) {
	srv := dictwiretest.New(t, &dictwire.Server{
		Codecs: []codec.Codec{form.Codec{}},
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			what, _ := r.Dict().Get("what")
			if text, _ := what.Text(); text == "milk" {
				return nil, dictwire.Reject("", "no milk")
			}
			return dict.Of("format", r.Codec.Name()), nil
		}),
	})
	c := srv.NewClient(dictwire.Dialer{Codec: form.Codec{}})
	reply, err := c.Send(t.Context(), "orders", dict.Of("what", "tea & bread", "für", "Zoë"))
	if err != nil || reply.String() != "{'format': 'form'}" {
		t.Errorf("Send = %v, %v", reply, err)
	}
	var rejected *dictwire.RejectedError
	if _, err := c.Send(t.Context(), "orders", dict.Of("what", "milk")); !errors.As(err, &rejected) || string(rejected.Record) != "what=milk" {
		t.Errorf("Send = %v", err)
	}
	if _, err := c.Send(t.Context(), "orders", dict.Of("n", 1)); !errors.Is(err, dictwire.ErrNotSent) {
		t.Errorf("Send of what it can't hold = %v", err)
	}
	read := func(cd codec.Codec) (got []string) {
		for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}, Codec: cd}) {
			if err != nil {
				got = append(got, string(errorCode(err)))
			}
			if b == nil {
				break
			}
			for _, r := range b.Records {
				got = append(got, b.Codec.Name()+" "+string(r))
			}
		}
		return got
	}
	if got := fmt.Sprint(read(form.Codec{})); got != "[form what=tea+%26+bread&f%C3%BCr=Zo%C3%AB]" {
		t.Errorf("read %s", got)
	}
	if got := fmt.Sprint(read(json.Codec{})); got != `[json {"what":"tea & bread","für":"Zoë"}]` {
		t.Errorf("read %s", got)
	}
	if _, err := srv.Client.Send(t.Context(), "orders", dict.Of("n", 1)); err != nil {
		t.Error(err)
	}
	if got := read(form.Codec{}); len(got) != 2 || got[1] != "loss" {
		t.Errorf("read %q, where the second can't be held", got)
	}

	// A record that is not a form is rejected, and the session continues.
	conn, err := srv.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, `{"dictwire":1,"topic":"t","format":"form"}`+"\na=1\na=1&a=2\n") }()
	told, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(told), `{"rejected":2,"code":"duplicate_key"`) {
		t.Errorf("told %s, %v", told, err)
	}

	// A server without the codec lists those that it has.
	_, err = dictwiretest.NewServer(t, nil).NewClient(dictwire.Dialer{}).Send(t.Context(), "t", dictwire.Record{Codec: form.Codec{}, Bytes: []byte("a=1")})
	if err == nil || !strings.Contains(err.Error(), "no format form") {
		t.Errorf("Send = %v", err)
	}
	plain := dictwiretest.NewServer(t, nil)
	c, err = dictwire.Dialer{Codec: form.Codec{}, DialContext: plain.Dial}.Dial(t.Context(), "")
	if errorCode(err) != fault.Unsupported || !strings.Contains(err.Error(), "cbor, json, msgpack, pickle, python are") {
		t.Errorf("Dial = %v, %v", c, err)
	}
}

// A named is a codec with another name.
type named struct {
	form.Codec
	name string
}

func (n named) Name() string { return n.name }

// The names of codecs must be unique.
func TestCodecNames(t *testing.T) {
	for want, codecs := range map[string][]codec.Codec{
		`another codec named "json"`: {named{name: "json"}},
		`another codec named "form"`: {form.Codec{}, form.Codec{}},
		`the name ""`:                {named{}},
		`the name "a b"`:             {named{name: "a b"}},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &dictwire.Server{Codecs: codecs}
		if err := srv.Serve(dictwire.Endpoint{Listener: l}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve = %v, want %s", err, want)
		}
	}
}

func errorCode(err error) fault.Code {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f.Code
	}
	return ""
}
