package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/relay"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A machine runs a server on a disk, with one name on the network. It can die and be
// restarted.
type machine struct {
	ledger     *ledger
	net        *memnet.Network
	name       string
	durability store.Durability
	unready    atomic.Bool // the handler is unavailable
	trusts     bool        // it has no handler
	undying    bool        // it keeps running when its store has failed
	upstream   string      // where it relays its records; "" for nowhere

	mu      sync.Mutex
	rng     *rand.Rand // guarded by mu
	disk    *disk
	run     *running
	trimmed []stored
	copied  bool           // the disk is a backup that has not been started yet
	ghosts  sync.WaitGroup // processes that have died and do not know it
}

// A running machine is a process, and what it has open.
type running struct {
	host   *memnet.Host
	disk   *disk
	store  *log.Store
	server *dictwire.Server
	relay  *relay.Relay       // nil without a relay
	cancel context.CancelFunc // ends the relay
	passed chan struct{}      // closed when the relay has ended
	died   chan struct{}      // closed when the process has died
	dead   bool               // guarded by machine.mu
}

func newMachine(l *ledger, n *memnet.Network, name string, rng *rand.Rand) *machine {
	return &machine{ledger: l, net: n, name: name, rng: rng, disk: newDisk(), durability: store.Fsync}
}

// options returns the options of all stores in a simulation.
func (m *machine) options(r *running) *log.Options {
	return &log.Options{
		FS: r.disk, Durability: m.durability, Reserve: reserve, KeepEvery: -1, Restored: m.copied,
		Fatal: func(err error) {
			m.ledger.say(m.name, "fatal: %v", err)
			if !m.undying {
				m.die(r, false)
			}
		},
	}
}

// start opens the store and runs the server. A machine whose disk fails may die of it.
func (m *machine) start(ctx context.Context) error {
	m.mu.Lock()
	r := &running{host: m.net.Host(m.name), disk: m.disk, died: make(chan struct{})}
	m.run = r
	m.mu.Unlock()
	s, err := log.Open(ctx, "store", m.options(r))
	if err != nil {
		return err
	}
	m.copied = false
	r.store = s
	r.server = &dictwire.Server{
		Store: s, Handler: dictwire.HandlerFunc(m.handle), Authorizer: authorize,
		IdleTimeout: time.Minute, RecordTimeout: 30 * time.Second,
	}
	if m.trusts {
		r.server.Handler = nil
	}
	l := r.host.Listen()
	if m.upstream != "" {
		m.pass(ctx, r)
	}
	m.ledger.say(m.name, "serves")
	m.ghosts.Go(func() { _ = r.server.Serve(dictwire.Endpoint{Listener: l}) })
	return nil
}

// authorize takes a token as the name of its principal.
func authorize(_ context.Context, c access.Credentials) (access.Grant, error) {
	return access.Grant{Principal: c.Token}, nil
}

// pass relays stored records.
func (m *machine) pass(ctx context.Context, r *running) {
	ctx, r.cancel = context.WithCancel(ctx)
	r.passed = make(chan struct{})
	r.relay = &relay.Relay{Store: r.store, Addr: m.upstream + ":1", Dialer: dictwire.Dialer{
		MaxBackoff: time.Second, Logger: slog.New(m),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.host.Dial(ctx, m.upstream) },
	}}
	m.ghosts.Go(func() {
		defer close(r.passed)
		m.ledger.say(m.name, "its relay ends: %v", r.relay.Run(ctx))
	})
}

// Handle receives the log of the relay, which reports only by an error that a topic can't
// continue. See [slog.Handler].
func (m *machine) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	for _, reason := range []error{dictwire.ErrLost, dictwire.ErrConflict, dictwire.ErrFenced} {
		if strings.Contains(text, reason.Error()) {
			m.ledger.fail(m.name, "its relay stops for no reason: %s", text)
		}
	}
	m.ledger.say(m.name, "log: %.200s", text)
	return nil
}

func (m *machine) Enabled(context.Context, slog.Level) bool { return true }
func (m *machine) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m *machine) WithGroup(string) slog.Handler            { return m }

// pending returns how many records have not been relayed.
func (r *running) pending() uint64 {
	if r.relay == nil {
		return 0
	}
	return r.relay.Pending()
}

// handle rejects what is bad.
func (m *machine) handle(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
	if m.unready.Load() {
		return nil, fmt.Errorf("the judge is away: %w", dictwire.ErrUnavailable)
	}
	if bytes.Contains(r.Bytes, []byte(`"bad":true`)) {
		return nil, dictwire.Reject("", "bad")
	}
	return nil, nil
}

// die ends a process at once: what it has sent may still arrive, and what it does from now
// on reaches nobody. It returns the contents of its disk.
func (m *machine) die(r *running, power bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.dead {
		return
	}
	r.dead = true
	r.host.Kill(power) // before the disk is inspected: nothing is promised in between
	m.disk = r.disk.left(power, m.rng)
	m.ledger.say(m.name, "dies, power %v", power)
	close(r.died)
}

// bury ends what a dead process is still doing.
func (m *machine) bury(r *running) {
	r.disk.broken.Store(false) // the engine can't even close on a broken disk
	m.ghosts.Go(func() {
		if r.relay != nil {
			r.cancel()
			<-r.passed
		}
		if r.server != nil {
			_ = r.server.Close()
		}
		if r.store != nil {
			_ = r.store.Close()
		}
	})
}

// stop ends the process like an operator.
func (m *machine) stop() error {
	r := m.run
	if r.relay != nil {
		r.cancel()
		<-r.passed
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = r.server.Close()
	}
	err = errors.Join(err, r.store.Close())
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.dead {
		return nil // it died meanwhile
	}
	r.dead = true
	r.host.Kill(false)
	close(r.died)
	m.ledger.say(m.name, "has stopped, %v", err)
	return err
}

// trim deletes the beginning of a topic.
func (m *machine) trim(ctx context.Context, topic string, part float64) error {
	s := m.run.store
	all, err := contents(ctx, s, topic)
	if err != nil || len(all) == 0 {
		return err
	}
	n := int(float64(len(all)) * part)
	at := all[n].at
	at.Index = 0 // only whole blocks are deleted
	for n > 0 && all[n-1].at.Block == at.Block {
		n--
	}
	for i := range n {
		all[i].trimmed, all[i].gone = true, time.Now()
	}
	m.mu.Lock()
	m.trimmed = append(m.trimmed, all[:n]...)
	m.mu.Unlock()
	m.ledger.say(m.name, "trims %s before %v", topic, at)
	return s.Trim(ctx, topic, at)
}

// A backup is a copy of a machine's disk.
type backup struct {
	disk    *disk
	trimmed []stored
}

func (m *machine) backup() backup {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ledger.say(m.name, "is backed up")
	d := m.disk
	if !m.run.dead {
		d = m.run.disk
	}
	return backup{d.left(false, m.rng), slices.Clone(m.trimmed)}
}

// restore replaces the contents of a dead machine by a backup.
func (m *machine) restore(b backup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = b.disk.left(false, m.rng)
	m.trimmed = slices.Clone(b.trimmed)
	m.copied = true
	m.ledger.do(func() {
		m.ledger.lives++
		m.ledger.harmed = time.Now()
	})
	m.ledger.say(m.name, "gets another disk")
}
