// Package log is a store on disk, in a directory that one process owns: an append-only
// log, and what is derived from it.
//
//	s, err := log.Open(ctx, dir, nil)
//	…
//	defer s.Close()
//
// # Guarantees
//
//   - An append is one frame of the log, which is synced before Append returns. Its blocks,
//     their order, their producers' numbers and their rejections are stored together or not
//     at all. Concurrent appends share a sync, which one of the callers performs.
//   - What was acknowledged can be read, or its loss is reported: damage before a place that
//     was synced, according to anything on the disk, is reported as damage even if it looks
//     like the end of the log. The exception is a loss of power together with damage to what
//     was written last before it.
//   - No position is used twice. If the log was not closed, positions jump ahead by 2^32.
//   - Nothing is deleted unasked, except records in _rejected after 7 days or beyond 256 MiB,
//     and expired producers.
//   - Trimming frees disk space: the files take at most 1.3 times the size of what is retained,
//     and four segments. A segment is removed when everything in it is trimmed, and rewritten
//     when much of it is. What can't be read is never dropped.
//   - When less than Options.Reserve is free on the disk, appends are refused and reads go on.
//     The process's own notes, in topics that begin with "_", are always accepted. If the file
//     system can reserve space, segments can be trimmed, freed and rewritten on a full disk.
//   - After a failed write or sync, nothing more is acknowledged, and Options.Fatal is called:
//     the process should end and start again.
//
// It assumes that overwriting a part of a sector leaves the rest of it intact.
//
// # The files
//
//	log-0000000017.seg   a segment of the log
//	log-0000000017.idx   its index, once it is sealed: a function of it
//	log-0000000009-2.seg a segment that was rewritten, perhaps with others
//	synced               what is synced, for a process that is killed: see slots
//	states/              producers, cursors and topics, in an engine for keys
//	backup               in a copy that was never opened
//	reserve              room for what gives space back, with no content
//
// Only the segments count. A missing or invalid index is rebuilt from its segment, and
// the states from the frames.
//
// # A segment
//
// A segment is a header, frames, and space allocated ahead. The header is JSON: the
// number, the generation, a salt, the list of segments with frames, the predecessor's
// header, and more (see header). Frames begin at a multiple of 4096. The magic includes
// the version of the format, and the checksum covers magic and JSON: see checkVersions.
//
//	┌────────┬─────────┬──────────┬──────────┬────────────┬────────┬────────┬────────┬────────┬───
//	│ magic  │ size    │ CRC-32C  │ header   │ zeros      │ frame  │ frame  │ frame  │ zeros …
//	│16 bytes│ 4 bytes │ 4 bytes  │ JSON     │ up to 4096n│        │        │        │
//	└────────┴─────────┴──────────┴──────────┴────────────┴────────┴────────┴────────┴────────┴───
//
// # A frame
//
// Numbers are little-endian; those without a width are unsigned varints. The length of a
// frame is a multiple of 8 bytes.
//
//	 0  length     4   of all of it
//	 4  sum        4   CRC-32C of the segment's number and salt, the frame's offset, the
//	                   header without sum, the table, and the heads of the blocks
//	 8  body       4   CRC-32C of the rests of the blocks
//	12  table      4   where it begins
//	16  sequence   8   without gaps, through all segments
//	24  position   8   of the first block
//	32  time       8   when the store took it, in nanoseconds since 1970
//	40  unsynced   4   so many frames before the next one were not known to be synced
//	44  padding    1   bytes after the table
//	48  items          blocks in their layout, changes of states, notes
//	    table          of each item: kind, size; of a block also the size of its head,
//	                   its records, and their bytes as they were received
//
// A block with a damaged body thus still tells its topic, producer and numbers.
//
// # Rewriting
//
// What is left of consecutive segments is copied into one file, with a new revision and a
// salt of its own. Its frames are those of the old files, with their numbers and
// positions. A trimmed block leaves a placeholder in its frame, and a part that can't be
// read becomes a frame that says so. The header says where the last frame ends. When the
// file is durable and has been verified, a frame of the log makes it count, and the old
// files are removed: see rewriting and recovery.rewritten.
//
// # Opening
//
// Opening a log never appends to an old segment. It starts a new one, and writes into it
// again those frames that nothing says were synced, since the page cache may show what is
// not on the disk. The header of the new segment says how many there are, which
// distinguishes an opening that was interrupted by a crash from a finished one: see
// recovery.choose. The header of a segment's successor is durable before the segment gets
// its first frame.
//
// An invalid frame is damage if it, or a later one, is known to have been synced: from a
// later frame, a header, the slots or the states. Otherwise it is the end of the log.
//
// # States
//
// What a frame changes is applied in memory after its sync. From time to time, a
// checkpoint writes the changes to the engine, with the number of the last frame
// included. Opening reads the frames after that one; to find it quickly, the checkpoint
// also stores its place in the active segment: see mark. Before a segment is removed, all
// states are written into the log again, each with the number of the frame that set it,
// so that the remaining segments still say everything. The same is done before a segment
// is rewritten, since only its blocks are copied.
//
// Rejections before a producer's window are removed from the engine, and no frame says
// so: which ones they are follows from the producer's next number. A frame that ends the
// life of a producer says that with one key for all its rejections, also those that are
// no longer known.
//
// In a copy of another store, each frame says how far the copy is with it, and has the
// time at which the other store took its blocks: see store.Importer.
package log
