package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// batch is how many items or pairs CPython adds at once.
const batch = 1000

// Append appends d as a pickle of protocol 4, in one frame. pickle.loads makes an
// equal dictionary of it. What Python has no type for, tagged values and times with
// nanoseconds, is a *[codec.LossError], unless c is Lossy. See [codec.Codec].
func (c Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	const head = 2 + 9
	at := len(dst)
	w, loss := write(dst, d.Value())
	if loss != nil && c.Lossy {
		var v dict.Value
		if v, loss = substitute.Replace(name, d.Value(), substituteFor); loss == nil {
			w, loss = write(dst, v)
		}
	}
	if loss != nil {
		return dst, loss
	}
	w.op(opStop)
	binary.LittleEndian.PutUint64(w.dst[at+3:], uint64(len(w.dst)-at-head))
	return w.dst, nil
}

// substituteFor returns the substitute for a value that Python lacks.
func substituteFor(v dict.Value) dict.Value {
	if v.Kind() == dict.KindTagged {
		return substitute.Of(v)
	}
	return substitute.WithoutNanoseconds(v)
}

// write writes a pickle but for its end and its frame's length.
func write(dst []byte, v dict.Value) (*writer, *codec.LossError) {
	w := &writer{dst: append(dst, opProto, 4, opFrame, 0, 0, 0, 0, 0, 0, 0, 0)}
	for i := range w.memo {
		w.memo[i] = -1
	}
	return w, w.value(v)
}

// A writer writes one pickle.
type writer struct {
	dst  []byte
	memo [len(globals)]int8 // where each global is in the memo; -1 for nowhere
	n    int8               // the size of the memo
}

func (w *writer) op(ops ...byte) { w.dst = append(w.dst, ops...) }

// value writes a value.
func (w *writer) value(v dict.Value) *codec.LossError {
	switch v.Kind() {
	case dict.KindNull:
		w.op(opNone)
	case dict.KindBool:
		if b, _ := v.Bool(); b {
			w.op(opNewTrue)
		} else {
			w.op(opNewFalse)
		}
	case dict.KindInt:
		if i, ok := v.Int(); ok {
			w.int(i)
		} else {
			i, _ := v.BigInt()
			w.long(i)
		}
	case dict.KindFloat:
		f, _ := v.Float()
		w.float(f)
	case dict.KindComplex:
		c, _ := v.Complex()
		w.global(globalComplex)
		w.float(real(c))
		w.float(imag(c))
		w.op(opTuple2, opReduce)
	case dict.KindDecimal:
		text, _ := v.DecimalText()
		w.global(globalDecimal)
		w.text(text)
		w.op(opTuple1, opReduce)
	case dict.KindString:
		text, _ := v.TextBytes()
		w.counted(text, opShortBinUnicode, opBinUnicode, opBinUnicode8)
	case dict.KindBytes:
		b, _ := v.Bytes()
		w.bytes(b)
	case dict.KindByteArray:
		w.global(globalByteArray)
		if b, _ := v.Bytes(); len(b) > 0 {
			w.bytes(b)
			w.op(opTuple1, opReduce)
		} else {
			w.op(opEmptyTuple, opReduce)
		}
	case dict.KindUUID:
		u, _ := v.UUID()
		w.global(globalUUID)
		w.op(opEmptyTuple, opNewObj, opEmptyDict)
		w.text("int")
		if i := new(big.Int).SetBytes(u[:]); i.IsInt64() {
			w.int(i.Int64())
		} else {
			w.long(i)
		}
		w.op(opSetItem, opBuild)
	case dict.KindDateTime, dict.KindDate, dict.KindTime, dict.KindTimeDelta:
		if loss := substitute.LossOfNanoseconds(name, v); loss != nil {
			return loss
		}
		w.time(v)
	case dict.KindTagged:
		return substitute.Loss(name, v)
	default:
		return w.container(v)
	}
	return nil
}

func (w *writer) container(v dict.Value) *codec.LossError {
	switch v.Kind() {
	case dict.KindList:
		w.op(opEmptyList)
		return w.batches(v, opAppends)
	case dict.KindSet:
		w.op(opEmptySet)
		return w.batches(v, opAddItems)
	case dict.KindTuple:
		n := v.Len()
		if n > 3 {
			w.op(opMark)
		}
		if loss := w.items(v); loss != nil {
			return loss
		}
		w.op([]byte{opEmptyTuple, opTuple1, opTuple2, opTuple3, opTuple}[min(n, 4)])
		return nil
	case dict.KindFrozenSet:
		w.op(opMark)
		loss := w.items(v)
		w.op(opFrozenSet)
		return loss
	case dict.KindOrderedDict:
		w.global(globalOrderedDict)
		w.op(opEmptyTuple, opReduce)
	default:
		w.op(opEmptyDict)
	}
	return w.pairs(v)
}

// items writes the items of v.
func (w *writer) items(v dict.Value) *codec.LossError {
	i := 0
	for item := range v.Items() {
		if loss := w.value(item); loss != nil {
			loss.Path = "/" + strconv.Itoa(i) + loss.Path
			return loss
		}
		i++
	}
	return nil
}

// batches writes the items of v, some of them at a time added by op.
func (w *writer) batches(v dict.Value, op byte) *codec.LossError {
	i := 0
	for item := range v.Items() {
		if i%batch == 0 {
			if i > 0 {
				w.op(op)
			}
			w.op(opMark)
		}
		if loss := w.value(item); loss != nil {
			loss.Path = "/" + strconv.Itoa(i) + loss.Path
			return loss
		}
		i++
	}
	if i > 0 {
		w.op(op)
	}
	return nil
}

