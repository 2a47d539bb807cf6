package nats

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dictwire/dictwire/store"
)

// headerRoom is the most bytes of a message that its headers take: a mark with a note, the
// headers of batches and checks, and those that the client adds.
const headerRoom = 4 << 10

// costOf estimates how many bytes of memory a decoded block takes.
func costOf(b *store.Block) int {
	const rest = 512
	n := rest + len(b.Data) + 4*len(b.Lengths) + 8*len(b.Times)
	for _, r := range b.Rejected {
		n += 64 + len(r.Text) + len(r.Reason)
	}
	return n
}

// encodeBlock appends the messages of a block to messages: the encoded block, cut into
// parts of at most part bytes. The mark of the last message carries the state st, if it is
// not nil.
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

// encode makes the messages of one producer's blocks: the blocks, their rejections, and the
// producer's next state, which is in the last message on its own topic. It returns the
// index of that message, and the index of each block's first message.
func (l layout) encode(blocks []*store.Block, next state, part int, lately func(topic string) *store.Shrinkage) (messages []message, at int, begins []int) {
	p := blocks[0].Producer
	pid := producerID(p)
	last := -1 // index of the last block on the producer's own topic
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

// encodeRejections encodes rejections in pieces of at most size bytes.
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

// decodeRejections decodes one piece of encodeRejections.
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

// maxBatch is the most messages that a batch of ours has. The broker allows 1,000.
const maxBatch = 900

// errLarge is the error of an append that does not fit in a batch.
func errLarge(messages int) error {
	return fmt.Errorf("nats: an append of %d messages: want at most %d", messages, maxBatch)
}
