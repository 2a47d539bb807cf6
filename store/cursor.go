package store

import (
	"cmp"
	"context"
	"time"
)

// A CursorName names a reader's saved position. There is one for each subscription, as
// the reader wrote it.
type CursorName struct {
	Principal    string
	Name         string
	Subscription string
}

// Compare orders names by principal, name and subscription.
func (c CursorName) Compare(d CursorName) int {
	return cmp.Or(cmp.Compare(c.Principal, d.Principal), cmp.Compare(c.Name, d.Name), cmp.Compare(c.Subscription, d.Subscription))
}

// A SavedCursor is a cursor with its position.
type SavedCursor struct {
	CursorName
	Position Position
	Saved    time.Time // the last commit or reset
}

// A CursorRequest is a reader's request to claim a cursor.
type CursorRequest struct {
	// Attempt grows with each connection of the reader. Zero means that attempts are not
	// counted, and the newest connection wins.
	Attempt uint64

	// From is the position at which a new cursor begins.
	From Position
}

// A CursorClaim is the exclusive right to commit a cursor.
type CursorClaim struct {
	// Epoch is the argument of Commit. No other claim ever has it.
	Epoch uint64

	// Position is the cursor's position.
	Position Position

	// New says that the cursor did not exist.
	New bool

	// Fenced ends when the claim is lost: see [Claim].
	Fenced context.Context //nolint:containedctx // the claim's life
}
