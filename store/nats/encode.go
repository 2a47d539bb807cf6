package nats

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dictwire/dictwire/store"
)

// headerRoom is how many bytes of a message its headers take at most: a mark with a
// note, the headers of batches and checks, and what the client adds.
const headerRoom = 4 << 10

// costOf is about how many bytes of memory a block takes when it is decoded.
func costOf(b *store.Block) int {
	const rest = 512
	n := rest + len(b.Data) + 4*len(b.Lengths) + 8*len(b.Times)
	for _, r := range b.Rejected {
		n += 64 + len(r.Text) + len(r.Reason)
	}
	return n
}

// encodeBlock appends the messages of a block to messages: its layout, cut into parts
// of at most so many bytes. The mark of the last one tells the state, if there is one.
func encodeBlock(messages []message, subject string, b *store.Block, st *state, part int, lately *store.Shrinkage) []message {
	data := b.AppendEncoded(nil, lately)
	parts := max((len(data)+part-1)/part, 1)
	for range parts - 1 {
		messages = append(messages, message{subject: subject, mark: mark{kind: kindPart}.String(), data: data[:part]})
		data = data[part:]
	}
	m := mark{
		kind: kindBlock, parts: parts, records: uint32(len(b.Lengths)), bytes: uint32(len(b.Data)), cost: uint32(costOf(b)), state: st,
	}
	return append(messages, message{subject: subject, mark: m.String(), data: data})
}

// encode makes the messages of blocks of one producer, after which it stands at next:
// the blocks, their rejections, and its state in the last message on its own topic. It
// returns at which message that is, and the first message of each block.
func (l layout) encode(blocks []*store.Block, next state, part int, lately func(topic string) *store.Shrinkage) (messages []message, at int, begins []int) {
	p := blocks[0].Producer
	pid := producerID(p)
	last := -1 // the last block on the producer's own topic
	var rejected []store.Rejection
	for i, b := range blocks {
		if b.Topic == p.Topic {
			last = i
		}
		rejected = append(rejected, b.Rejected...)
	}
	for i, b := range blocks {
		begins = append(begins, len(messages))
		var st *state
		if i == last {
			st = &next
		}
		messages = encodeBlock(messages, l.block(b.Topic, pid), b, st, part, lately(b.Topic))
		if i == last {
			at = len(messages) - 1
		}
	}
	for _, data := range encodeRejections(rejected, part) {
		messages = append(messages, message{subject: l.rejections(pid), data: data})
	}
	if last < 0 {
		at = len(messages)
		messages = append(messages, message{subject: l.block(p.Topic, pid), mark: mark{kind: kindState, state: &next}.String()})
	}
	return messages, at, begins
}

// encodeRejections returns rejections as bytes, in pieces that are not longer than size.
func encodeRejections(all []store.Rejection, size int) (pieces [][]byte) {
	var data []byte
	for _, r := range all {
		begin := len(data)
		data = binary.AppendUvarint(data, r.Number)
		for _, s := range []string{r.Code, r.Reason, r.Text} {
			data = append(binary.AppendUvarint(data, uint64(len(s))), s...)
		}
		if len(data) > size && begin > 0 {
			pieces = append(pieces, data[:begin:begin])
			data = append([]byte(nil), data[begin:]...)
		}
	}
	if len(data) > 0 {
		pieces = append(pieces, data)
	}
	return pieces
}

var errRejections = errors.New("damaged rejections")

// decodeRejections is the inverse of encodeRejections, of one piece.
func decodeRejections(data []byte) (all []store.Rejection, err error) {
	for len(data) > 0 {
		var r store.Rejection
		var n int
		if r.Number, n = binary.Uvarint(data); n <= 0 {
			return nil, errRejections
		}
		data = data[n:]
		for _, s := range []*string{&r.Code, &r.Reason, &r.Text} {
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return nil, errRejections
			}
			*s = string(data[n : n+int(size)])
			data = data[n+int(size):]
		}
		all = append(all, r)
	}
	return all, nil
}

// maxBatch is how many messages there are at most in one batch of ours. The broker
// takes 1,000.
const maxBatch = 900

// errLarge is what an append is answered that is too large for a batch.
func errLarge(messages int) error {
	return fmt.Errorf("nats: an append of %d messages, want at most %d", messages, maxBatch)
}
