package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// failing is a handler that fails on record 2 in a given way and number of times, and
// counts its calls for that record.
func failing(times int, fail func(context.Context) error) (h dictwire.Handler, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return dictwire.HandlerFunc(func(ctx context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if v, _ := r.Dict().Get("n"); dict.Equal(v, dict.Int(2)) && calls.Add(1) <= int64(times) {
			return nil, fail(ctx)
		}
		return nil, nil
	}), calls
}

// failures are the ways in which a handler can fail. Their text is a secret.
var failures = map[string]func(context.Context) error{
	"an error":            func(context.Context) error { return errors.New("a secret") },
	"a fault":             func(context.Context) error { return &fault.Error{Code: fault.Lost, Text: "a secret", At: -1} },
	"another's rejection": func(context.Context) error { return &dictwire.RejectedError{Code: fault.Handler, Text: "a secret"} },
	"a panic":             func(context.Context) error { panic("a secret") },
	"a time-out": func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("a secret: %w", ctx.Err())
	},
}

// If a handler fails on a record for a while, it is called again, and the record is stored.
// Earlier records do not wait for that.
func TestHandlerRecovers(t *testing.T) {
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, calls := failing(3, fail)
				srv := dictwiretest.New(t, &dictwire.Server{Handler: h, HandlerTimeout: time.Second})
				began := time.Now()
				sendAsync(t, srv.Client, 3)
				synctest.Wait()
				if st := srv.Client.Stats(); st.Pending != 2 && name != "a time-out" {
					t.Errorf("%d records are pending while the second one is tried", st.Pending)
				}
				if err := srv.Client.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if calls.Load() != 4 {
					t.Errorf("called %d times, want 4", calls.Load())
				}
				if d := time.Since(began); d < 350*time.Millisecond || d > 5*time.Second {
					t.Errorf("it took %v, want pauses of 50, 100 and 200 ms", d)
				}
				if got := fmt.Sprint(srv.Records("t")); got != "[{'n': 1} {'n': 2} {'n': 3}]" {
					t.Errorf("stored %s", got)
				}
			})
		})
	}
}

// If a handler fails on a record in all attempts, the record is rejected as internal. Only
// the log has the error, and the next record is processed.
func TestHandlerFails(t *testing.T) {
	for name, fail := range failures {
		for retries, want := range map[int]int64{0: 11, 2: 3, -1: 1} {
			t.Run(fmt.Sprint(name, ", retries ", retries), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log testlog.Buffer
					h, calls := failing(1e9, fail)
					srv := dictwiretest.New(t, &dictwire.Server{
						Handler: h, HandlerRetries: retries, HandlerTimeout: time.Second, Logger: log.Logger(),
					})
					sendAsync(t, srv.Client, 3)
					var rejected *dictwire.RejectedError
					err := srv.Client.Flush(t.Context())
					if !errors.As(err, &rejected) || rejected.Number != 2 || rejected.Code != fault.Internal ||
						rejected.Reason != "" || rejected.Text != "the handler failed" {
						t.Errorf("Flush = %v, %+v", err, rejected)
					}
					if calls.Load() != want {
						t.Errorf("called %d times, want %d", calls.Load(), want)
					}
					if got := fmt.Sprint(srv.Records("t")); got != "[{'n': 1} {'n': 3}]" {
						t.Errorf("stored %s", got)
					}
					if got := fmt.Sprint(srv.Records(store.Rejected)); !strings.HasPrefix(got, "[{'code': 'internal', 'error': 'the handler failed', ") ||
						strings.Contains(got, "secret") {
						t.Errorf("_rejected holds %s", got)
					}
					if n := strings.Count(log.String(), "secret"); n < int(want) {
						t.Errorf("the log says %d times why, want at least %d:\n%s", n, want, log.String())
					}
				})
			})
		}
	}
}

// A handler that is unavailable is called again for as long as that takes.
func TestHandlerUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, calls := failing(50, func(context.Context) error {
			return fmt.Errorf("the database is away: %w", dictwire.ErrUnavailable)
		})
		srv := dictwiretest.New(t, &dictwire.Server{Handler: h, HandlerRetries: 1})
		sendAsync(t, srv.Client, 3)
		if err := srv.Client.Flush(t.Context()); err != nil || calls.Load() != 51 {
			t.Errorf("Flush = %v after %d calls", err, calls.Load())
		}
	})
}

// Ending the server does not wait for a failing handler: a record with a number is sent
// again, and one that the sender no longer has is kept.
func TestHandlerFailsAtShutdown(t *testing.T) {
	for name, greeting := range map[string]string{
		"with a number":    `{"dictwire":1,"topic":"t","producer":"p"}` + "\n",
		"without a number": "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, calls := failing(1e9, func(context.Context) error { return errors.New("no") })
				target := &dictwire.Server{Handler: h, Topic: "t"}
				srv := dictwiretest.New(t, target)
				c, err := srv.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				go func() { _, _ = io.Copy(io.Discard, c) }()
				for _, part := range []string{greeting, line(1) + line(2)} {
					if _, err := c.Write([]byte(part)); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				time.Sleep(time.Second)
				before := calls.Load()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if err := target.Shutdown(ctx); err != nil {
					t.Errorf("Shutdown = %v", err)
				}
				if more := calls.Load() - before; more > 1 {
					t.Errorf("called %d times meanwhile", more)
				}
				var want []string
				if greeting == "" {
					want = []string{"internal"}
				}
				var got []string
				for _, d := range srv.Records(store.Rejected) {
					got = append(got, textOf(d, "code"))
				}
				if !slices.Equal(got, want) {
					t.Errorf("rejected with the codes %q, want %q", got, want)
				}
				if got := fmt.Sprint(srv.Records("t")); got != "[{'n': 1}]" {
					t.Errorf("stored %s", got)
				}
			})
		})
	}
}

// What a handler says about a rejected record is reported, stored, and reported again after
// a resume; errors that wrap it are not.
func TestReject(t *testing.T) {
	long := strings.Repeat("ü", 50)
	st := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: st, Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		switch r.Number {
		case 1:
			return nil, fmt.Errorf("a secret: %w", dictwire.Reject("sold_out", "no milk today"))
		case 2:
			return nil, dictwire.Reject("", "no tea")
		default:
			return nil, dictwire.Reject(long, "no bread")
		}
	})})
	told := []string{
		exact(`{"rejected":1,"code":"handler","reason":"sold_out","error":"no milk today"}`),
		exact(`{"rejected":2,"code":"handler","error":"no tea"}`),
		exact(`{"rejected":3,"code":"handler","reason":"` + long[:64] + `","error":"no bread"}`),
		exact(`{"ack":3}`),
	}
	greeting := `{"dictwire":1,"topic":"t","producer":"p"}`
	s := greet(t, addr, greeting)
	s.hear(`.*`, exact(`{"ack":0}`))
	s.say(`{"a":1}{"a":2}{"a":3}`)
	s.hear(told...)
	_ = s.Close()
	s = greet(t, addr, greeting)
	s.hear(`.*`)
	s.hear(told...)
	rows := stored(t, st, store.Rejected)
	for i, want := range []string{"'reason': 'sold_out', 'error': 'no milk today'", "'code': 'handler', 'error': 'no tea'", "'reason': '" + long[:64] + "'"} {
		if len(rows) != 3 || !strings.Contains(rows[i], want) || strings.Contains(rows[i], "secret") {
			t.Fatalf("_rejected holds\n%s\nwant %s in row %d", strings.Join(rows, "\n"), want, i+1)
		}
	}
}
