package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"slices"
	"sync"
	"time"
)

// A Producer sends records from number 1 on, over one connection after another. Record n is
// always the same, so nothing has to be kept.
type Producer struct {
	Name       string
	Topic      string
	Durability string // that the server must promise

	// Append appends record n.
	Append func(b []byte, n uint64) []byte
	// Code returns the code with which record n must be rejected, or "" if it can be read.
	// A rejected record may end the session with that code.
	Code func(n uint64) string
	// Send sends over one connection from record next on, until Room or a write says that
	// the connection is over.
	Send func(p *Producer, s *Session, next uint64)
	// Again lists the codes after which the producer simply reconnects.
	Again []string
	// Acked is called with each ack that settles something. Nil disables the callback.
	Acked func(n uint64)
	// Dial connects. Nil means TCP.
	Dial func(addr string) (net.Conn, error)

	mu      sync.Mutex
	moved   sync.Cond
	attempt uint64
	acked   uint64
	sent    uint64 // the highest number of which a byte was sent
	broken  bool   // the connection is broken
	stopped bool
}

// State returns up to which number records are acked, and of which some bytes were sent.
func (p *Producer) State() (acked, sent uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked, p.sent
}

// Stop ends Run without waiting for records in flight.
func (p *Producer) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.moved.Broadcast()
}

// Room waits until fewer than window records are in flight, and returns how many more may
// be sent from next on. It reports false if the connection is over.
func (p *Producer) Room(next, window uint64) (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopped && !p.broken && next > p.acked+window {
		p.moved.Wait()
	}
	return p.acked + window + 1 - min(next, p.acked+window+1), !p.stopped && !p.broken
}

// Sending records that everything up to n is being sent.
func (p *Producer) Sending(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = max(p.sent, n)
}

// Run sends until it is stopped, over one connection after another. It returns an error if
// the server breaks a promise.
func (p *Producer) Run(addr func() string) error {
	p.mu.Lock()
	p.moved.L = &p.mu
	p.mu.Unlock()
	for {
		p.mu.Lock()
		stopped := p.stopped
		p.mu.Unlock()
		if stopped {
			return nil
		}
		var b *BrokenError
		if err := p.session(addr()); errors.As(err, &b) {
			return fmt.Errorf("%s: %w", p.Name, b)
		}
	}
}

// session sends over one connection until that breaks.
func (p *Producer) session(addr string) error {
	p.mu.Lock()
	p.attempt++
	attempt, acked := p.attempt, p.acked
	p.broken = false
	p.mu.Unlock()
	s, err := p.greet(addr, attempt, acked)
	if err != nil {
		time.Sleep(5 * time.Millisecond) // the server is down
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
		p.broken = true
		p.moved.Broadcast()
		read <- err
	}()
	p.Send(p, s, next)
	s.Close()
	return <-read
}

func (p *Producer) greet(addr string, attempt, acked uint64) (*Session, error) {
	const greeting = `{"dictwire":1,"topic":%q,"producer":%q,"attempt":%d,"acked":%d}`
	if p.Dial == nil {
		return Greet(addr, greeting, p.Topic, p.Name, attempt, acked)
	}
	nc, err := p.Dial(addr)
	if err != nil {
		return nil, err
	}
	return GreetOver(nc, greeting, p.Topic, p.Name, attempt, acked)
}

// welcomed reads the answer to the greeting.
func (p *Producer) welcomed(s *Session) (next uint64, err error) {
	m, err := s.Next()
	if err != nil {
		return 0, err
	}
	if slices.Contains(p.Again, m.Code) {
		return 0, fmt.Errorf("greeted, and told %s: %s", m.Code, m.Error)
	}
	if m.Code != "" {
		return 0, Fault("greeted, and told %s: %s", m.Code, m.Error)
	}
	acked, sent := p.State()
	switch err := json.Unmarshal(m.Next, &next); {
	case err != nil:
		return 0, Fault("next is %s", m.Next)
	case m.Durability != p.Durability:
		return 0, Fault("the durability is %q", m.Durability)
	case next <= acked || next > sent+1:
		return 0, Fault("it wants %d, with %d acked and %d sent", next, acked, sent)
	case next > 1 && m.Sum != p.sum(next-1, m.Of):
		return 0, Fault("record %d has the sum %q of %d, and not %s", next-1, m.Sum, m.Of, p.sum(next-1, m.Of))
	}
	return next, nil
}

// sum returns the checksum of record n, or of its first bytes if of, their number, is not 0.
func (p *Producer) sum(n uint64, of int) string {
	b := p.Append(nil, n)
	if of > 0 {
		b = b[:min(of, len(b))]
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// read reads acks and rejections.
func (p *Producer) read(s *Session) error {
	told := map[uint64]bool{} // rejections that are not acked yet
	poison := uint64(0)       // the last of them
	for {
		m, err := s.Next()
		if err != nil {
			return err
		}
		switch {
		case m.Ack != nil:
			if err := p.settle(*m.Ack, told); err != nil {
				return err
			}
		case m.Rejected > 0:
			if c := p.Code(m.Rejected); c == "" || m.Code != c {
				return Fault("record %d is rejected: %s", m.Rejected, m.Error)
			}
			told[m.Rejected] = true
			poison = m.Rejected
		case len(told) == 0 && poison > 0 && m.Code == p.Code(poison):
			return fmt.Errorf("the session ended: %s", m.Error) // as it may after a poisonous record
		case slices.Contains(p.Again, m.Code):
			return fmt.Errorf("told %s: %s", m.Code, m.Error)
		default:
			return Fault("told %s: %s", m.Code, m.Error)
		}
	}
}

// settle checks an ack.
func (p *Producer) settle(n uint64, told map[uint64]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.sent {
		return Fault("acked %d, with %d sent", n, p.sent)
	}
	if n <= p.acked {
		return nil
	}
	for ; p.acked < n; p.acked++ {
		if (p.Code(p.acked+1) != "") != told[p.acked+1] {
			return Fault("record %d is acked, and its rejection is not told before", p.acked+1)
		}
		delete(told, p.acked+1)
	}
	if p.Acked != nil {
		p.Acked(n)
	}
	p.moved.Broadcast()
	return nil
}
