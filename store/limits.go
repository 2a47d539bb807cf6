package store

// Limits are the abilities of a store. They may change while it is open, and differ
// between the servers of one store.
type Limits struct {
	// Durability is what an append survives.
	Durability Durability

	// BlockBytes is the most bytes of records in a block, from 128 KiB to MaxBlockBytes.
	BlockBytes int

	// RejectedBytes is the total length of records in the topic Rejected at which the
	// oldest are trimmed. Zero means that there is no such limit.
	RejectedBytes uint64
}

// A Durability says what an append survives.
type Durability string

// The durabilities, by the names that clients are told.
const (
	Memory          Durability = "memory"           // survives nothing
	OS              Durability = "os"               // survives the end of the process
	Fsync           Durability = "fsync"            // survives the loss of power
	Replicated      Durability = "replicated"       // survives the loss of a machine
	ReplicatedFsync Durability = "replicated+fsync" // survives that, and the loss of power of all machines
)
