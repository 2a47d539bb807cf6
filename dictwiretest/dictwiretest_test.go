package dictwiretest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// adults rejects records with an age below 18, and replies to the others.
func adults(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
	age, _ := r.Dict().Get("age")
	years, _ := age.Int()
	if years < 18 {
		return nil, dictwire.Reject("", "too young")
	}
	return dict.Of("in ten years", years+10), nil
}

func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, dictwire.HandlerFunc(adults))
		reply, err := srv.Client.Send(t.Context(), "people", map[string]any{"age": 30})
		if err != nil || reply.String() != "{'in ten years': 40}" {
			t.Errorf("reply %v, %v", reply, err)
		}
		var rejected *dictwire.RejectedError
		if _, err := srv.Client.Send(t.Context(), "people", map[string]any{"age": 3}); !errors.As(err, &rejected) {
			t.Errorf("error %v, want a *RejectedError", err)
		}
		if got := srv.Records("people"); len(got) != 1 || got[0].String() != "{'age': 30}" {
			t.Errorf("stored %v", got)
		}
		if got := srv.Records("_rejected"); len(got) != 1 {
			t.Errorf("rejected %v", got)
		}
	})
}

// Whatever the network does, each record is stored once.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(*dictwiretest.Server){
		"cut":     func(s *dictwiretest.Server) { s.Cut() },
		"swallow": func(s *dictwiretest.Server) { s.Swallow() },
		"refuse": func(s *dictwiretest.Server) {
			s.Refuse(true)
			s.Cut()
			time.AfterFunc(time.Minute, func() { s.Refuse(false) })
		},
		"delay": func(s *dictwiretest.Server) { s.Delay(2 * time.Second); s.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := dictwiretest.NewServer(t, nil)
				if _, err := srv.Client.Send(t.Context(), "n", dict.Of("i", -1)); err != nil { // so that there is a session
					t.Fatal(err)
				}
				began := time.Now()
				for i := range 100 {
					if err := srv.Client.SendAsync(t.Context(), "n", dict.Of("i", i)); err != nil {
						t.Fatal(err)
					}
					if i == 50 {
						fault(srv)
					}
				}
				if err := srv.Client.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if name != "cut" && time.Since(began) < time.Second {
					t.Errorf("settled after %v: the fault did nothing", time.Since(began))
				}
				got := srv.Records("n")
				if len(got) != 101 {
					t.Fatalf("stored %d records, want 101", len(got))
				}
				got = got[1:]
				for i, d := range got {
					if want := dict.Of("i", i); d.String() != want.String() {
						t.Fatalf("record %d is %v, want %v", i, d, want)
					}
				}
			})
		})
	}
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		srv.Refuse(true)
		if c, err := srv.Dial(t.Context(), "tcp", dictwiretest.Addr); err == nil {
			c.Close()
			t.Error("connected to a server that refuses")
		}
	})
}

func TestBareConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		c, err := srv.Dial(t.Context(), "tcp", dictwiretest.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, `{"a":1}`); err != nil {
			t.Fatal(err)
		}
		c.Close()
		synctest.Wait()
		if got := srv.Records("default"); len(got) != 1 || got[0].String() != "{'a': 1}" {
			t.Errorf("stored %v", got)
		}
	})
}

func TestNewRequest(t *testing.T) {
	r := dictwire.NewRequest("people", dict.Of("age", 30))
	reply, err := adults(t.Context(), r)
	if err != nil || reply.String() != "{'in ten years': 40}" {
		t.Errorf("reply %v, %v", reply, err)
	}
	if d, err := r.Codec.Decode(r.Bytes, codec.Limits{}); err != nil || d.String() != "{'age': 30}" {
		t.Errorf("its bytes are %v, %v", d, err)
	}
}
