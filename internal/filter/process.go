package filter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// Command is the argument that makes the program a worker: it must then call [Work].
const Command = "filter-worker"

const (
	// RecordTime is how long an expression may take for a record.
	RecordTime = 2 * time.Second

	// environment is the whole environment of a worker. With glibc, each thread would
	// otherwise reserve 64 MiB for an arena, which RLIMIT_AS does not allow.
	environment = "MALLOC_ARENA_MAX=1"

	startTime  = 10 * time.Second // for a worker to start and compile the expression
	endTime    = time.Second      // how long the standard error of a worker may stay open after it has ended
	maxSaid    = 2 << 10          // bytes of standard error that are kept
	retryAfter = time.Second      // until a place may be free
)

// Filters starts workers. Each is a process of this program.
type Filters struct {
	max, maxOwned int

	// starting is held while a worker starts. That keeps a processor busy for about 20 ms
	// before the worker lowers its priority, so only one may start at a time.
	starting chan struct{}

	mu    sync.Mutex
	all   int            // guarded by mu
	owned map[string]int // guarded by mu
}

var _ dialect.Filters = (*Filters)(nil)

// New returns Filters that run at most the given number of workers, and half as many for
// one owner.
func New(most int) *Filters {
	return &Filters{max: most, maxOwned: (most + 1) / 2, owned: map[string]int{}, starting: make(chan struct{}, 1)}
}

// take reserves a place for a worker, or returns why there is none.
func (f *Filters) take(owner string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	refused := func(text string, n int) error {
		return &fault.Error{Code: fault.Unavailable, At: -1, Text: fmt.Sprintf(text, n), Hint: "try again, or filter in the client", Retry: retryAfter}
	}
	switch {
	case f.all >= f.max:
		return refused("all %d filters are in use", f.max)
	case f.owned[owner] >= f.maxOwned:
		return refused("all %d of your filters are in use", f.maxOwned)
	}
	f.all++
	f.owned[owner]++
	return nil
}

func (f *Filters) give(owner string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.owned[owner]--; f.owned[owner] == 0 {
		delete(f.owned, owner)
	}
}

