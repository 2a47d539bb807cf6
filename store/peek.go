package store

import "fmt"

// HeadLen returns the length of a layout's head: see [Block.PeekHead].
func HeadLen(src []byte) (int, error) {
	if len(src) < 2 {
		return 0, errShort
	}
	r := reader{rest: src[2:]}
	r.bytes() // Codec
	r.bytes() // Topic
	r.fixed() // Received
	r.bytes() // Principal
	r.bytes() // Peer
	if src[1]&flagProducer != 0 {
		r.bytes()  // Topic of the producer
		r.bytes()  // Name
		r.number() // Epoch
		r.number() // First
		r.bytes()  // Note
	}
	if r.bad {
		return 0, errShort
	}
	return len(src) - len(r.rest), nil
}

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
