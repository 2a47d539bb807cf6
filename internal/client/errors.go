package client

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/wire"
)

// The root package documents these errors, ErrClosed as ErrClientClosed.
var (
	ErrLost = errors.New("dictwire: the server has less than it acknowledged: " +
		"it was restored from a backup, or is another one; accept the loss to go on")
	ErrConflict = errors.New("dictwire: the server holds another record under this number: " +
		"two logs use one producer's name, or an old copy of a spool came back; give one of them a name of its own")
	ErrFenced = errors.New("dictwire: another connection took over: " +
		"the producer or cursor is used twice; end one of the two")
	ErrProtocol = errors.New("dictwire: what the server sends is not the native session")
	ErrNotSent  = errors.New("dictwire: not sent")
	ErrClosed   = errors.New("dictwire: the client is closed")
	ErrExpired  = errors.New("dictwire: not settled within MaxAge; the record may be settled or not")
	ErrDropped  = errors.New("dictwire: a log record was dropped: the window is full")
)

// A notSentError is [ErrNotSent] with a cause.
type notSentError struct{ error }

func (e notSentError) Unwrap() []error { return []error{ErrNotSent, e.error} }

// NotSent returns an [ErrNotSent] with err as its cause.
func NotSent(err error) error { return notSentError{err} }

// A RemoteError is a fault that the server reported, about a session or a bare sequence.
type RemoteError struct{ Fault *fault.Error }

func (e *RemoteError) Error() string { return "dictwire: the server says: " + e.Fault.Text }

// Unwrap returns the fault.
func (e *RemoteError) Unwrap() error { return e.Fault }

// A lostPositionError is an [ErrLost] of a reader whose position the server does not have. There
// is no loss to accept; the server's text names the remedy.
type lostPositionError struct{ remote *RemoteError }

func (e *lostPositionError) Error() string { return e.remote.Error() }

func (e *lostPositionError) Unwrap() []error { return []error{ErrLost, e.remote} }

// A stopError is an error that a new connection would not remedy.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func (e *stopError) Unwrap() error { return e.err }

func stop(format string, a ...any) error { return &stopError{fmt.Errorf(format, a...)} }

// broken returns the error of a broken connection. wrote and read are the errors of writing and
// reading, who names its log or subscription. The server's last message has precedence.
func broken(wrote, read error, who any) error {
	var (
		bad     *wire.MessageError
		timeout net.Error
	)
	switch {
	case errors.As(read, &bad):
		return stop("%w: %w (%v)", ErrProtocol, bad, who)
	case errors.As(read, new(*stopError)), errors.As(read, new(*RemoteError)):
		return read
	case wrote != nil:
		return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(wrote))
	case read == io.EOF:
		return errors.New("dictwire: the server closed the connection")
	case errors.As(read, &timeout) && timeout.Timeout():
		return fmt.Errorf("dictwire: nothing came from the server for %v", wire.BeatWithin)
	}
	return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(read))
}

// ended returns the error of a session that the server ended with f: a *stopError if a new
// session would not help. greeted says whether the server had accepted the greeting.
func ended(f *fault.Error, what string, greeted bool) error {
	remote := &RemoteError{f}
	switch f.Code {
	case fault.Lost:
		return stop("%w (%s; the server goes on at number %d): %w", ErrLost, what, f.Next, remote)
	case fault.Conflict:
		return stop("%w (%s): %w", ErrConflict, what, remote)
	case fault.Fenced, fault.Stale:
		return stop("%w (%s): %w", ErrFenced, what, remote)
	case fault.Forbidden, fault.Plaintext, fault.Topic, fault.Unauthenticated, fault.Unsupported, fault.Version:
		return stop("%w (%s)", remote, what)
	default: // transient, or a fault of the greeting
	}
	if !greeted && !f.Code.Retryable() {
		return stop("%w (%s)", remote, what)
	}
	return remote
}
