package nats

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"

	"github.com/dictwire/dictwire/store"
)

// A layout makes the subjects of a store, which all begin with its prefix:
//
//	P.b.<topic>.$.<pid>   blocks of a producer, and its states
//	P.b.<topic>.$.0       blocks without a producer
//	P.r.<pid>             the rejections of a producer
//	P.k.<principal>.<pid> a producer that was claimed, by the hash of its principal
//	P.t.<topic>           a topic, by its hash, and how far it is trimmed
//	P.c.<cursor>          a cursor, by its hash
//	P.f.<front>           a server, for as long as it is alive
//	P.i                   the progress of a copy from another store
//	P.m                   barriers
//	P.s                   the store's tag, the first message
type layout struct{ prefix string }

const nobody = "0" // stands in for the producer of blocks that have none

func (l layout) all() string                    { return l.prefix + ".>" }
func (l layout) block(topic, pid string) string { return l.prefix + ".b." + topic + ".$." + pid }
func (l layout) rejections(pid string) string   { return l.prefix + ".r." + pid }
func (l layout) topic(name string) string       { return l.prefix + ".t." + hashOf("topic", name) }
func (l layout) cursor(id string) string        { return l.prefix + ".c." + id }
func (l layout) cursors() string                { return l.prefix + ".c.*" }
func (l layout) front(id string) string         { return l.prefix + ".f." + id }
func (l layout) imported() string               { return l.prefix + ".i" }
func (l layout) barrier() string                { return l.prefix + ".m" }
func (l layout) root() string                   { return l.prefix + ".s" }
func (l layout) knownOf(hash string) string     { return l.prefix + ".k." + hash + ".*" }

func (l layout) known(p store.Producer) string {
	return l.prefix + ".k." + l.knownID(p)
}

func (l layout) knownID(p store.Producer) string {
	return hashOf("principal", p.Principal) + "." + producerID(p)
}

// home returns the subject whose last message carries the producer's state.
func (l layout) home(p store.Producer) string { return l.block(p.Topic, producerID(p)) }

// blocks returns subjects that cover the blocks of topics that match a pattern. They may
// match others as well.
func (l layout) blocks(pattern string) string {
	switch below, ok := strings.CutSuffix(pattern, "*"); {
	case pattern == "" || pattern == "*":
		return l.prefix + ".b.>"
	case ok:
		return l.prefix + ".b." + below + ">"
	default:
		return l.block(pattern, "*")
	}
}

// parse splits the subject of a block or a state.
func (l layout) parse(subject string) (topic, pid string, ok bool) {
	rest, ok := strings.CutPrefix(subject, l.prefix+".b.")
	i := strings.LastIndex(rest, ".$.")
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+3:], true
}

// of returns the rest of a subject of some kind, such as "t" for topics.
func (l layout) of(kind, subject string) (rest string, ok bool) {
	return strings.CutPrefix(subject, l.prefix+"."+kind+".")
}

// hashOf returns a collision-resistant hash of strings, as 26 letters and digits.
func hashOf(kind string, names ...string) string {
	h := sha256.New()
	for _, s := range append([]string{kind}, names...) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16]))
}

func producerID(p store.Producer) string { return hashOf("producer", p.Principal, p.Topic, p.Name) }

func cursorID(c store.CursorName) string {
	return hashOf("cursor", c.Principal, c.Name, c.Subscription)
}