// pairs writes the keys and values of v.
func (w *writer) pairs(v dict.Value) *codec.LossError {
	i := 0
	for k, item := range v.Pairs() {
		if i%batch == 0 {
			if i > 0 {
				w.op(opSetItems)
			}
			w.op(opMark)
		}
		if loss := w.value(k); loss != nil {
			loss.Path, loss.Key = "", true
			return loss
		}
		if loss := w.value(item); loss != nil {
			loss.Path = "/" + pathPart(k) + loss.Path
			return loss
		}
		i++
	}
	if i > 0 {
		w.op(opSetItems)
	}
	return nil
}

// pathPart names a key in a path.
func pathPart(k dict.Value) string {
	if text, ok := k.Text(); ok {
		return text
	}
	return k.String()
}

// int writes an int in the shortest form.
func (w *writer) int(i int64) {
	switch {
	case i >= 0 && i < 1<<8:
		w.op(opBinInt1, byte(i))
	case i >= 0 && i < 1<<16:
		w.op(opBinInt2, byte(i), byte(i>>8))
	case i >= math.MinInt32 && i <= math.MaxInt32:
		w.dst = binary.LittleEndian.AppendUint32(append(w.dst, opBinInt), uint32(i))
	default:
		w.long(big.NewInt(i))
	}
}

// long writes an int in the fewest bytes of two's complement, little-endian.
func (w *writer) long(i *big.Int) {
	n := i.BitLen()/8 + 1
	if i.Sign() < 0 {
		n = new(big.Int).Not(i).BitLen()/8 + 1
		i = new(big.Int).Add(i, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	b := i.FillBytes(make([]byte, n))
	slices.Reverse(b)
	if n < 256 {
		w.op(opLong1, byte(n))
	} else {
		w.dst = binary.LittleEndian.AppendUint32(append(w.dst, opLong4), uint32(n))
	}
	w.dst = append(w.dst, b...)
}

func (w *writer) float(f float64) {
	w.dst = binary.BigEndian.AppendUint64(append(w.dst, opBinFloat), math.Float64bits(f))
}

func (w *writer) text(s string) { w.counted([]byte(s), opShortBinUnicode, opBinUnicode, opBinUnicode8) }

func (w *writer) bytes(b []byte) { w.counted(b, opShortBinBytes, opBinBytes, opBinBytes8) }

// counted writes b after its length, with the opcode whose length has 1, 4 or 8 bytes.
func (w *writer) counted(b []byte, short, usual, long byte) {
	switch n := uint64(len(b)); {
	case n < 1<<8:
		w.op(short, byte(n))
	case n < 1<<32:
		w.dst = binary.LittleEndian.AppendUint32(append(w.dst, usual), uint32(n))
	default:
		w.dst = binary.LittleEndian.AppendUint64(append(w.dst, long), n)
	}
	w.dst = append(w.dst, b...)
}

// global writes a global: its names once, then its place in the memo.
func (w *writer) global(g int) {
	if at := w.memo[g]; at >= 0 {
		w.op(opBinGet, byte(at))
		return
	}
	module, _, _ := strings.Cut(globals[g].modules, " ")
	w.text(module)
	w.text(globals[g].name)
	w.op(opStackGlobal, opMemoize)
	w.memo[g] = w.n
	w.n++
}

// time writes one of the kinds of time: the state in bytes, which time reads, and
// the zone.
func (w *writer) time(v dict.Value) {
	if t, ok := v.TimeDelta(); ok {
		w.timeDelta(t)
		return
	}
	date, isDate := v.Date()
	clock, isTime := v.TimeOfDay()
	g, fold := globalDate, 0
	if t, ok := v.DateTime(); ok {
		g, date, clock, isDate, isTime = globalDateTime, t.Date, t.TimeOfDay, true, true
	} else if isTime {
		g = globalTime
	}
	if clock.Fold {
		fold = foldBit
	}
	w.global(g)
	var buf [10]byte
	state := buf[:0]
	if isDate {
		month := date.Month
		if isTime {
			month |= fold
		}
		state = append(state, byte(date.Year>>8), byte(date.Year), byte(month), byte(date.Day))
	}
	if isTime {
		hour := clock.Hour
		if !isDate {
			hour |= fold
		}
		us := clock.Microsecond
		state = append(state, byte(hour), byte(clock.Minute), byte(clock.Second), byte(us>>16), byte(us>>8), byte(us))
	}
	w.bytes(state)
	if clock.Zone.IsNaive() {
		w.op(opTuple1, opReduce)
		return
	}
	w.zone(clock.Zone)
	w.op(opTuple2, opReduce)
}

func (w *writer) timeDelta(t dict.TimeDelta) {
	w.global(globalTimeDelta)
	w.int(int64(t.Days))
	w.int(int64(t.Seconds))
	w.int(int64(t.Microseconds))
	w.op(opTuple3, opReduce)
}

func (w *writer) zone(z dict.Zone) {
	if key, ok := z.Key(); ok {
		if at := w.memo[globalZoneUnpickle]; at >= 0 {
			w.op(opBinGet, byte(at))
		} else {
			w.global(globalGetattr)
			w.global(globalZoneInfo)
			w.text("_unpickle")
			w.op(opTuple2, opReduce, opMemoize)
			w.memo[globalZoneUnpickle] = w.n
			w.n++
		}
		w.text(key)
		w.int(1) // from the cache of zones
		w.op(opTuple2, opReduce)
		return
	}
	offset, _ := z.Offset()
	w.global(globalTimeZone)
	w.timeDelta(dict.DeltaOf(offset))
	if name, ok := z.Name(); ok {
		w.text(name)
		w.op(opTuple2, opReduce)
		return
	}
	w.op(opTuple1, opReduce)
}
