// Package ledger keeps in a store what one who sends its records on must not
// forget: under which name, how often it has connected, and notes about topics.
//
// All of it lies in one topic, whose name begins with "_", and is of a principal
// of that name, which nobody else can be. The name is the note of a producer, and
// so is each note (name: the note's kind; topic: the one it is about): notes
// outlive the records that brought them. Attempts are the epochs of claims, which
// a store never uses again.
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

// MaxPrefix is the length of the beginning of a name, in bytes.
const MaxPrefix = 32

const (
	name    = "ledger"                   // of the producer whose note is the name
	forever = 200 * 365 * 24 * time.Hour // none of them is forgotten
	keep    = 1024                       // notes whose records are kept, roughly
)

// A Ledger is what is kept in one topic of a store. Any number of goroutines may
// use it at once, one for each note.
type Ledger struct {
	store store.Store
	topic string
	now   func() time.Time
	name  string

	mu     sync.Mutex
	claims map[store.Producer]store.Claim // guarded by mu
	saved  int                            // guarded by mu: notes since the topic was trimmed
}

// Open opens the ledger in a topic. Where there is none, its name begins with
// prefix, behind which random letters and digits make it its own.
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

// CheckPrefix returns an error that says why a name can't begin so.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > MaxPrefix {
		return fmt.Errorf("a name of %d bytes, want at most %d", len(prefix), MaxPrefix)
	}
	return store.Producer{Topic: "_", Name: prefix}.Check()
}

// Claim claims a producer that is never to be forgotten.
func Claim(ctx context.Context, s store.Store, p store.Producer) (store.Claim, error) {
	return s.Claim(ctx, p, store.ClaimRequest{Expire: forever})
}

func (l *Ledger) self() store.Producer {
	return store.Producer{Principal: l.topic, Topic: l.topic, Name: name}
}

// note returns the producer whose note is one of a kind about a topic.
func (l *Ledger) note(kind, topic string) store.Producer {
	return store.Producer{Principal: l.topic, Topic: topic, Name: kind}
}

func (l *Ledger) block() *store.Block {
	b := &store.Block{Topic: l.topic, Codec: "json", Received: l.now()}
	b.Add([]byte("{}"))
	return b
}

// Name returns the name, which is that of a producer.
func (l *Ledger) Name() string { return l.name }

// Attempt returns a number above all that it returned before, durably.
func (l *Ledger) Attempt(ctx context.Context) (uint64, error) {
	claim, err := Claim(ctx, l.store, l.self())
	return claim.Epoch, err
}

// Note returns the note of a kind about a topic, or nil.
func (l *Ledger) Note(ctx context.Context, kind, topic string) ([]byte, error) {
	claim, err := l.claim(ctx, l.note(kind, topic))
	return claim.Note, err
}

// claim returns the claim that the next note is saved with.
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

// A Note is to be saved.
type Note struct {
	Kind, Topic string // the kind is not "ledger"
	Text        []byte // at most store.MaxNote bytes

	// Block is stored with the note, both or none: its producer becomes that of
	// the note. Nil means a record without content.
	Block *store.Block
}

// Save makes notes durable, each or none where it fails: that it returns nil says
// that all are.
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
			delete(l.claims, b.Producer) // another claim tells
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
