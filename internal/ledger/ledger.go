// Package ledger keeps in a store what a sender must remember: its producer's name, its
// number of connections, and notes about topics.
//
// Everything is in one topic, whose name begins with "_", under a principal of the same
// name, which no peer can have. The name is stored as the note of a producer, and so is
// each note (the producer's name is the note's kind, its topic the note's subject): notes
// outlive the records that they came with. Attempts are epochs of claims, which a store
// never reuses.
package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// MaxPrefix is the longest prefix of a name, in bytes.
const MaxPrefix = 32

const (
	name    = "ledger"                   // the producer whose note is the name
	forever = 200 * 365 * 24 * time.Hour // so that no producer expires
	keep    = 1024                       // approximate number of notes whose records are kept
)

// A Ledger is the content of one topic of a store. Any number of goroutines may use it at
// once, one for each note.
type Ledger struct {
	store store.Store
	topic string
	now   func() time.Time
	name  string

	mu     sync.Mutex
	claims map[store.Producer]store.Claim // guarded by mu
	saved  int                            // notes since the last trim; guarded by mu
}

// Open opens the ledger in a topic. A new ledger gets a name that is prefix followed by
// random letters and digits.
func Open(ctx context.Context, s store.Store, topic, prefix string, now func() time.Time) (*Ledger, error) {
	if err := CheckPrefix(prefix); err != nil {
		return nil, err
	}
	l := &Ledger{store: s, topic: topic, now: now, claims: map[store.Producer]store.Claim{}}
	claim, err := Claim(ctx, s, l.self())
	if err != nil {
		return nil, err
	}
	l.name = string(claim.Note)
	if l.name != "" {
		return l, nil
	}
	l.name = strings.ToLower(rand.Text())
	if prefix != "" {
		l.name = prefix + "." + l.name
	}
	b := l.block()
	b.Principal, b.Producer, b.Epoch, b.First, b.Note = l.topic, l.self(), claim.Epoch, claim.Next, []byte(l.name)
	return l, s.Append(ctx, b)[0].Err
}

// CheckPrefix returns an error that says why a prefix is invalid.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > MaxPrefix {
		return fmt.Errorf("a name of %d bytes, want at most %d", len(prefix), MaxPrefix)
	}
	return store.Producer{Topic: "_", Name: prefix}.Check()
}

// Claim claims a producer that never expires.
func Claim(ctx context.Context, s store.Store, p store.Producer) (store.Claim, error) {
	return s.Claim(ctx, p, store.ClaimRequest{Expire: forever})
}

func (l *Ledger) self() store.Producer {
	return store.Producer{Principal: l.topic, Topic: l.topic, Name: name}
}

// note returns the producer that stores a note of a kind about a topic.
func (l *Ledger) note(kind, topic string) store.Producer {
	return store.Producer{Principal: l.topic, Topic: topic, Name: kind}
}

func (l *Ledger) block() *store.Block {
	b := &store.Block{Topic: l.topic, Codec: "json", Received: l.now()}
	b.Add([]byte("{}"))
	return b
}

// Name returns the producer's name.
func (l *Ledger) Name() string { return l.name }

// Attempt returns a number higher than all that it returned before, durably.
func (l *Ledger) Attempt(ctx context.Context) (uint64, error) {
	claim, err := Claim(ctx, l.store, l.self())
	return claim.Epoch, err
}

// Note returns the note of a kind about a topic, or nil.
func (l *Ledger) Note(ctx context.Context, kind, topic string) ([]byte, error) {
	claim, err := l.claim(ctx, l.note(kind, topic))
	return claim.Note, err
}

// claim returns the claim with which the next note is saved.
func (l *Ledger) claim(ctx context.Context, p store.Producer) (store.Claim, error) {
	l.mu.Lock()
	claim, ok := l.claims[p]
	l.mu.Unlock()
	if ok {
		return claim, nil
	}
	claim, err := Claim(ctx, l.store, p)
	if err != nil {
		return claim, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims[p] = claim
	return claim, nil
}

// A Note is a note to be saved.
type Note struct {
	Kind, Topic string // Kind must not be "ledger"
	Text        []byte // at most store.MaxNote bytes

	// Block is stored together with the note. Save sets its producer. Nil means a record
	// without content.
	Block *store.Block
}

// Save makes notes durable, each of them or not at all. It returns nil if all of them
// are.
func (l *Ledger) Save(ctx context.Context, notes ...Note) error {
	blocks := make([]*store.Block, len(notes))
	for i, n := range notes {
		p := l.note(n.Kind, n.Topic)
		claim, err := l.claim(ctx, p)
		if err != nil {
			return err
		}
		b := n.Block
		if b == nil {
			b = l.block()
		}
		b.Principal, b.Producer, b.Epoch, b.First, b.Note = p.Principal, p, claim.Epoch, claim.Next, n.Text
		blocks[i] = b
	}
	var err error
	for _, r := range l.store.Append(ctx, blocks...) {
		if r.Err != nil {
			err = r.Err
		}
	}
	l.mu.Lock()
	for _, b := range blocks {
		claim := l.claims[b.Producer]
		claim.Next = b.First + uint64(len(b.Lengths))
		claim.Note = b.Note
		l.claims[b.Producer] = claim
		if err != nil {
			delete(l.claims, b.Producer) // claim again
		}
	}
	l.saved += len(blocks)
	trim := l.saved >= keep
	if trim {
		l.saved = 0
	}
	l.mu.Unlock()
	if err != nil || !trim {
		return err
	}
	head, err := l.store.Head(ctx)
	if err != nil {
		return err
	}
	return l.store.Trim(ctx, l.topic, head)
}
