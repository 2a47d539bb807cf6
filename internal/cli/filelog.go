package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"

	"github.com/dictwire/dictwire/spool"

	"github.com/dictwire/dictwire/codec"
)

// A fileLog is a file as the log of a producer. Its records are numbered in order, so
// that sending the file again continues after the last settled record.
type fileLog struct {
	path     string
	producer string
	topic    string
	read     func(io.Reader) source // reads the file
	to       codec.Codec            // of the records that are sent
	next     uint64                 // the number after the last record
	settled  atomic.Uint64
}

// open reads the file once and counts its records. It returns the bad ones. If there are
// any, nothing may be sent, since repairing them would shift the numbers of later
// records.
func (f *fileLog) open(ctx context.Context) (bad []error, err error) {
	f.next = 1
	for _, err := range f.records(ctx) {
		var fault *recordError
		switch {
		case errors.As(err, &fault):
			bad = append(bad, err)
		case err != nil:
			return nil, err
		}
		f.next++
	}
	return bad, nil
}

// records yields the records in the form in which they are sent. It continues after a
// *recordError.
func (f *fileLog) records(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in, err := os.Open(f.path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer in.Close()
		next := f.read(in)
		var record []byte
		for n := 1; ; n++ {
			d, err := next(ctx)
			if err == nil {
				if record, err = f.to.Append(record[:0], d); err != nil {
					err = fmt.Errorf("%s, record %d: %w", f.path, n, err)
				}
			}
			var bad *recordError
			if err == io.EOF {
				return
			}
			if !yield(record, err) || err != nil && !errors.As(err, &bad) {
				return
			}
		}
	}
}

// Producer implements [spool.Spool].
func (f *fileLog) Producer() string { return f.producer }

// Attempt implements [spool.Spool]. Attempts are not counted, so the newest connection
// wins: whoever sends the file later sends the same records under the same numbers, and
// must not be refused because an earlier clock was ahead.
func (f *fileLog) Attempt(context.Context) (uint64, error) { return 0, nil }

// Append implements [spool.Spool]. A file can't be appended to.
func (f *fileLog) Append(context.Context, string, string, ...[]byte) (uint64, error) {
	return 0, errors.ErrUnsupported
}

// Topics implements [spool.Spool].
func (f *fileLog) Topics(context.Context) ([]spool.Topic, error) {
	return []spool.Topic{{Topic: f.topic, First: 1, Next: f.next}}, nil
}

// Read implements [spool.Spool].
func (f *fileLog) Read(ctx context.Context, _ string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		number, sent := uint64(0), from-1
		for record, err := range f.records(ctx) {
			if number++; number < from && err == nil {
				continue
			}
			if number == f.next { // the file has grown
				break
			}
			sent = number
			if err != nil {
				yield(spool.Batch{}, &spool.GapError{From: number, To: number + 1, Err: err})
				return
			}
			if !yield(spool.Batch{First: number, Format: f.to.Name(), Records: [][]byte{record}}, nil) {
				return
			}
		}
		if sent+1 < f.next {
			err := fmt.Errorf("%s ends after %d of the %d records that it had", f.path, number, f.next-1)
			yield(spool.Batch{}, &spool.GapError{From: sent + 1, To: f.next, Err: err})
			return
		}
		<-ctx.Done()
	}
}

// Settle implements [spool.Spool]. The server remembers what is settled.
func (f *fileLog) Settle(_ context.Context, _ string, number uint64, _ uint32) error {
	f.settled.Store(number)
	return nil
}

// left returns the number of unsettled records.
func (f *fileLog) left() int64 { return int64(f.next - 1 - f.settled.Load()) }
