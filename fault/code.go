package fault

// A Code names a kind of fault on the wire. The list is closed. It is an error, so that
// errors.Is(err, fault.Fenced) finds it in an [Error].
type Code string

func (c Code) Error() string { return string(c) }

// The codes that a record itself can earn.
const (
	Malformed      Code = "malformed"        // not the format's syntax
	Truncated      Code = "truncated"        // the sequence ended within the record
	NotADictionary Code = "not_a_dictionary" // well-formed, but a list or a scalar
	DuplicateKey   Code = "duplicate_key"    // two keys of one dictionary are equal
	TooLarge       Code = "too_large"        // more bytes than Limits.RecordBytes
	TooDeep        Code = "too_deep"         // more levels than Limits.Depth
	OverLimit      Code = "limit"            // more than Limits.Items or Limits.Digits allow, or another limit
	UnsafePickle   Code = "unsafe_pickle"    // a pickle that is more than data
	Handler        Code = "handler"          // the handler rejected the record
	Schema         Code = "schema"           // the record does not fit the topic's schema
	Loss           Code = "loss"             // the format can't hold a value
)

// The codes of faults that are not a record's own.
const (
	Internal        Code = "internal"        // the server failed
	Unavailable     Code = "unavailable"     // the server can't take or give records for now
	Unsupported     Code = "unsupported"     // the protocol, or a part of it, is not served
	Version         Code = "version"         // the version of the protocol is not served
	Topic           Code = "topic"           // invalid topic name
	Idle            Code = "idle"            // nothing came for too long
	Rate            Code = "rate"            // a record came too slowly
	Shutdown        Code = "shutdown"        // the server is shutting down
	Fenced          Code = "fenced"          // another connection took over the producer or the cursor
	Stale           Code = "stale"           // a later attempt has the producer or the cursor
	Conflict        Code = "conflict"        // two logs use the name of one producer
	Lost            Code = "lost"            // the store has less than it promised
	Unauthenticated Code = "unauthenticated" // the token is missing or unknown
	Forbidden       Code = "forbidden"       // the principal has no right to do that
	Plaintext       Code = "plaintext"       // the endpoint wants TLS
)

// Retryable reports whether the fault says nothing against a record, so that it
// may be sent again.
func (c Code) Retryable() bool {
	switch c {
	case Idle, Internal, Rate, Shutdown, Unavailable:
		return true
	case Truncated: // the network kept the rest
		return true
	default:
		return false
	}
}
