// Package disk is a spool in a directory: it keeps a client's records until the
// server has settled them. A program may send while the server is away, end, be
// killed or lose power, and what it sent arrives once, in order.
//
//	s, err := disk.Open(ctx, "/var/lib/till/spool", nil)
//	…
//	defer s.Close()
//
//	n, err := s.Append(ctx, "orders", "json", []byte(`{"id":1}`)) // durable as record n
//	…
//	for b, err := range s.Read(ctx, "orders", 1) { // and sent from here
//		…
//	}
//	err = s.Settle(ctx, "orders", n, sum) // when the server has acknowledged it
//
// A [dictwire.Client] does the last two by itself.
//
// # Guarantees
//
//   - A record whose Append returned without an error is on disk under its number
//     before anybody can read it, and stays until it is settled. Numbers of a
//     topic begin with 1, follow each other, and are never used again: not after
//     all was settled and the spool was opened anew.
//   - The records of one Append are kept together or not at all. After an error
//     that wraps store.ErrUnavailable it is not known which.
//   - Unsettled records are never dropped. A spool has limits of bytes and age, and a
//     reserve of free disk space; at any of them it is full, and Append waits or
//     returns an error: see [Options] and [Stats].
//   - Appends that come at the same time share a sync.
//   - One process owns the directory. A second one gets store.ErrLocked.
//
// Settle becomes durable up to a second later. A spool that is opened after a loss of
// power may know a lower settled number than it was given, never a higher one; the
// server's answer to the next greeting corrects it, and nothing is stored twice.
//
// # When a directory is lost, copied or put back
//
// The spool's name and its attempts lie in the directory, and the server knows
// both, with the number and the sum of the last record:
//
//   - The directory is lost: the new one has another name. What it had not sent is
//     gone with it; nothing is stored twice.
//   - An old copy is put back: its attempts are lower than those that the server has
//     seen, and the server refuses it as stale. If it was opened often enough to pass
//     them, the server has higher numbers, or another record under its last number:
//     the client stops with a conflict.
//   - Two copies are in use: one fences the other, which stops; or a conflict, as
//     above.
//   - The server is restored from a backup, or replaced: lost. Where the client
//     accepts that, all that is still here is sent again.
//
// With store.OS, a loss of power loses what the operating system had not written.
// Numbers may then be used again. If some of them had been sent, the server finds
// another checksum: a conflict.
//
// # Limits
//
// A record has at most 1 GiB, and no more than the spool may hold; a topic is one
// that [store.CheckTopic] accepts and does not begin with "_". A block of records
// that can't be read any more (its checksum tells) ends every Read that comes to
// it with a *spool.GapError. What is before it is sent; then the client
// stops with spool.ErrDamaged or, if it accepts losses, continues after them.
// The server forgets a producer that it has not seen for 90 days: a spool
// that had records settled before, and comes later than that, gets lost.
//
// # On disk
//
// The directory is one of store/log, which the command line can look into.
//
//	topic    producer                             records
//	T        topic T, name N                      T's, by number
//	_spool   topic _spool, name "ledger"          one; its note is the name N
//	_spool   principal "settled", topic T,        one each time; the note is the
//	         name "ledger"                        number that is settled, and its sum
//
// Notes outlive the records that brought them, which are trimmed. Attempts are
// epochs of claims, which a store never uses again.
package disk
