package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAwait waits for something that comes, never comes or fails, and is interrupted. It says
// at once and every five seconds for how long it still waits.
func TestAwait(t *testing.T) {
	const line = " s for it\n"
	failed := errors.New("failed")
	for _, c := range []struct {
		what string
		most time.Duration
		done func(time.Duration) (bool, error)
		is   bool
		err  error
		took time.Duration
		says string
		ends time.Duration // when it is interrupted, or 0
	}{
		{"there already", time.Minute, func(time.Duration) (bool, error) { return true, nil }, true, nil, 0, "", 0},
		{"comes", time.Minute, func(d time.Duration) (bool, error) { return d > 6*time.Second, nil }, true, nil, 7 * time.Second, "dictwire: waiting up to 60" + line + "dictwire: waiting up to 55" + line, 0},
		{"never comes", 12 * time.Second, func(time.Duration) (bool, error) { return false, nil }, false, nil, 12 * time.Second, "dictwire: waiting up to 12" + line + "dictwire: waiting up to 7" + line + "dictwire: waiting up to 2" + line, 0},
		{"fails", time.Minute, func(d time.Duration) (bool, error) {
			if d < time.Second {
				return false, nil
			}
			return false, failed
		}, false, failed, time.Second, "dictwire: waiting up to 60" + line, 0},
		{"is interrupted", time.Minute, func(time.Duration) (bool, error) { return false, nil }, false, nil, 2500 * time.Millisecond, "dictwire: waiting up to 60" + line, 2500 * time.Millisecond},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				begin := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ends > 0 {
					time.AfterFunc(c.ends, cancel)
				}
				is, err := await(ctx, &said, "it", c.most, func() (bool, error) { return c.done(time.Since(begin)) })
				if took := time.Since(begin); is != c.is || err != c.err || took != c.took || said.String() != c.says {
					t.Errorf("%v, %v after %v, said %q; want %v, %v after %v, said %q", is, err, took, &said, c.is, c.err, c.took, c.says)
				}
			})
		})
	}
}
