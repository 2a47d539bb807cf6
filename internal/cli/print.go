package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// printBytes is how much is written at once, unless one block is larger.
const printBytes = 64 << 10

// A printer is a reader of a store that prints all records of topics that don't begin
// with "_", from the head on. A slow output slows nobody down, except writers of a store
// in memory, of which the printer misses nothing.
type printer struct {
	s      store.Store
	w      io.Writer
	record *written
	looks  *dress // nil: records are written unchanged
	log    *slog.Logger

	failed chan struct{} // closed when printing has failed
	ended  chan struct{} // closed when run ends
	stop   context.CancelFunc

	// These belong to run, until it ends:
	at      store.Position // everything before it is pending or written
	pending []byte
	ends    []int // the end of each record in pending
	lost    int   // records that could not be written, since the output failed
	err     error // the failure
}

// newPrinter starts a printer, which must be closed.
func newPrinter(ctx context.Context, s store.Store, w io.Writer, record *written, looks *dress, log *slog.Logger) (*printer, error) {
	at, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	p := &printer{s: s, w: w, record: record, looks: looks, log: log, at: at, failed: make(chan struct{}), ended: make(chan struct{})}
	if looks != nil {
		p.w = looks.out.Raw()
	}
	p.hold()
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	go p.run(ctx)
	return p, nil
}

// run prints until ctx ends, and then whatever else is stored.
func (p *printer) run(ctx context.Context) {
	defer close(p.ended)
	for _, follow := range []bool{true, false} {
		if p.err = p.print(ctx, follow); p.err != nil {
			close(p.failed)
			return
		}
		ctx = context.WithoutCancel(ctx)
	}
}

// print prints the stored records and, with follow, new ones until ctx ends.
func (p *printer) print(ctx context.Context, follow bool) error {
	for b, err := range p.s.Read(ctx, p.at, store.ReadOptions{Topics: []string{"*"}, Follow: follow}) {
		var damage *store.DamageError
		var trim *store.TrimmedError
		switch {
		case errors.As(err, &damage), errors.As(err, &trim):
			p.log.Warn("records can't be printed any more", "error", err)
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case b.Block != nil:
			p.block(b)
		}
		p.at = b.Next
		if len(p.pending) < printBytes && b.Block != nil && !p.isHead(ctx) {
			continue // more is coming
		}
		if err := p.flush(); err != nil {
			return err
		}
		p.hold()
	}
	return p.flush()
}

// isHead reports whether everything stored has been printed.
func (p *printer) isHead(ctx context.Context) bool {
	head, err := p.s.Head(ctx)
	return err != nil || p.at.Compare(head) >= 0
}

// block prints the records of a batch.
func (p *printer) block(b store.ReadBatch) {
	for i, record := range b.Block.Records(b.At.Index) {
		line, err := p.record.record(b.Block.Codec, record)
		if err != nil {
			at := b.At
			at.Index = i
			attrs := []any{"at", at.String(), "topic", b.Block.Topic, "error", withoutHint(err)}
			if hint := hintOf(instead(err, "--print python")); hint != "" {
				attrs = append(attrs, "hint", hint)
			}
			p.log.Warn("a dictionary can't be printed", attrs...)
			continue
		}
		from := len(p.pending)
		p.pending = append(p.pending, line...)
		if p.looks != nil {
			p.pending = p.looks.dress(p.pending, from, b.Block.Topic, b.Time)
		}
		p.ends = append(p.ends, len(p.pending))
	}
}

// flush writes the pending records. If that fails, it counts them as lost.
func (p *printer) flush() error {
	if len(p.pending) == 0 {
		return nil
	}
	n, err := p.w.Write(p.pending)
	if err != nil {
		for _, end := range p.ends {
			if end > n {
				p.lost++
			}
		}
		err = fmt.Errorf("standard output: %w", err)
	}
	p.pending, p.ends = p.pending[:0], p.ends[:0]
	return err
}

// hold keeps a store in memory from dropping records that are not printed yet.
func (p *printer) hold() {
	if m, ok := p.s.(*memory.Store); ok {
		_ = m.Hold(p.at) // the position is the store's own
	}
}

// close waits until everything stored is printed. Nothing more may be stored meanwhile.
// The error says how many records could not be printed.
func (p *printer) close(ctx context.Context) error {
	p.stop()
	<-p.ended
	if p.err == nil {
		return nil
	}
	for b, err := range p.s.Read(ctx, p.at, store.ReadOptions{Topics: []string{"*"}}) {
		if err == nil && b.Block != nil {
			p.lost += len(b.Block.Lengths) - int(b.At.Index)
		}
	}
	return fmt.Errorf("%w; %s received, but not printed", p.err, count(int64(p.lost), "dictionary was", "dictionaries were"))
}
