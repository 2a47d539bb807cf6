package dictwire

import (
	"fmt"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/server"
)

// What a [Client] returns wraps one of these, or the *[fault.Error] that the server
// told, or both. After ErrLost, ErrConflict, ErrFenced, ErrProtocol and
// [spool.ErrDamaged] the topic can't go on: later calls for it return the same, and what
// is not settled is lost with the client, unless a Spool holds it.
var (
	// ErrLost: the server has less than it acknowledged, or a reader's position is not of
	// its store: it is another one, or was restored. See [Dialer.AcceptLost].
	ErrLost = client.ErrLost

	// ErrConflict: the server holds another record under a number of this producer: two
	// logs use one name, or an old copy of a spool came back.
	ErrConflict = client.ErrConflict

	ErrFenced       = client.ErrFenced   // another connection took over the producer, or the cursor
	ErrProtocol     = client.ErrProtocol // what the server sends is not the protocol
	ErrNotSent      = client.ErrNotSent  // the record was not taken, and nothing of it will be sent
	ErrExpired      = client.ErrExpired  // the record was not settled within Dialer.MaxAge; it may be yet
	ErrDropped      = client.ErrDropped  // a LogHandler found the window full
	ErrClientClosed = client.ErrClosed   // after Client.Close
)

// Errors of a server, of which a [Client] returns those that the server told.
var (
	ErrServerClosed    = server.ErrClosed         // what Serve returns after Shutdown or Close
	ErrUnauthenticated = fault.ErrUnauthenticated // from an Authorizer: bad credentials
	ErrUnavailable     = fault.ErrUnavailable     // from a Handler or an Authorizer: come again
)

// A RejectedError says that a record is settled in the topic "_rejected". It wraps the
// *[fault.Error].
type RejectedError struct {
	Topic  string
	Number uint64 // the producer's
	Code   fault.Code
	Reason string // what the handler gave to Reject, or ""
	Text   string // what is wrong
	Record []byte // serialized; nil where the client does not hold it any more
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("dictwire: record %d of topic %s was rejected: %s", e.Number, e.Topic, e.Text)
}

func (e *RejectedError) Unwrap() error {
	return &fault.Error{Code: e.Code, Reason: e.Reason, Text: e.Text, At: -1}
}
