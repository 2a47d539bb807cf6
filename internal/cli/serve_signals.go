package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dictwire/dictwire"
)

// catchSignals catches what ends the server, and unless they are ignored, the hangups that
// make it read its settings again. uncatch undoes it.
func catchSignals(reloads bool) (signals, hangups <-chan os.Signal, uncatch func()) {
	ends, again := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a reader of stdout that goes away is an ordinary error
	if reloads && !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(again, syscall.SIGHUP)
	}
	return ends, again, func() {
		signal.Stop(again)
		signal.Reset(syscall.SIGPIPE)
		signal.Stop(ends)
	}
}

// wait waits until the server ends, or is to be ended.
func (s *serve) wait(ctx context.Context, served <-chan error, signals, hangups <-chan os.Signal) error {
	var failed <-chan struct{}
	if s.printer != nil {
		failed = s.printer.failed
	}
	var err error
	for waiting := true; waiting; {
		waiting = false
		select {
		case <-hangups:
			s.system.tell("RELOADING=1")
			s.reload()
			s.system.tell("READY=1")
			waiting = true
		case err = <-served:
		case <-signals:
			s.say("shutting down")
			s.system.tell("STOPPING=1")
			drained := make(chan error, 1)
			go func() { drained <- s.drain(ctx) }()
			done := make(chan error, 1)
			go func() {
				select {
				case err := <-drained:
					done <- err
				case <-failed:
					done <- nil
				}
			}()
			if err = ending(done, signals, s.stderr, "connections to finish what they send"); errors.As(err, new(exitError)) {
				return err
			}
		case <-failed:
		case <-ctx.Done():
		}
	}
	_ = s.srv.Close()
	if errors.Is(err, dictwire.ErrServerClosed) {
		err = nil
	}
	if s.printer != nil {
		done := make(chan error, 1)
		go func() { done <- s.printer.close(context.WithoutCancel(ctx)) }()
		printed := ending(done, signals, s.stderr, "standard output to take what is printed")
		if errors.As(printed, new(exitError)) {
			return printed
		}
		err = errors.Join(err, printed)
	}
	stats := s.srv.Stats()
	s.say("%s from %s, %d refused", count(stats.Records, "dictionary", "dictionaries"),
		count(stats.Connections, "connection", "connections"), stats.Rejected)
	return err
}

// drain lets connections finish what they send, within the grace period.
func (s *serve) drain(ctx context.Context) error {
	if s.grace >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.grace))
		defer cancel()
	}
	err := s.srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.say("closing connections that did not finish within %v: what they were not acknowledged is not stored", time.Duration(s.grace))
		return nil
	}
	return err
}

// die prints why the store can't go on, and ends the process. What was acknowledged is
// safe, and there is nothing else to wait for.
func (s *serve) die(err error) {
	tell(s.stderr, err)
	os.Exit(exitFailure)
}
