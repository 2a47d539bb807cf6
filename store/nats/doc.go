// Package nats is a store on a stream of a NATS JetStream broker, which any number of
// servers have at once.
//
//	s, err := nats.Open(ctx, "nats://a:4222,b:4222,c:4222", nil)
//
// What Append has answered for is on most of the stream's replicas: see [Options.Synced]
// for what that survives. The broker is nats-server 2.14.4 or newer, with JetStream.
//
// # Subjects
//
// P is the prefix; pid stands for a producer's principal, topic and name, by a hash, and
// is 0 for nobody.
//
//	P.b.<topic>.$.<pid>      blocks of a producer, and its states
//	P.r.<pid>                why its records were rejected
//	P.k.<principal>.<pid>    that it is known, to count and list it
//	P.t.<topic>              a topic, by its hash, and how far it was trimmed
//	P.c.<cursor>             a cursor, by its hash
//	P.f.<server>             a server, as long as it is there
//	P.i                      how far a copy of another store is
//	P.m                      barriers
//	P.s                      the tag by which positions begin, the first message
//
// A position is a sequence of the stream. A block is a message with the layout of
// package store, or several, stored together, where it is larger than the broker takes.
//
// # Producers
//
// The last message of a producer's own topic says where it stands, in its header:
//
//	Dictwire: b <parts> <records> <bytes> <memory> <state>    a block
//	Dictwire: b <parts> <records> <bytes> <memory>            one with another after it
//	Dictwire: p                                               a part of a block
//	Dictwire: s <state>                                       a state alone
//
//	<state>   <epoch> <attempt> <next> <given up> <seen> <expire> <claim> <rejections> <note>
//
// A claim is a state whose epoch is its own sequence, written as 0. Claims, appends and
// copies of states are stored under the condition that this message is still the last,
// so that nothing that was sent before a claim is stored after it. What is not
// acknowledged is sent again as it is, and found by the state where it had been stored.
// An error that stops a client is answered when a barrier was stored under the same
// condition. A state alone is deleted when a claim has taken its place.
//
// All times are those of the broker: a server measures by how much its own clock differs.
// Tests run this protocol against a broker that misbehaves in all ways that
// were thought of, and break it in each.
package nats
