package crash_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// What follows is a client written from docs/protocol.md alone. It shares no code
// with the project's own, so that no error can be in both.

// A message is any that a server sends.
type message struct {
	Next json.RawMessage `json:"next"` // a number, or a reader's position

	// Of a writer's session.
	Sum        string  `json:"sum"`
	Of         int     `json:"of"`
	Durability string  `json:"durability"`
	Ack        *uint64 `json:"ack"`
	Rejected   uint64  `json:"rejected"`
	Code       string  `json:"code"`
	Error      string  `json:"error"`

	// Of a reader's session.
	Topic    string `json:"topic"`
	Producer string `json:"producer"`
	First    uint64 `json:"first"`
	Lengths  []int  `json:"lengths"`
	End      string `json:"end"`
}

// A session is one connection.
type session struct {
	net.Conn
	r *bufio.Reader
}

// greet connects and sends a greeting.
func greet(addr, format string, args ...any) (*session, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(nc, format+"\n", args...); err != nil {
		nc.Close()
		return nil, err
	}
	return &session{nc, bufio.NewReaderSize(nc, 64<<10)}, nil
}

// next reads a message.
func (s *session) next() (m message, err error) {
	line, err := s.r.ReadBytes('\n')
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fault("%s: %v", line, err)
	}
	return m, nil
}

// A broken error is one of the server against its promises. All others are what
// a server that is killed does to a connection.
type broken struct{ text string }

func (b *broken) Error() string { return b.text }

func fault(format string, args ...any) error { return &broken{fmt.Sprintf(format, args...)} }

// A producer sends records from 1 on, whatever becomes of its connections.
// Record n is always the same, so that there is nothing to keep.
type producer struct {
	id         int
	name       string
	topic      string
	durability string // that the server must have

	mu      sync.Mutex
	moved   sync.Cond
	attempt uint64
	acked   uint64
	sent    uint64 // the highest number of which a byte was sent
	stopped bool
}

func newProducer(id int, durability string) *producer {
	p := &producer{id: id, name: fmt.Sprintf("crash-%d.%x", id, rand.Uint64()), topic: fmt.Sprintf("load.%d", id%3), durability: durability}
	p.moved.L = &p.mu
	return p
}

// poisonous reports whether record n can't be read.
func (p *producer) poisonous(n uint64) bool { return (n+uint64(p.id)*97)%2003 == 0 }

func (p *producer) record(n uint64) []byte {
	switch x := strings.Repeat("x", int(n*7%101)); {
	case !p.poisonous(n):
		return fmt.Appendf(nil, `{"p":%d,"n":%d,"x":"%s"}`, p.id, n, x)
	case n%2 == 0: // it is not read to its end
		return fmt.Appendf(nil, `{"p":%d,"n":%d,"x":tru,"y":"%s"}`, p.id, n, x)
	default: // it is
		return fmt.Appendf(nil, `{"p":%d,"n":%d,"p":%d}`, p.id, n, n)
	}
}

// code returns why record n can't be read.
func code(n uint64) string {
	if n%2 == 0 {
		return "malformed"
	}
	return "duplicate_key"
}

// state returns how much is acked, and how much of a record was ever sent.
func (p *producer) state() (acked, sent uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked, p.sent
}

// stop ends run.
func (p *producer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.moved.Broadcast()
}

// run sends until it is stopped, over one connection after another. It returns an
// error where the server breaks a promise.
func (p *producer) run(addr func() string) error {
	for {
		p.mu.Lock()
		stopped := p.stopped
		p.mu.Unlock()
		if stopped {
			return nil
		}
		var b *broken
		if err := p.session(addr()); errors.As(err, &b) {
			return fmt.Errorf("%s: %w", p.name, b)
		}
	}
}

// session sends over one connection until it breaks.
func (p *producer) session(addr string) error {
	p.mu.Lock()
	p.attempt++
	attempt, acked := p.attempt, p.acked
	p.mu.Unlock()
	s, err := greet(addr, `{"dictwire":1,"topic":%q,"producer":%q,"attempt":%d,"acked":%d}`, p.topic, p.name, attempt, acked)
	if err != nil {
		time.Sleep(5 * time.Millisecond) // there is no server
		return err
	}
	defer s.Close()
	next, err := p.welcomed(s)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		err := p.read(s)
		s.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moved.Broadcast()
		read <- err
	}()
	p.write(s, next, read)
	s.Close()
	return <-read
}

