package store

import "fmt"

// PeekHead is DecodeHead for a layout whose rest may be missing or damaged: it verifies
// no checksum. It returns the length of the head. Drivers that verify the bytes
// themselves use it to learn whose the records are.
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
