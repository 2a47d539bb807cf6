package store

import "fmt"

// PeekHead is DecodeHead of a layout whose rest may be missing or damaged: it
// compares no checksum. It returns how many bytes it has read. A driver that sums
// them itself, and knows that they are whole, needs no more to know whose the
// records are.
func (b *Block) PeekHead(src []byte) (n int, err error) {
	if len(src) < 2 {
		return 0, errShort
	}
	if src[0] != layoutVersion {
		return 0, fmt.Errorf("layout version %d, want %d", src[0], layoutVersion)
	}
	r, _, err := b.head(src)
	return len(src) - len(r.rest), err
}
