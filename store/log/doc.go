// Package log is a store on disk, in a directory that one process owns: a log that
// is only appended to, and what follows from it.
//
//	s, err := log.Open(ctx, dir, nil)
//	…
//	defer s.Close()
//
// # Guarantees
//
//   - An append is one frame of the log, synced before Append returns: its blocks,
//     their places in the order, the numbers of its producers and their rejections
//     are there together or not at all. Appends that come at the same time share a
//     sync, which one of their callers leads.
//   - What was acknowledged is there, or its loss is told: damage below the place
//     that anything says was synced is damage, however it looks like the end of
//     the log. Not promised: the loss of power together with damage to what was
//     written last before it.
//   - No position is given twice. Where the log was not closed, positions go on 2^32
//     higher.
//   - Nothing is deleted unasked but what lies in _rejected for 7 days or beyond
//     256 MiB, and producers whose time is over.
//   - What is trimmed gives its space back: the files take at most 1.3 times what
//     is retained and four segments. A segment goes when all in it is trimmed, and
//     is rewritten when much of it is; what can't be read is never dropped.
//   - When less than Options.Reserve is free on the disk, appends are refused and
//     reads go on. What the process notes for itself, in topics that begin with "_",
//     is taken always. Where the disk is full, there is room of its own to trim, to
//     free and to rewrite segments, if the file system can set room aside.
//   - After a sync or a write that failed, nothing is acknowledged any more, and
//     Options.Fatal is told: the process should end and start anew.
//
// It assumes that to overwrite a part of a sector leaves its rest intact.
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
// Only the segments count. An index that is missing or not valid is made anew, and
// so are the states: all that they hold follows from the frames.
//
// # A segment
//
// A segment is a header, frames, and space that was allocated ahead. The header is
// JSON: number, generation, a salt, which segments have frames, what its predecessor's
// header says, and more (see header). The frames begin at a multiple of 4096. The magic
// has the format's version, and the sum is of magic and JSON: see checkVersions.
//
//	┌────────┬─────────┬──────────┬──────────┬────────────┬────────┬────────┬────────┬────────┬───
//	│ magic  │ size    │ CRC-32C  │ header   │ zeros      │ frame  │ frame  │ frame  │ zeros …
//	│16 bytes│ 4 bytes │ 4 bytes  │ JSON     │ up to 4096n│        │        │        │
//	└────────┴─────────┴──────────┴──────────┴────────────┴────────┴────────┴────────┴────────┴───
//
// # A frame
//
// Numbers are little endian, those without a width unsigned varints. A frame takes
// a multiple of 8 bytes.
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
// A block whose body is damaged so still names its topic, producer and numbers.
//
// # Rewriting
//
// What is left of segments that follow each other is copied into one file, with a new
// revision and a salt of its own. Its frames are those of the old files, with their
// numbers and positions; a block that was trimmed leaves its place in its frame, a part
// that can't be read leaves a frame that says so. They stand one after the other, and
// the header says where the last one ends. Once the file is durable and was read, a frame of the
// log says that it counts, and the old files go: see rewriting and recovery.rewritten.
//
// # Opening
//
// An opening never appends to an old segment. It makes one of its own, and writes the
// frames anew into it of which nothing says that they were synced: the page cache may
// show what the disk lacks. The new segment's header says how many there are, so that
// an opening that a crash ended is told from one that was finished: see recovery.choose.
// Before a segment gets its first frame, the header of its successor is durable.
//
// A frame that is not valid is damage where it, or any after it, is known to be synced:
// by a later frame, a header, the slots or the states. Else it is the end of the log.
//
// # States
//
// What a frame changes is in memory after its sync. From time to time a checkpoint
// writes it into the engine, with the number of the last frame that counts; an opening
// reads the frames after that: a checkpoint marks its place in the active segment, see
// mark. Before a segment goes, what all states are is written
// into the log anew, each with the number of the frame that set it, so that the
// segments that are left still say all. The same goes for a segment that is rewritten:
// blocks alone are copied.
package log
