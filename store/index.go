package store

import (
	"context"
	"fmt"
)

// CheckIndex returns an error that wraps ErrPosition if a position lies beyond the end of
// its block: a reader that went on there would skip records of the block. The end itself
// is valid. A block that can't be read is not checked.
func CheckIndex(ctx context.Context, l Log, p Position) error {
	if p.Index == 0 {
		return nil
	}
	for b, err := range l.Read(ctx, Position{Tag: p.Tag, Block: p.Block}, ReadOptions{}) {
		if err != nil || b.Block == nil || b.At.Block != p.Block {
			break
		}
		if n := len(b.Block.Lengths); int64(p.Index) > int64(n) {
			return fmt.Errorf("%w: %v is after the end of its block of %d", ErrPosition, p, n)
		}
		break
	}
	return nil
}
