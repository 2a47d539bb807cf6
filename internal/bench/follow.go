package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/internal/wire"
)

// followers are sessions that read what the load stores, and drop it.
type followers struct {
	read    atomic.Uint64 // records read by all of them
	ended   atomic.Bool
	conns   []net.Conn
	working sync.WaitGroup
}

// follow starts sessions that read from now on. It calls fail with the error of the first
// that fails.
func follow(ctx context.Context, o *Options, fail func(error)) (*followers, error) {
	f := &followers{}
	for range o.Followers {
		s, err := f.open(ctx, o)
		if err != nil {
			f.end()
			return nil, fmt.Errorf("following: %w", err)
		}
		f.working.Go(func() {
			if err := f.drop(s); !f.ended.Load() {
				fail(fmt.Errorf("following: %w", err))
			}
		})
	}
	return f, nil
}

func (f *followers) open(ctx context.Context, o *Options) (*native, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	nc, err := o.Dial(dialing)
	if err != nil {
		return nil, err
	}
	f.conns = append(f.conns, nc)
	_ = nc.SetDeadline(time.Now().Add(dialTime)) // the first write on a dead connection fails
	g := wire.Greeting{Version: wire.Version, Subscribe: []string{o.Topic}, Token: o.Token, From: "latest", Follow: true}
	if o.Topics > 0 {
		g.Subscribe[0] += ".*"
	}
	if _, err := nc.Write(g.Append(nil)); err != nil {
		return nil, err
	}
	s := &native{nc: nc, in: wire.NewReader(nc)}
	if err := s.welcome(); err != nil {
		return nil, err
	}
	return s, nc.SetDeadline(time.Now().Add(o.Duration + 3*drainTime))
}

// drop reads until the connection is closed.
func (f *followers) drop(s *native) error {
	for {
		m, err := s.in.Message()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case wire.Batch:
			size := uint64(0)
			for _, n := range m.Lengths {
				size += uint64(n)
			}
			if err := s.in.Skip(size); err != nil {
				return err
			}
			f.read.Add(uint64(len(m.Lengths)))
		case wire.Error:
			return m.Fault
		case wire.Damaged:
			return errors.New("the server says that records are damaged")
		}
	}
}

// end stops all followers.
func (f *followers) end() {
	f.ended.Store(true)
	for _, nc := range f.conns {
		_ = nc.Close()
	}
	f.working.Wait()
}
