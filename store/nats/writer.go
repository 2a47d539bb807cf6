package nats

import (
	"context"
	"errors"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A writer is what a server knows of a producer that it appends for. Only one goroutine
// uses it at a time.
type writer struct {
	home
	known bool // home is what the broker has, unless another server has claimed the producer since
}

// append appends those blocks of one producer whose results have no error, and sets the
// results. encode turns blocks and the state after them into messages, and returns the
// index of the message with the state, and the index of each block's first message. append
// returns the sequence of the last message that it stored, or 0.
func (w *writer) append(ctx context.Context, b broker, barrier, tag string, blocks []*store.Block, results []store.Result, now time.Time,
	encode func([]*store.Block, state) (messages []message, at int, begins []int),
) (last uint64) {
	checked := append([]store.Result(nil), results...)
	fail := func(err error) {
		for i := range results {
			if results[i].Err == nil {
				results[i].Err = err
			}
		}
	}
	tries := pace{}
	limit, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	for tries.wait(limit) {
		if !w.known {
			h, err := readHome(limit, b, w.subject)
			if err != nil {
				tries.failed(err)
				continue
			}
			w.home = h
		}
		copy(results, checked)
		numbers := []store.Numbering{{Producer: blocks[0].Producer, Before: w.state.ProducerState}}
		store.Decide(blocks, results, numbers, now)
		var stored []*store.Block
		refused := false
		for i, r := range results {
			if r.Err == nil {
				stored = append(stored, blocks[i])
			} else if checked[i].Err == nil && !errors.Is(r.Err, store.ErrDuplicate) {
				refused = true
			}
		}
		if refused && !w.known {
			if ok, err := confirm(limit, b, barrier, check{w.subject, w.seq}); !ok {
				tries.failed(err)
				continue
			}
		}
		if len(stored) == 0 {
			return 0
		}
		next := state{ProducerState: numbers[0].After, claim: w.state.claim, since: w.state.since}
		messages, at, begins := encode(stored, next)
		first, err := appendHome(ctx, b, &w.home, next, messages, at)
		switch {
		case err == nil:
			w.known = true
			for i, n := 0, 0; i < len(results); i++ {
				if results[i].Err == nil {
					results[i].Position = store.Position{Tag: tag, Block: first + uint64(begins[n])}
					n++
				}
			}
			return first + uint64(len(messages)-1)
		case errors.Is(err, errMoved):
			w.known = true
			continue
		case errors.Is(err, store.ErrFenced):
			w.known = true
		default:
			w.known = false
		}
		fail(err)
		return 0
	}
	copy(results, checked)
	fail(tries.err(limit))
	return 0
}
