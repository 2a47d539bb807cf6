package store

// Limits say what a store can do. They may change while it is open, and differ
// between the servers of one store.
type Limits struct {
	// Durability is what an append survives.
	Durability Durability

	// BlockBytes is how long the records of a block may be together, from 128 KiB
	// to MaxBlockBytes.
	BlockBytes int

	// RejectedBytes is how long the records of the topic Rejected are together before
	// the oldest are trimmed; zero where no length is.
	RejectedBytes uint64
}

// A Durability says what an append survives.
type Durability string

// The promises of a store, as they are told to clients.
const (
	Memory          Durability = "memory"           // nothing
	OS              Durability = "os"               // the end of the process
	Fsync           Durability = "fsync"            // the loss of power
	Replicated      Durability = "replicated"       // the loss of a machine
	ReplicatedFsync Durability = "replicated+fsync" // that, and the loss of power of all machines
)
