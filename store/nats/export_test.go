package nats

import "context"

// CatchUp waits until the store has processed everything that was stored when it was
// called.
func (s *Store) CatchUp(ctx context.Context) error { return s.upToDate(ctx) }
