// Package nats is a store on a stream of a NATS JetStream broker. Any number of servers
// may share it.
//
//	s, err := nats.Open(ctx, "nats://a:4222,b:4222,c:4222", nil)
//
// Append returns once a majority of the stream's replicas has the block: see
// [Options.Synced] for what that survives. The broker is nats-server 2.14.4 or newer, with JetStream.
//
// # Subjects
//
// P is the prefix. pid is a hash of a producer's principal, topic and name, or 0 for
// blocks without a producer.
//
//	P.b.<topic>.$.<pid>      blocks of a producer, and its states
//	P.r.<pid>                why its records were rejected
//	P.k.<principal>.<pid>    whether it is known, to count and list it
//	P.t.<topic>              a topic, by its hash, and how far it is trimmed
//	P.c.<cursor>             a cursor, by its hash
//	P.f.<server>             a server, for as long as it is alive
//	P.i                      the progress of a copy from another store
//	P.m                      barriers
//	P.s                      the tag with which positions begin, the first message
//
// A position is a sequence of the stream. A block is one message with the layout of
// package store, or a batch of several if it is larger than max_payload.
//
// # Producers
//
// The last message on a producer's subject of its own topic carries its state, in a
// header:
//
//	Dictwire: b <parts> <records> <bytes> <memory> <state>    a block
//	Dictwire: b <parts> <records> <bytes> <memory>            a block that is not the last of an append
//	Dictwire: p                                               a part of a block, before the last
//	Dictwire: s <state>                                       a state without a block
//
//	<state>   <epoch> <attempt> <next> <given up> <seen> <expire> <claim> <rejections> <note>
//
// A claim is a state whose epoch is its own sequence, written as 0. Claims, appends and
// copies of states are published on condition that this message is still the last one, so
// that nothing sent before a claim is stored after it. If a publication is not
// acknowledged, it is sent again unchanged; the state shows whether it had been stored
// already. Before a client is refused for good, a barrier stored under the same condition
// confirms the state. A state without a block is deleted once a later state has replaced it.
// Rejections before a producer's window are deleted after some thousands of its numbers.
//
// All times are the broker's: a server measures how far its own clock is off. The tests
// run this protocol against a broker that misbehaves, and break the protocol in several
// ways to see that they notice.
package nats
