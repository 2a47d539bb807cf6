package filter

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/itchyny/gojq"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/dialect"
)

const (
	// Memory is how many bytes a worker may use beyond those it has at the start.
	Memory = 128 << 20

	maxDepth   = 128                    // of a result
	maxStack   = 64 << 20               // bytes of a goroutine's stack
	cpuTime    = 3 * time.Second        // processor time for the work at hand
	renewEvery = 250 * time.Millisecond // how often that time is renewed
	flushEvery = 100 * time.Millisecond // how often results are flushed while there are records
)

// madeLimits are the limits of a result that is not a dictionary, wrapped in one.
var madeLimits = codec.Limits{RecordBytes: maxResultBytes, Depth: maxDepth + 1}

// stored maps stored formats to their codecs. JSON may have duplicate keys, since some
// servers allow them.
var stored = map[string]codec.Codec{
	json.Codec{}.Name():    json.Codec{DuplicateKeys: json.KeepLast},
	cbor.Codec{}.Name():    cbor.Codec{},
	msgpack.Codec{}.Name(): msgpack.Codec{},
}

// Work runs a worker: it reads an expression and records from in, and writes the results to
// out until in ends. Before it reads anything, it limits the resources of the process.
func Work(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // Ctrl-C in a terminal is for the server
	time.Local = time.UTC
	runtime.GOMAXPROCS(1)
	debug.SetTraceback("none")
	debug.SetMaxStack(maxStack)
	debug.SetMemoryLimit(Memory * 3 / 4)
	if err := confine(); err != nil {
		return fmt.Errorf("filter: limiting the process: %w", err)
	}
	boundTime()
	w := worker{in: bufio.NewReaderSize(in, ioBuffer), out: bufio.NewWriterSize(out, ioBuffer)}
	err := w.work()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A worker evaluates an expression.
type worker struct {
	in  *bufio.Reader
	out *bufio.Writer

	expr *Expression
	made dialect.Filtered // the results of a record
	buf  []byte

	renewed, flushed time.Time
}

func (w *worker) work() error {
	if err := w.compile(); err != nil {
		return err
	}
	var (
		lengths []int
		record  []byte
	)
	for {
		name, err := readText(nil, w.in, maxFormat)
		if err != nil {
			return err
		}
		n, err := readNumber(w.in, maxChunk)
		if err != nil {
			return err
		}
		lengths = lengths[:0]
		for range n {
			length, err := readNumber(w.in, maxRecord)
			if err != nil {
				return err
			}
			lengths = append(lengths, length)
		}
		for i, length := range lengths {
			if record, err = readAll(record[:0], w.in, length); err != nil {
				return err
			}
			w.run(stored[string(name)], string(name), record)
			if err := w.say(i == n-1); err != nil {
				return err
			}
			if cap(record) > ioBuffer {
				record = nil
			}
		}
	}
}

// compile reads and compiles the expression, and answers whether it can be used.
func (w *worker) compile() error {
	text, err := readText(nil, w.in, MaxExpression)
	if err != nil {
		return err
	}
	w.renew()
	w.expr, err = Compile(string(text))
	if err == nil {
		_ = w.out.WriteByte(well) // Flush returns the error
		return w.out.Flush()
	}
	offset := 0
	var syntax *gojq.ParseError
	if errors.As(err, &syntax) {
		offset = syntax.Offset + 1
	}
	_, _ = w.out.Write(appendText(binary.AppendUvarint([]byte{wrong}, uint64(offset)), cut(err.Error())))
	return errors.Join(w.out.Flush(), io.EOF)
}

// run evaluates the expression for a record.
func (w *worker) run(by codec.Codec, format string, record []byte) {
	w.made.Results, w.made.Failed, w.buf = w.made.Results[:0], "", w.buf[:0]
	w.renew()
	if by == nil {
		w.made.Failed = fmt.Sprintf("a filter can't read the format %q", format)
		return
	}
	d, err := by.Decode(record, codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	if err != nil {
		w.made.Failed = cut(err.Error())
		return
	}
	total := 0 // bytes that the reader gets, not counting the first copy of the record itself
	for v, err := range w.expr.Run(context.Background(), d, codec.Limits{RecordBytes: maxResultBytes, Depth: maxDepth}) {
		made := dialect.Result{Kind: dialect.Scalar}
		switch is := v.(type) {
		case *dict.Dict:
			made.Kind = dialect.Selected
			if is != d {
				made.Kind = dialect.Dictionary
				w.buf, err = json.Codec{}.Append(w.buf[:0], is)
			}
		case nil:
			if err == nil {
				w.buf = append(w.buf[:0], "null"...)
			}
		default:
			if w.buf, err = Marshal(v); err == nil {
				_, err = json.Codec{}.Decode(slices.Concat([]byte(`{"":`), w.buf, []byte(`}`)), madeLimits)
			}
		}
		if err != nil {
			w.made.Failed = why(err)
			return
		}
		switch {
		case made.Kind != dialect.Selected:
			made.JSON = append([]byte(nil), w.buf...)
			total += len(made.JSON)
		case len(w.made.Results) > 0:
			total += len(record)
		}
		if w.made.Results = append(w.made.Results, made); len(w.made.Results) > maxResults || total > maxResultBytes {
			w.made.Failed = fmt.Sprintf("more than %d results, or %d bytes of them", maxResults, maxResultBytes)
			return
		}
	}
}

// say writes the results of a record. It flushes before the worker waits for more records,
// and from time to time.
func (w *worker) say(last bool) error {
	w.buf = appendFiltered(w.buf[:0], w.made)
	_, err := w.out.Write(w.buf)
	if err == nil && (last && w.in.Buffered() == 0 || time.Since(w.flushed) > flushEvery) {
		err, w.flushed = w.out.Flush(), time.Now()
	}
	if cap(w.buf) > ioBuffer {
		w.buf, w.made.Results = nil, nil
	}
	return err
}

// renew renews the processor time of the process.
func (w *worker) renew() {
	if now := time.Now(); now.Sub(w.renewed) > renewEvery {
		w.renewed = now
		renewTime(cpuTime)
	}
}

// why returns the text of an error. It states limits as limits of the results, not of the
// record.
func why(err error) string {
	var syntax *codec.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("its result is not a value of at most %d bytes and %d levels (%s)", maxResultBytes, maxDepth, syntax.Code)
	}
	return cut(err.Error())
}

// cut shortens a text to the maximum.
func cut(text string) string {
	if text == "" {
		return "it fails"
	}
	return text[:min(len(text), maxText)]
}
