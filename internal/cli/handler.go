package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

const (
	handlerTime   = 10 * time.Second // limit for one record
	handlerWindow = 64               // most records in one process at once
	handlerLine   = 8 << 20          // most bytes of an answer

	minHandlerPause = 100 * time.Millisecond // before a process is started again
	maxHandlerPause = 10 * time.Second
)

// A coHandler is a handler in another program. Its processes read each record as a line
// of JSON, and answer with a line.
type coHandler struct {
	slots chan *coprocess // one entry for each record that may be in progress
	all   []*coprocess
	stop  context.CancelFunc
	done  sync.WaitGroup
}

var _ dictwire.Handler = (*coHandler)(nil)

// startHandler starts n processes of a command. limit is the time for one record.
func startHandler(ctx context.Context, command string, n int, limit time.Duration, stderr io.Writer, log *slog.Logger) *coHandler {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h := &coHandler{slots: make(chan *coprocess, n*handlerWindow), stop: cancel}
	for range n {
		h.all = append(h.all, &coprocess{command: command, limit: limit, stderr: stderr, log: log, up: make(chan struct{})})
	}
	for range handlerWindow {
		for _, p := range h.all {
			h.slots <- p
		}
	}
	for _, p := range h.all {
		h.done.Go(func() { p.run(ctx) })
	}
	return h
}

// Close ends the processes by closing their input and, a second later, by a signal.
func (h *coHandler) Close() {
	for _, p := range h.all {
		p.finish()
	}
	late := time.AfterFunc(time.Second, h.stop)
	h.done.Wait()
	late.Stop()
	h.stop()
}

// Handle implements [dictwire.Handler].
func (h *coHandler) Handle(ctx context.Context, r *dictwire.Request) (*dict.Dict, error) {
	var p *coprocess
	select {
	case p = <-h.slots:
		defer func() { h.slots <- p }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	asked := dict.Of("id", 0, "topic", r.Topic)
	if r.Producer != "" {
		asked.Set("producer", dict.String(r.Producer))
	}
	asked.Set("principal", dict.String(r.Principal))
	asked.Set("record", r.Dict().Value())
	return p.ask(ctx, asked)
}

// A coprocess is one process of a handler. It is started again when it ends.
type coprocess struct {
	command string
	limit   time.Duration // for a record
	stderr  io.Writer
	log     *slog.Logger

	writing sync.Mutex // held while a line is written

	mu       sync.Mutex
	in       io.WriteCloser // nil without a process; guarded by mu
	kill     func()         // nil without a process; guarded by mu
	up       chan struct{}  // closed when there is a process; guarded by mu
	finished bool           // guarded by mu
	last     uint64         // the last id; guarded by mu
	waiting  map[uint64]chan<- coAnswer
}

// A coAnswer is the answer to a record.
type coAnswer struct {
	reply *dict.Dict
	err   error
}

// ask asks the process about a record. After an error other than a rejection, the caller
// must ask again.
func (p *coprocess) ask(ctx context.Context, asked *dict.Dict) (*dict.Dict, error) {
	late := time.NewTimer(p.limit)
	defer late.Stop()
	for {
		p.mu.Lock()
		if p.in != nil {
			break
		}
		up := p.up
		p.mu.Unlock()
		select {
		case <-up:
		case <-late.C:
			return nil, fmt.Errorf("the handler does not run: %w", dictwire.ErrUnavailable)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	p.last++
	asked.Set("id", dict.Int(int64(p.last)))
	answered := make(chan coAnswer, 1)
	p.waiting[p.last] = answered
	in, kill := p.in, p.kill
	p.mu.Unlock()

	hangs := time.AfterFunc(p.limit, kill)
	defer hangs.Stop()
	p.writing.Lock()
	_, _ = in.Write(append(json.Render(nil, asked, nil), '\n')) // if the process is gone, all that wait get an error
	p.writing.Unlock()
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// finish closes the process's input. No other process is started.
func (p *coprocess) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	if p.in != nil {
		_ = p.in.Close() // it may be gone
	}
}

// run keeps a process running until ctx ends or it is finished.
func (p *coprocess) run(ctx context.Context) {
	for pause := minHandlerPause; ; {
		began := time.Now()
		err := p.once(ctx)
		p.mu.Lock()
		over := p.finished || ctx.Err() != nil
		p.mu.Unlock()
		if over {
			return
		}
		if time.Since(began) > maxHandlerPause {
			pause = minHandlerPause
		}
		p.log.Warn("the handler ended, and is started again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxHandlerPause)
	}
}

// once runs one process, and returns why it ended.
func (p *coprocess) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-c", p.command) //nolint:gosec // it is the user's
	cmd.Stderr, cmd.WaitDelay = p.stderr, time.Second
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	p.in, p.kill, p.waiting = in, cancel, map[uint64]chan<- coAnswer{}
	close(p.up)
	if p.finished {
		_ = in.Close()
	}
	p.mu.Unlock()
	said := p.listen(bufio.NewReaderSize(out, 64<<10))
	cancel()
	ended := cmd.Wait()
	if said == nil {
		said = errors.Join(errors.New("it has ended"), ended)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in, p.up = nil, make(chan struct{})
	for _, w := range p.waiting {
		w <- coAnswer{err: fmt.Errorf("the handler: %w", said)}
	}
	clear(p.waiting)
	return said
}

// listen reads answers. It returns why no more can be read, or nil at the end.
func (p *coprocess) listen(r *bufio.Reader) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= handlerLine:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("a line of more than %d bytes", handlerLine)
		case err != nil:
			return nil //nolint:nilerr // it is the end
		}
		if err := p.answer(line); err != nil {
			return fmt.Errorf("it wrote what is no answer (%w): %.200q; what is not one goes to standard error", err, line)
		}
		line = line[:0]
	}
}

// answer handles one answer.
func (p *coprocess) answer(line []byte) error {
	d, err := json.Codec{}.Decode(line, codec.Limits{RecordBytes: handlerLine})
	if err != nil {
		return err
	}
	v, _ := d.Get("id")
	id, ok := v.Int()
	if !ok {
		return errors.New(`want {"id":…}`)
	}
	p.mu.Lock()
	w := p.waiting[uint64(id)]
	delete(p.waiting, uint64(id))
	p.mu.Unlock()
	if w == nil {
		return fmt.Errorf("no record %d waits for an answer", id)
	}
	var a coAnswer
	reply, replies := d.Get("reply")
	reject, rejects := d.Get("reject")
	reason, _ := d.Get("reason")
	word, _ := reason.Text()
	text, isText := reject.Text()
	said, isDict := reply.Dict()
	switch {
	case rejects && (!isText || replies), replies && !isDict && !reply.IsNull():
		err = errors.New(`want "reply" with a dictionary, or "reject" with a text`)
		a.err = err
	case rejects:
		a.err = dictwire.Reject(word, text)
	case isDict:
		a.reply = said.Clone()
	}
	w <- a
	return err
}