// Start implements [dialect.Filters].
func (f *Filters) Start(ctx context.Context, owner, expression string) (dialect.Filter, error) {
	if len(expression) > MaxExpression {
		return nil, &dialect.ExpressionError{Text: fmt.Sprintf("%d bytes, want at most %d", len(expression), MaxExpression), Offset: -1}
	}
	if err := f.take(owner); err != nil {
		return nil, err
	}
	p := &process{give: func() { f.give(owner) }}
	if err := f.begin(ctx, p, expression); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// begin starts a worker, whose place is reserved.
func (f *Filters) begin(ctx context.Context, p *process, expression string) error {
	select {
	case f.starting <- struct{}{}:
		defer func() { <-f.starting }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	return p.compile(expression)
}

// program returns the path of this program. On Linux it works even if the file has been
// replaced.
func program() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// A process is a worker, seen from the server.
type process struct {
	give func()

	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said said // the worker's standard error

	head  []byte // of the message to send
	made  dialect.Filtered
	text  []byte // of the last results
	late  *time.Timer
	tardy atomic.Bool // it took too long

	ending sync.Once
	ended  error // the error of [exec.Cmd.Wait]
}

func (p *process) start(ctx context.Context) error {
	path, err := program()
	if err != nil {
		return failed("a filter does not start", err)
	}
	p.cmd = exec.CommandContext(ctx, path, Command) //nolint:gosec // it is this program
	p.cmd.Env, p.cmd.Dir = []string{environment}, string(os.PathSeparator)
	p.cmd.Stderr, p.cmd.WaitDelay = &p.said, endTime
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return failed("a filter does not start", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return failed("a filter does not start", errors.Join(err, in.Close()))
	}
	p.in, p.out = in, bufio.NewReaderSize(out, ioBuffer)
	p.late = time.AfterFunc(startTime, p.expire)
	return nil
}

// compile sends the expression to the worker.
func (p *process) compile(expression string) error {
	_, err := p.in.Write(appendText(nil, expression))
	if err == nil {
		var is byte
		is, err = p.out.ReadByte()
		p.late.Stop()
		switch {
		case err != nil:
		case is == well:
			return nil
		case is == wrong:
			return p.refused()
		default:
			err = errWire
		}
	}
	return p.fault(err)
}

// refused returns the worker's error for the expression.
func (p *process) refused() error {
	offset, err := readNumber(p.out, MaxExpression+1)
	if err != nil {
		return p.fault(err)
	}
	text, err := readText(nil, p.out, maxText)
	if err != nil {
		return p.fault(err)
	}
	return &dialect.ExpressionError{Text: string(text), Offset: offset - 1}
}

// Send implements [dialect.Filter].
func (p *process) Send(format string, lengths []uint32, data []byte) error {
	p.head = binary.AppendUvarint(appendText(p.head[:0], format), uint64(len(lengths)))
	for _, n := range lengths {
		p.head = binary.AppendUvarint(p.head, uint64(n))
	}
	if len(data) <= ioBuffer {
		p.head = append(p.head, data...)
		data = nil
	}
	_, err := p.in.Write(p.head)
	if err == nil && data != nil {
		_, err = p.in.Write(data)
	}
	return err
}

// Receive implements [dialect.Filter].
func (p *process) Receive() (dialect.Filtered, error) {
	if p.out.Buffered() == 0 {
		p.late.Reset(RecordTime)
		defer p.late.Stop()
	}
	var err error
	if cap(p.text) > ioBuffer {
		p.text = nil
	}
	if p.text, err = readFiltered(&p.made, p.text[:0], p.out); err != nil {
		return dialect.Filtered{}, p.fault(err)
	}
	return p.made, nil
}

// expire kills a worker that takes too long.
func (p *process) expire() {
	p.tardy.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended already
}

// Close implements [dialect.Filter]. It kills the worker, waits for it, and frees its
// place.
func (p *process) Close() {
	p.ending.Do(func() {
		defer p.give()
		if p.cmd == nil || p.cmd.Process == nil {
			return
		}
		p.late.Stop()
		_ = p.cmd.Process.Kill() // it may have ended already
		p.ended = p.cmd.Wait()
	})
}

// fault returns why a worker has stopped: the limit that it exceeded, if there is one.
func (p *process) fault(err error) error {
	if errors.Is(err, errWire) {
		p.Close()
		return failed("the filter violated the protocol", err)
	}
	settle := time.AfterFunc(endTime, func() { _ = p.cmd.Process.Kill() }) // normally it has closed its output and is about to exit
	p.ending.Do(func() {
		defer p.give()
		p.ended = p.cmd.Wait()
	})
	settle.Stop()
	p.late.Stop()
	says := p.said.String()
	switch {
	case p.tardy.Load(), strings.Contains(says, "SIGXCPU"):
		return &fault.Error{Code: fault.OverLimit, At: -1, Text: fmt.Sprintf("the filter takes longer than %v", RecordTime)}
	case strings.Contains(says, "out of memory"), strings.Contains(says, "cannot allocate memory"), strings.Contains(says, "stack overflow"):
		return &fault.Error{Code: fault.OverLimit, At: -1, Text: fmt.Sprintf("the filter needs more than %d MiB of memory", Memory>>20)}
	}
	return &fault.Error{
		Code: fault.Unavailable, At: -1, Text: "the filter's process has ended", Retry: retryAfter,
		Err: fmt.Errorf("%v: %s", p.cmd.ProcessState, says),
	}
}

// failed returns an internal fault.
func failed(text string, err error) error {
	return &fault.Error{Code: fault.Internal, At: -1, Text: text, Err: err}
}

// said keeps the beginning of a worker's standard error.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements [io.Writer]. It never fails.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p[:min(len(p), maxSaid-s.text.Len())])
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
