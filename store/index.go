package store

import (
	"context"
	"fmt"
)

// CheckIndex returns an error, which wraps ErrPosition, where a position lies after
// the end of its block: whoever went on there would miss the block's records. The
// end itself is a position. What can't be read is not looked at.
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
