// Package store is the seam between the server and its storage: records, durable, in one
// order, each stored once. The drivers are packages below this one. Package storetest is
// the contract that all of them pass.
//
//	s, err := log.Open(ctx, dir, nil)
//	…
//	p := store.Producer{Principal: "till", Topic: "orders", Name: "till-7.k2x9"}
//	claim, err := s.Claim(ctx, p, store.ClaimRequest{})
//	…
//	b := &store.Block{Topic: "orders", Codec: "json", Producer: p, Epoch: claim.Epoch, First: claim.Next}
//	b.Add([]byte(`{"id":1}`))
//	result := s.Append(ctx, b)[0] // durable where result.Err is nil
//
//	for batch, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Follow: true}) {
//		…
//	}
//
// # Guarantees
//
//   - A block whose [Result] has no error survives whatever [Limits] promises.
//   - A number of a producer is stored at most once, however often and by whomever it is sent.
//   - Blocks of one producer in one append are stored together or not at all.
//   - All readers see the same order, in which the records of each producer are in the order
//     of their numbers. Positions are never reused.
//   - Every read verifies a checksum. Damage is reported with its place.
//
// # The layout of a block
//
// Drivers store a block as these bytes. Numbers without a width are unsigned
// varints; a string is its length, a varint, and its bytes.
//
//	┌─────────┬───────┬───────┬───────┬──────────┬───────────┬────────┐
//	│ version │ flags │ codec │ topic │ received │ principal │ peer   │
//	│ 1 byte  │1 byte │string │string │ 8 bytes  │ string    │ string │
//	├─────────┴┬──────┴┬──────┴──┬────┴───┬──────┴───┬───────┴─┬──────┴──┐
//	│ producer │ count │ times   │rejected│ lengths  │ records │ CRC-32C │
//	│ optional │       │ optional│optional│          │         │ 4 bytes │
//	└──────────┴───────┴─────────┴────────┴──────────┴─────────┴─────────┘
//	producer:
//	┌────────┬────────┬───────┬───────┬────────┐
//	│ topic  │ name   │ epoch │ first │ note   │
//	│ string │ string │       │       │ string │
//	└────────┴────────┴───────┴───────┴────────┘
//
//	version   2
//	flags     1: records are compressed; 2: there is a producer; 4: all records
//	          have one length; 8: there are times; 16: there are rejections, of
//	          records with numbers; 32: some record may be beyond RFC 8259
//	received  nanoseconds since 1970, signed, little endian; the smallest number
//	          where it is not known
//	topic     of the producer: empty where it is the block's
//	times     count signed varints (zigzag): nanoseconds since 1970, each as the
//	          difference to the one before, modulo 2^64; the first to zero
//	rejected  runs of a number of records, a code and a text, until there are
//	          count
//	lengths   count numbers, or one
//	records   one after the other; or an S2 block (without a frame) of that
//	CRC-32C   of everything before it (polynomial 0x1EDC6F41), little endian
//
// Every version that was ever released stays readable.
package store
