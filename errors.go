package dictwire

import (
	"fmt"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
)

// What a [Client] returns wraps one of these, or the *[fault.Error] that the server
// told, or both. After ErrLost, ErrConflict,
// ErrFenced, ErrProtocol and [spool.ErrDamaged] the topic can't go on: all later calls for it return the
// same, and what is not settled is lost with the client, unless a spool holds it.
var (
	// ErrLost says that the server has less than it acknowledged: it was
	// restored from a backup, or is another one. [Dialer.AcceptLost] goes on
	// without what is lost. Of a reader, it says that its position is not of
	// the server's store: it begins anew, with another cursor.
	ErrLost = client.ErrLost

	// ErrConflict says that the server holds another record under a number of
	// this producer: two logs use one name, or an old copy of a spool came
	// back. Give one of them a name of its own.
	ErrConflict = client.ErrConflict

	// ErrFenced says that another connection took over the producer, or the
	// cursor: it is used twice. End one of the two.
	ErrFenced = client.ErrFenced

	// ErrProtocol says that what the server sends is not the protocol: it is
	// no dictwire server, or one side is broken.
	ErrProtocol = client.ErrProtocol

	// ErrNotSent says that a record was not taken: it has no number, and nothing of
	// it will be sent. Where it is not wrapped, the record may get to the server, or
	// has got there.
	ErrNotSent = client.ErrNotSent

	// ErrExpired says that a record was not settled within [Dialer.MaxAge]. It may
	// be settled or not.
	ErrExpired = client.ErrExpired

	// ErrClientClosed is what calls of a Client return after [Client.Close].
	ErrClientClosed = client.ErrClosed
)

// A RejectedError says that a record was rejected: it is settled, but not in
// its topic.
type RejectedError struct {
	Topic  string
	Number uint64     // of the record, in the producer's log
	Code   fault.Code // what kind of fault
	Reason string     // what the server's handler gave to Reject, or ""
	Text   string     // what is wrong
	Record []byte     // the serialized record; nil where the client does not hold it any more
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("dictwire: record %d of topic %s was rejected: %s", e.Number, e.Topic, e.Text)
}

// Unwrap returns the *[fault.Error] of the code, the reason and the text.
func (e *RejectedError) Unwrap() error {
	return &fault.Error{Code: e.Code, Reason: e.Reason, Text: e.Text, At: -1}
}
