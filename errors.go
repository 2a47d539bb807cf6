package dictwire

import (
	"errors"
	"fmt"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// What a [Client] returns wraps one of these, or the *[fault.Error] that the server
// told, or both. After ErrLost, ErrConflict, ErrDamaged,
// ErrFenced and ErrProtocol the topic can't go on: all later calls for it return the
// same, and what is not settled is lost with the client, unless a spool holds it.
var (
	// ErrLost says that the server has less than it acknowledged: it was
	// restored from a backup, or is another one. [Dialer.AcceptLost] goes on
	// without what is lost. Of a reader, it says that its position is not of
	// the server's store: it begins anew, with another cursor.
	ErrLost = errors.New("dictwire: the server has less than it acknowledged: " +
		"it was restored from a backup, or is another one; accept the loss to go on")

	// ErrConflict says that the server holds another record under a number of
	// this producer: two logs use one name, or an old copy of a spool came
	// back. Give one of them a name of its own.
	ErrConflict = errors.New("dictwire: the server holds another record under this number: " +
		"two logs use one producer's name, or an old copy of a spool came back; give one of them a name of its own")

	// ErrDamaged says that a spool can't give back records that are not settled,
	// as where its disk damaged them. [Dialer.AcceptLost] goes on without them.
	ErrDamaged = errors.New("dictwire: records of the spool can't be read any more")

	// ErrFenced says that another connection took over the producer, or the
	// cursor: it is used twice. End one of the two.
	ErrFenced = errors.New("dictwire: another connection took over: " +
		"the producer or cursor is used twice; end one of the two")

	// ErrProtocol says that what the server sends is not the protocol: it is
	// no dictwire server, or one side is broken.
	ErrProtocol = errors.New("dictwire: what the server sends is not the native session")

	// ErrNotSent says that a record was not taken: it has no number, and nothing of
	// it will be sent. Where it is not wrapped, the record may get to the server, or
	// has got there.
	ErrNotSent = errors.New("dictwire: not sent")

	// ErrClientClosed is what calls of a Client return after [Client.Close].
	ErrClientClosed = errors.New("dictwire: the client is closed")
)

// A notSentError is [ErrNotSent] with the reason.
type notSentError struct{ error }

func (e notSentError) Unwrap() []error { return []error{ErrNotSent, e.error} }

// A RejectedError says that a record was rejected: it is settled, but not in
// its topic.
type RejectedError struct {
	Topic  string
	Number uint64     // of the record, in the producer's log
	Code   fault.Code // what kind of fault
	Text   string     // what is wrong
	Record []byte     // the serialized record; nil where the client does not hold it any more
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("dictwire: record %d of topic %s was rejected: %s", e.Number, e.Topic, e.Text)
}

// Unwrap returns the *[fault.Error] of the code and the text.
func (e *RejectedError) Unwrap() error { return &fault.Error{Code: e.Code, Text: e.Text, At: -1} }

// A remoteError is the fault that the server tells, against a session or against what
// came as a bare sequence.
type remoteError struct{ fault *fault.Error }

func (e *remoteError) Error() string { return "dictwire: the server says: " + e.fault.Text }

func (e *remoteError) Unwrap() error { return e.fault }

// A lostPositionError is [ErrLost] where a reader names a position that the server
// does not have: there is no loss to accept, and the server says what helps.
type lostPositionError struct{ remote *remoteError }

func (e *lostPositionError) Error() string { return e.remote.Error() }

func (e *lostPositionError) Unwrap() []error { return []error{ErrLost, e.remote} }

// reported returns the fault that d reports, or nil where it is a reply.
func reported(d *dict.Dict) *fault.Error {
	text, isText := textOf(d, "error")
	code, isCode := textOf(d, "code")
	if !isText || !isCode {
		return nil
	}
	f := &fault.Error{Code: fault.Code(code), Text: text, At: -1}
	if v, ok := d.Get("at"); ok {
		if at, ok := v.Int(); ok {
			f.At = at
		}
	}
	return f
}

// A stopError is what no new connection helps against.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func (e *stopError) Unwrap() error { return e.err }

func stop(format string, a ...any) error { return &stopError{fmt.Errorf(format, a...)} }

// ended makes the error of a session that the server ended by f. It is a
// *stopError where no new connection helps; greeted says whether the server had
// accepted the greeting.
func ended(f *fault.Error, what string, greeted bool) error {
	remote := &remoteError{f}
	switch f.Code {
	case fault.Lost:
		return stop("%w (%s; the server goes on at number %d): %w", ErrLost, what, f.Next, remote)
	case fault.Conflict:
		return stop("%w (%s): %w", ErrConflict, what, remote)
	case fault.Fenced, fault.Stale:
		return stop("%w (%s): %w", ErrFenced, what, remote)
	case fault.Forbidden, fault.Plaintext, fault.Topic, fault.Unauthenticated, fault.Unsupported, fault.Version:
		return stop("%w (%s)", remote, what)
	}
	if !greeted && !f.Code.Retryable() {
		return stop("%w (%s)", remote, what)
	}
	return remote
}