// welcomed reads the answer to a greeting.
func (p *producer) welcomed(s *session) (next uint64, err error) {
	m, err := s.next()
	if err != nil {
		return 0, err
	}
	if m.Code != "" {
		return 0, fault("greeted, and told %s: %s", m.Code, m.Error)
	}
	acked, sent := p.state()
	switch err := json.Unmarshal(m.Next, &next); {
	case err != nil:
		return 0, fault("next is %s", m.Next)
	case m.Durability != p.durability:
		return 0, fault("the durability is %q", m.Durability)
	case next <= acked || next > sent+1:
		return 0, fault("it wants %d, with %d acked and %d sent", next, acked, sent)
	case next > 1 && m.Sum != p.sum(next-1, m.Of):
		return 0, fault("record %d has the sum %q of %d, and not %s", next-1, m.Sum, m.Of, p.sum(next-1, m.Of))
	}
	return next, nil
}

// sum returns the sum of the first bytes of record n, or of all where of is zero.
func (p *producer) sum(n uint64, of int) string {
	b := p.record(n)
	if of > 0 {
		b = b[:min(of, len(b))]
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// read reads what becomes of the records.
func (p *producer) read(s *session) error {
	told := map[uint64]bool{} // rejections that are not acked
	poison := uint64(0)       // the last of them
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case m.Ack != nil:
			if err := p.settle(*m.Ack, told); err != nil {
				return err
			}
		case m.Rejected > 0:
			if !p.poisonous(m.Rejected) || m.Code != code(m.Rejected) {
				return fault("record %d is rejected: %s", m.Rejected, m.Error)
			}
			told[m.Rejected] = true
			poison = m.Rejected
		case len(told) == 0 && poison > 0 && m.Code == code(poison):
			return fmt.Errorf("the session ended: %s", m.Error) // as it does behind a poisonous record
		default:
			return fault("told %s: %s", m.Code, m.Error)
		}
	}
}

// settle takes note of an ack.
func (p *producer) settle(n uint64, told map[uint64]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.sent {
		return fault("acked %d, with %d sent", n, p.sent)
	}
	for ; p.acked < n; p.acked++ {
		if p.poisonous(p.acked+1) != told[p.acked+1] {
			return fault("record %d is acked, and its rejection is not told before", p.acked+1)
		}
		delete(told, p.acked+1)
	}
	p.moved.Broadcast()
	return nil
}

// write sends records from next on, with so many in flight at most, until the
// connection breaks or it is stopped.
func (p *producer) write(s *session, next uint64, read chan error) {
	window := []uint64{1, 16, 1000}[rand.IntN(3)]
	for {
		p.mu.Lock()
		for !p.stopped && next > p.acked+window && len(read) == 0 {
			p.moved.Wait()
		}
		stopped := p.stopped || len(read) > 0
		end := min(p.acked+window, next+rand.Uint64N(64))
		if !stopped {
			p.sent = max(p.sent, end)
		}
		p.mu.Unlock()
		if stopped {
			return
		}
		var burst []byte
		for ; next <= end; next++ {
			burst = append(p.appendSpace(burst), p.record(next)...)
		}
		// The connection may break within a record.
		cut := rand.IntN(len(burst) + 1)
		for _, part := range [][]byte{burst[:cut], append(burst[cut:], '\n')} {
			if _, err := s.Write(part); err != nil {
				return
			}
		}
	}
}

// appendSpace appends what may stand between records.
func (p *producer) appendSpace(b []byte) []byte {
	return append(b, []string{"", "\n", " "}[rand.IntN(3)]...)
}

// A record that was read back.
type record struct {
	topic, producer string
	number          uint64
	bytes           []byte
}

// readBack reads all records of a subscription from a position on, and returns
// where the end is. more is what else the greeting says.
func readBack(addr, subscribe, from, more string, each func(record) error) (end string, err error) {
	s, err := greet(addr, `{"dictwire":1,"subscribe":%q,"from":%q%s}`, subscribe, from, more)
	if err != nil {
		return "", err
	}
	defer s.Close()
	for {
		m, err := s.next()
		if err != nil {
			return "", err
		}
		if m.Code != "" || m.End == "" && m.Next == nil {
			return "", fault("reading, and told %s: %s", m.Code, m.Error)
		}
		if m.End != "" {
			return m.End, nil
		}
		for i, n := range m.Lengths {
			r := record{topic: m.Topic, producer: m.Producer, number: m.First + uint64(i), bytes: make([]byte, n)}
			if _, err := io.ReadFull(s.r, r.bytes); err != nil {
				return "", err
			}
			if err := each(r); err != nil {
				return "", err
			}
		}
	}
}
