// Package pickle is the pickle codec: Python's pickle as data, and never as the
// program that it is. It reads protocols 0 to 5 and writes protocol 4.
//
//	d, err := pickle.Codec{}.Decode(b, codec.Limits{}) // b = pickle.dumps({"name": "Alice", "age": 30})
//	fmt.Println(d) // {'name': 'Alice', 'age': 30}
//
// # What is accepted
//
// A pickle is a program for a stack machine, which may import modules and call
// what is in them. This machine has neither import nor call. It builds
//
//   - None, bool, int, float, str, list, tuple and dict, set, frozenset, bytes,
//     bytearray, complex and collections.OrderedDict;
//   - datetime.datetime, date, time and timedelta, with datetime.timezone and
//     zoneinfo.ZoneInfo in them;
//   - decimal.Decimal and uuid.UUID;
//
// and plainer values of some types that data is often made of, by their names and
// without a call: [Types], such as a list of a deque; each only by the opcodes that
// CPython's picklers, in C or in Python, write for it. Every other global is refused
// by its full name, with the path to the value and a remedy, wherever in the pickle it
// stands, and so are the extension
// registry, persistent ids and out-of-band buffers: [fault.UnsafePickle]. The str
// of Python 2 (STRING and its kin) is read as pickle.loads reads it: ASCII only.
//
// What the pickle holds once and refers to often is written out wherever it
// stands; an object that holds itself is refused. So is a key, or an item of a
// set, that comes twice: no Python writes that.
//
// # Limits
//
// Beside [codec.Limits], which hold for the dictionary with all that is shared
// written out:
//
//   - its strings, UUIDs and other texts together may be 4 × Limits.RecordBytes, and so
//     may those that are handed to calls;
//   - it nests 10,000 levels at most, whatever Limits.Depth is;
//   - a memo's index is less than the pickle's size, the name of a global at most
//     1 KiB.
//
// So neither time nor memory grows faster than the input and the limits, and no
// length is trusted before the bytes are there. Beside the dictionary, a decoder
// needs at most 128 bytes for each byte of the pickle.
//
// # Sequences
//
// Pickles follow one another without a separator. A scanner only frames them,
// up to STOP: what it finds may yet be refused by Decode. Behind bytes that are no
// pickle there is no way to find the next one.
package pickle

import (
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

const name = "pickle"

// A Codec is the pickle codec. The zero Codec is ready to use.
type Codec struct {
	// Lossy makes Append write a substitute (docs/formats.md) for a tagged value,
	// which Python has no type for, and cut times to whole microseconds.
	Lossy bool
}

var _ codec.Framer = Codec{}

// Name returns "pickle".
func (Codec) Name() string { return name }

// MediaType returns "application/x-python-pickle".
func (Codec) MediaType() string { return "application/x-python-pickle" }

// Terminator returns nothing: STOP ends a pickle.
func (Codec) Terminator() string { return "" }

// FramesOnly returns true: only Decode tells whether a pickle is data.
func (Codec) FramesOnly() bool { return true }

var machines = sync.Pool{New: func() any { return new(machine) }}

// keepScratch is the memory in bytes that a machine may keep for the next
// pickle.
const keepScratch = 64 << 10

// Decode returns the dictionary that src, one whole pickle, holds. See
// [codec.Codec].
func (Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	m := machines.Get().(*machine)
	d, err := m.decode(src, lim.Effective())
	if m.scratch() <= keepScratch {
		m.forget()
		machines.Put(m)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (m *machine) decode(src []byte, lim codec.Limits) (*dict.Dict, *codec.SyntaxError) {
	if len(src) > lim.RecordBytes {
		return nil, tooLarge(lim)
	}
	m.reset(src, lim)
	ok := m.run() && m.writeOut()
	switch {
	case m.foreign.n > 0:
		return nil, m.refusal()
	case !ok:
		return nil, m.err
	}
	return m.b.Dict(), nil
}
