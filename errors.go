package dictwire

import (
	"fmt"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/server"
)

// A [Client]'s errors wrap one of these, the server's *[fault.Error], or both. After ErrLost,
// ErrConflict, ErrFenced, ErrProtocol and [spool.ErrDamaged] each call for the topic fails.
var (
	ErrLost                  = client.ErrLost        // the server has less than it acknowledged, or not a reader's position: see Dialer.AcceptLost
	ErrConflict              = client.ErrConflict    // the server has another record under that number: a producer's name or a copied spool is used twice
	ErrFenced                = client.ErrFenced      // another connection took over the producer or the cursor
	ErrProtocol              = client.ErrProtocol    // the server broke the protocol
	ErrNotSent               = client.ErrNotSent     // the record was not accepted, and nothing of it will be sent
	ErrExpired               = client.ErrExpired     // the record was not settled within Dialer.MaxAge, and may be settled later
	ErrDropped               = client.ErrDropped     // from a LogHandler: the client's window is full
	ErrClientClosed          = client.ErrClosed      // after Client.Close
	ErrServerClosed          = server.ErrClosed      // from Serve, after Shutdown or Close
	ErrUnauthenticated error = fault.Unauthenticated // from an Authorizer, and told to a Client: bad credentials
	ErrUnavailable     error = fault.Unavailable     // from a Handler or an Authorizer, and told to a Client: try again later
)

// A RejectedError says that a record is in "_rejected". It wraps a *[fault.Error].
type RejectedError struct {
	Topic  string
	Number uint64 // counted by the producer
	Code   fault.Code
	Reason string // passed to Reject, or ""
	Text   string // what is wrong
	Record []byte // serialized; nil if the client no longer holds it
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("dictwire: record %d of topic %s was rejected: %s", e.Number, e.Topic, e.Text)
}

func (e *RejectedError) Unwrap() error {
	return &fault.Error{Code: e.Code, Reason: e.Reason, Text: e.Text, At: -1}
}
