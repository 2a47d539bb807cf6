package store

import (
	"cmp"
	"context"
	"time"
)

// A CursorName names a reader's saved position: one for all topics of a
// subscription, as it was written.
type CursorName struct {
	Principal    string
	Name         string
	Subscription string
}

// Compare orders names by principal, name and subscription.
func (c CursorName) Compare(d CursorName) int {
	return cmp.Or(cmp.Compare(c.Principal, d.Principal), cmp.Compare(c.Name, d.Name), cmp.Compare(c.Subscription, d.Subscription))
}

// A SavedCursor is a cursor and where it stands.
type SavedCursor struct {
	CursorName
	Position Position
	Saved    time.Time // when it was last committed or reset
}

// A CursorRequest is what a reader says of the cursor that it claims.
type CursorRequest struct {
	// Attempt grows with each connection of the reader. Zero means that nobody
	// counts: the newest connection wins.
	Attempt uint64

	// From is where a cursor begins that the store does not know.
	From Position
}

// A CursorClaim is the right to be the only one who commits a cursor.
type CursorClaim struct {
	// Epoch is what Commit is called with. It is never used for another claim.
	Epoch uint64

	// Position is where the cursor stands.
	Position Position

	// New says that the store did not know the cursor.
	New bool

	// Fenced is done when the claim is lost: see [Claim].
	Fenced context.Context //nolint:containedctx // the claim's life
}
