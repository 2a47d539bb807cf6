package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// Records are encoded dictionaries that are sent in rotation.
type Records struct {
	Format string
	all    [][]byte
	bytes  int
}

const (
	// MinSize is the least size of a generated record, in bytes of JSON.
	MinSize = len(`{"n":100000000,"text":""}`)

	// MaxSize is the largest size of a generated record.
	MaxSize = 16 << 20

	// MaxRecords is the most records that Records may have.
	MaxRecords = 1 << 16

	minTurn  = 4096     // records per rotation; fewer are repeated
	maxBytes = 64 << 20 // of generated records

	// small is the record for 45 bytes, and large the one for other sizes.
	small = `{"n":%d,"name":"Alice","city":"Paris"}`
	large = `{"n":%d,"text":"%s"}`

	smallSize = 45
)

// Generate returns records of a size in JSON, each with another number and a text that
// hardly compresses.
func Generate(size int, c codec.Codec) (*Records, error) {
	if size < MinSize || size > MaxSize {
		return nil, fmt.Errorf("want records of %d to %d bytes", MinSize, MaxSize)
	}
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	r := &Records{Format: c.Name()}
	for i := range min(MaxRecords, maxBytes/size+1) {
		number := 100_000_000 + i
		record := fmt.Appendf(nil, small, number)
		if size != smallSize {
			record = fmt.Appendf(nil, large, number, text(size-MinSize, rng))
		}
		if r.Format != (json.Codec{}).Name() {
			d, err := json.Codec{}.Decode(record, codec.Limits{RecordBytes: 2 * MaxSize})
			if err == nil {
				record, err = c.Append(nil, d)
			}
			if err != nil {
				return nil, err
			}
		}
		r.add(record)
	}
	return r.turn()
}

func text(n int, rng *rand.Rand) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rng.IntN(len(letters))]
	}
	return b
}

// NewRecords returns records for dictionaries, at most MaxRecords.
func NewRecords(all []*dict.Dict, c codec.Codec) (*Records, error) {
	r := &Records{Format: c.Name()}
	for _, d := range all[:min(len(all), MaxRecords)] {
		record, err := c.Append(nil, d)
		if err != nil {
			return nil, err
		}
		r.add(record)
	}
	return r.turn()
}

func (r *Records) add(record []byte) {
	r.all = append(r.all, record)
	r.bytes += len(record)
}

// turn repeats the records until there are enough for large batches.
func (r *Records) turn() (*Records, error) {
	n := len(r.all)
	if n == 0 {
		return nil, errors.New("there is no dictionary to send")
	}
	for i := 0; len(r.all) < minTurn; i++ {
		r.add(r.all[i%n])
	}
	return r, nil
}

// Mean returns the mean size of a record, in bytes.
func (r *Records) Mean() float64 { return float64(r.bytes) / float64(len(r.all)) }

// begin returns where a connection starts in the rotation, so that no two send the same at
// once.
func (r *Records) begin(connection int) int { return connection * 977 % len(r.all) }

// take returns up to n records from at on, and the index after them.
func (r *Records) take(at, n int) (records [][]byte, next int) {
	end := min(at+n, len(r.all))
	return r.all[at:end], end % len(r.all)
}
