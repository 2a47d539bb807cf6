// Package pickle is the pickle codec. It treats Python's pickles as data, never as the
// programs that they are. It reads protocols 0 to 5 and writes protocol 4.
//
//	d, err := pickle.Codec{}.Decode(b, codec.Limits{}) // b = pickle.dumps({"name": "Alice", "age": 30})
//	fmt.Println(d) // {'name': 'Alice', 'age': 30}
//
// # What is accepted
//
// A pickle is a program for a stack machine that can import modules and call their
// functions. This machine can do neither. It builds
//
//   - None, bool, int, float, str, list, tuple and dict, set, frozenset, bytes,
//     bytearray, complex and collections.OrderedDict;
//   - datetime.datetime, date, time and timedelta, with datetime.timezone and
//     zoneinfo.ZoneInfo in them;
//   - decimal.Decimal and uuid.UUID;
//
// and plain values for some types that are common in data, by their names and without a
// call: [Types], such as a list for a deque; each only with the opcodes that CPython's
// picklers, in C or in Python, write for it. Every other global is refused with its full
// name, the path to the value and a remedy, wherever it is in the pickle, and so are the
// extension registry, persistent ids and out-of-band buffers: [fault.UnsafePickle]. The str
// of Python 2 (STRING and its kin) is read as pickle.loads reads it: ASCII only.
//
// An object to which the pickle refers several times is repeated in each place. An object
// that contains itself is refused, and so is a duplicate key or item of a set, which no
// Python writes.
//
// # Limits
//
// In addition to [codec.Limits], which apply to the dictionary with all shared objects
// repeated:
//
//   - its strings, UUIDs and other texts may have 4 × Limits.RecordBytes in total, and so
//     may the arguments of calls;
//   - it may have 10,000 levels, whatever Limits.Depth is;
//   - a memo's index is less than the pickle's size, the name of a global at most
//     1 KiB.
//
// So neither time nor memory grows faster than the input and the limits, and no length is
// trusted before its bytes have arrived. In addition to the dictionary, a decoder needs at
// most 128 bytes for each byte of the pickle.
//
// # Sequences
//
// Pickles follow one another without a separator. A scanner only frames them,
// up to STOP: Decode may still refuse what it finds. After bytes that are not a pickle,
// there is no way to find the next one.
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

// FramesOnly returns true: only Decode finds out whether a pickle is data.
func (Codec) FramesOnly() bool { return true }

var machines = sync.Pool{New: func() any { return new(machine) }}

// keepScratch is the memory in bytes that a machine may keep for the next
// pickle.
const keepScratch = 64 << 10

// Decode returns the dictionary in src, which is one whole pickle. See [codec.Codec].
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
