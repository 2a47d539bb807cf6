package simulate

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A world is one simulation: a machine, writers, readers, and what happens to them.
type world struct {
	*ledger
	ctx     context.Context //nolint:containedctx // the lifetime of the simulation
	seed    uint64
	rng     *rand.Rand // of the goroutine that runs the world
	net     *memnet.Network
	machine *machine // the one to which everyone writes
	central *machine // to which it relays; nil without a relay
	harmed  bool     // stores and logs may be damaged, and names used twice

	actors          []*actor
	clientProducers []*clientProducer
	copies          []*disk // of spools, by client, or nil
	backups         []backup
}

// An actor is a client's process.
type actor struct {
	producer *producer
	reader   *reader
	cancel   context.CancelFunc
	done     chan struct{}
}

func (a *actor) name() string {
	if a.producer != nil {
		return a.producer.writer
	}
	return a.reader.name
}

// spoke returns how many bytes its last session sent in each direction.
func (a *actor) spoke() [2]int64 {
	if a.producer != nil {
		return a.producer.spoke
	}
	return a.reader.spoke
}

const server = "server"

func newWorld(ctx context.Context, seed uint64) *world {
	w := &world{ledger: newLedger(), ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), net: memnet.New()}
	w.machine = newMachine(w.ledger, w.net, server, rand.New(rand.NewPCG(seed, 2)))
	w.machine.trusts = seed%3 == 0
	w.harmed = w.rng.IntN(3) == 0
	return w
}

// principals returns the first principals that use the same names.
func principals(more int) []string { return []string{store.Anonymous, "red"}[:1+more] }

// fates makes the network faulty.
func (w *world) fates() {
	rng := rand.New(rand.NewPCG(w.seed, 3))
	direction := func(longest time.Duration) (d memnet.Direction) {
		if rng.IntN(3) == 0 {
			d.Latency = time.Duration(rng.Int64N(int64(longest)))
		}
		if rng.IntN(4) == 0 {
			d.MaxRead = 1 + rng.IntN(40)
		}
		if rng.IntN(3) == 0 {
			d.CutAfter = 1 + rng.Int64N([]int64{200, 1000, 8000}[rng.IntN(3)])
			d.Swallow = rng.IntN(4) == 0
		}
		if rng.IntN(6) == 0 {
			d.Buffer = 1 + rng.IntN(2000)
		}
		return d
	}
	w.net.SetLink(func(from, to string) memnet.Link {
		if rng.IntN(3) == 0 {
			return memnet.Link{}
		}
		longest := []time.Duration{20 * time.Millisecond, 500 * time.Millisecond, 8 * time.Second}[rng.IntN(3)]
		link := memnet.Link{Up: direction(longest), Down: direction(longest)}
		w.say(from, "its connection to %s: %+v", to, link)
		return link
	})
}

// live runs an actor until it is killed or done.
func (w *world) live(a *actor) {
	ctx, cancel := context.WithCancel(w.ctx)
	a.cancel, a.done = cancel, make(chan struct{})
	h := w.net.Host(a.name())
	var run func(context.Context)
	if a.producer != nil {
		a.producer.host, run = h, a.producer.run
	} else {
		a.reader.host, run = h, a.reader.run
		if a.reader.client {
			run = a.reader.subscribeAll
		}
	}
	go func() {
		defer close(a.done)
		run(ctx)
	}()
}

// kill ends an actor's process.
func (w *world) kill(a *actor, power bool) {
	if p := a.producer; p != nil {
		p.ledger.say(p.writer, "is killed")
		p.host.Kill(power)
	} else {
		a.reader.ledger.say(a.reader.name, "is killed")
		a.reader.host.Kill(power)
	}
	a.cancel()
	<-a.done
	if a.producer != nil {
		a.producer.die()
	}
}

// addProducer adds a producer of the principal anonymous with a number of records.
func (w *world) addProducer(name string, t traits, count uint64) *actor {
	return w.addProducerOf(store.Anonymous, name, t, count)
}

func (w *world) addProducerOf(principal, name string, t traits, count uint64) *actor {
	writer := fmt.Sprintf("%s#%d", name, len(w.books))
	p := &producer{
		book: w.open(principal, "orders", name, writer), ledger: w.ledger, server: server,
		seed: w.seed<<8 + uint64(len(w.books)), rng: rand.New(rand.NewPCG(w.seed, 100+uint64(len(w.books)))),
		traits: t, count: count,
	}
	a := &actor{producer: p}
	w.actors = append(w.actors, a)
	return a
}

func (w *world) someTraits() traits {
	rng := w.rng
	t := traits{
		window: []uint64{1, 3, 20, 1000}[rng.IntN(4)], holds: []uint64{0, 0, 5}[rng.IntN(3)],
		uncounts: rng.IntN(5) == 0, size: []int{0, 20, 300}[rng.IntN(3)],
		pause: []time.Duration{0, 50 * time.Millisecond, 500 * time.Millisecond}[rng.IntN(3)], lazy: rng.IntN(3) == 0,
	}
	if rng.IntN(2) == 0 {
		t.bad = 2 + rng.IntN(10)
	}
	if w.machine.trusts {
		t.bad = 0
	}
	if rng.IntN(3) == 0 {
		t.poison = 3 + rng.IntN(20)
	}
	return t
}

func (w *world) addReader(subscribe string) *actor {
	name := fmt.Sprintf("r%d", len(w.actors))
	a := &actor{reader: &reader{
		name: name, principal: store.Anonymous, cursor: name, ledger: w.ledger, server: w.last().name, rng: rand.New(rand.NewPCG(w.seed, 200+uint64(len(w.actors)))),
		client: w.rng.IntN(2) == 0, done: map[string]int{}, subscribe: subscribe, pause: []time.Duration{0, 100 * time.Millisecond, 3 * time.Second}[w.rng.IntN(3)], nocommit: w.rng.IntN(4),
	}}
	w.actors = append(w.actors, a)
	return a
}

func (w *world) addClientProducer(h habits) *clientProducer {
	c := &clientProducer{
		name: fmt.Sprintf("c%d", len(w.clientProducers)), ledger: w.ledger, net: w.net,
		rng: rand.New(rand.NewPCG(w.seed, 300+uint64(len(w.clientProducers)))), habits: h,
		count: 1 + w.rng.Uint64N(60), sent: map[uint64]*parcel{},
	}
	if h.spool {
		c.disk = newDisk()
	}
	w.clientProducers, w.copies = append(w.clientProducers, c), append(w.copies, nil)
	return c
}

func (w *world) someHabits() habits {
	rng := w.rng
	h := habits{
		spool: rng.IntN(2) == 0, accepts: rng.IntN(2) == 0, flushes: 1 + rng.IntN(20), window: []int{1, 5, 1000}[rng.IntN(3)],
		size: []int{0, 20, 300}[rng.IntN(3)], pause: []time.Duration{0, 50 * time.Millisecond, 500 * time.Millisecond}[rng.IntN(3)],
	}
	h.atSpool = h.spool && rng.IntN(3) == 0
	if rng.IntN(2) == 0 {
		h.bad = 2 + rng.IntN(10)
	}
	if w.machine.trusts {
		h.bad = 0
	}
	return h
}

// again restarts a client's process if it is dead.
func (w *world) again(c *clientProducer) {
	select {
	case <-c.process.died:
		<-c.process.done
		c.start(w.ctx)
	default:
	}
}

// begin starts the machines. In some worlds, the one that everyone writes to is a relay.
func (w *world) begin() error {
	if w.rng.IntN(5) == 0 {
		w.central = newMachine(w.ledger, w.net, "central", rand.New(rand.NewPCG(w.seed, 4)))
		w.machine.upstream = w.central.name
		w.harmed = false
		if err := w.central.start(w.ctx); err != nil {
			return err
		}
	}
	return w.machine.start(w.ctx)
}

// run runs the whole simulation.
func (w *world) run() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.fates()
	for i := range 1 + w.rng.IntN(3) {
		for _, principal := range principals(w.rng.IntN(2)) { // with the same names; they never interfere
			w.live(w.addProducerOf(principal, fmt.Sprintf("p%d", i), w.someTraits(), 1+uint64(w.rng.IntN(60))))
		}
	}
	for range 1 + w.rng.IntN(3) {
		w.addClientProducer(w.someHabits()).start(w.ctx)
	}
	for i, principal := range principals(w.rng.IntN(2)) {
		a := w.addReader([]string{"orders", store.Rejected, "*"}[(i+w.rng.IntN(2))%3])
		a.reader.principal, a.reader.cursor = principal, "r"
		w.live(a)
	}
	for range 4 + w.rng.IntN(8) {
		w.sleep(time.Duration(w.rng.Int64N(int64([]time.Duration{20 * time.Millisecond, time.Second, 6 * time.Second}[w.rng.IntN(3)]))))
		w.fault()
	}
	w.heal()
	err := w.settle() // an ack from a store that is gone may still have been in flight
	w.more()
	return errors.Join(err, w.end(w.rng.IntN(2) == 0))
}

// end waits until everyone is done, ends the machine by a power failure or normally, and
// everyone else, and compares what is left with what they were told.
func (w *world) end(power bool) error {
	err := w.settle()
	for _, m := range w.machines() {
		m.run.disk.after(0, nil)
		if power {
			m.die(m.run, true)
			m.bury(m.run)
		} else {
			err = errors.Join(err, m.stop())
		}
	}
	for _, a := range w.actors {
		w.kill(a, false)
	}
	for _, c := range w.clientProducers {
		c.die(c.process, false)
		<-c.process.done
	}
	for _, m := range w.machines() {
		m.ghosts.Wait()
	}
	if err == nil {
		err = w.verdict()
	}
	return errors.Join(err, w.audits(true))
}

// sleep lets time pass. A machine that dies meanwhile is restarted.
func (w *world) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		var died chan struct{}
		if w.central != nil {
			died = w.central.run.died
		}
		select {
		case <-timer.C:
			return
		case <-w.machine.run.died:
			w.restart(w.machine)
		case <-died:
			w.restart(w.central)
		}
	}
}

// restart restarts a machine that has died or was stopped.
func (w *world) restart(m *machine) {
	for {
		m.bury(m.run)
		time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
		err := m.start(w.ctx)
		if err == nil {
			return
		}
		w.say(m.name, "can't start: %v", err)
		m.die(m.run, false)
	}
}

// fault causes a random fault.
func (w *world) fault() {
	m, rng := w.machine, w.rng
	if w.central != nil && rng.IntN(2) == 0 {
		m = w.central
	}
	kinds := 15
	if w.harmed && w.central == nil {
		kinds = 24
	}
	switch kind := rng.IntN(kinds); kind {
	case 0, 1:
		m.die(m.run, kind == 1)
	case 2, 3:
		run := m.run
		run.disk.after(1+rng.Int64N(60), func() { m.die(run, kind == 2) })
	case 4:
		if m.run.disk.broken.Load() {
			m.die(m.run, false)
		} else if err := m.stop(); err != nil {
			w.fail(m.name, "stop: %v", err)
		}
	case 5:
		m.run.disk.full.Store(true)
		w.say(m.name, "its disk is full")
		w.sleep(time.Duration(rng.Int64N(int64(4 * time.Second))))
		m.run.disk.full.Store(false)
	case 6:
		w.say(m.name, "its disk fails")
		m.run.disk.broken.Store(true)
	case 7:
		w.say(m.name, "its connections break")
		m.run.host.Reset()
	case 8:
		w.say("network", "is split")
		w.net.Partition(true)
		m.run.host.Reset()
		w.sleep(time.Duration(rng.Int64N(int64(5 * time.Second))))
		w.net.Partition(false)
	case 9:
		topics := []string{store.Rejected, "orders"}
		if w.central != nil {
			topics = topics[:1] // the relay trims the other
		}
		if err := m.trim(w.ctx, topics[rng.IntN(len(topics))], rng.Float64()); err != nil && !errors.Is(err, store.ErrUnavailable) {
			w.fail(m.name, "trim: %v", err)
		}
	case 10:
		w.say(m.name, "its handler is away")
		m.unready.Store(true)
		w.sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
		m.unready.Store(false)
	case 11:
		a := w.actors[rng.IntN(len(w.actors))]
		w.kill(a, rng.IntN(2) == 0)
		w.live(a)
	case 12:
		c := w.clientProducers[rng.IntN(len(w.clientProducers))]
		c.die(c.process, rng.IntN(2) == 0)
		w.again(c)
	case 13:
		c := w.clientProducers[rng.IntN(len(w.clientProducers))]
		if d := c.process.disk; d != nil {
			p := c.process
			d.after(1+rng.Int64N(40), func() { c.die(p, true) })
			w.sleep(time.Second)
			w.again(c)
		}
	case 14:
		c := w.clientProducers[rng.IntN(len(w.clientProducers))]
		c.process.host.Reset()
		w.say(c.name, "its connections break")
	case 15, 16:
		w.backups = append(w.backups, m.backup())
	case 17, 18:
		b := backup{disk: newDisk()}
		if n := len(w.backups); n > 0 {
			b = w.backups[rng.IntN(n)]
		}
		m.die(m.run, rng.IntN(2) == 0)
		m.restore(b)
	case 19:
		m.die(m.run, false)
		m.restore(w.foreign())
	case 20:
		w.twin()
	default:
		w.copySpool(rng.IntN(len(w.clientProducers)))
	}
}

// twin starts a second process that writes as one of the producers: a fresh one, or an old
// copy of it.
func (w *world) twin() {
	i := slices.IndexFunc(w.actors, func(a *actor) bool { return a.producer != nil })
	a := w.actors[i]
	w.kill(a, false)
	p := a.producer
	p.rivals = true
	b := w.addProducerOf(p.principal, p.producer, w.someTraits(), p.count)
	q := b.producer
	q.rivals = true
	if w.rng.IntN(2) == 0 {
		w.say(q.writer, "is a copy of %s", p.writer)
		q.bound, q.attempt, q.kept, q.saved = p.bound, p.attempt, p.saved, p.saved
		for n := range p.bound {
			q.sent[n+1] = p.sent[n+1]
		}
		q.acked, q.lost = q.kept, slices.Clone(p.lost)
	}
	w.live(a)
	w.live(b)
}

// copySpool copies a client's spool, restores an earlier copy, or lets another client use
// it.
func (w *world) copySpool(i int) {
	c := w.clientProducers[i]
	if c.disk == nil {
		return
	}
	if w.copies[i] == nil {
		w.say(c.name, "its spool is copied")
		w.copies[i] = c.process.disk.left(false, w.rng)
		return
	}
	w.do(func() { c.rivals = true })
	if w.rng.IntN(2) == 0 {
		c.die(c.process, false)
		<-c.process.done
		w.say(c.name, "an old copy of its spool is put back")
		w.do(func() { c.disk, c.restored = w.copies[i], true })
		c.start(w.ctx)
	} else {
		other := w.addClientProducer(c.habits)
		w.say(other.name, "uses a copy of the spool of %s", c.name)
		other.disk, other.rivals = w.copies[i], true
		other.start(w.ctx)
	}
	w.copies[i] = nil
}

// foreign returns the disk of another store, in which the producers' names belong to other
// logs.
func (w *world) foreign() backup {
	w.do(func() { w.ledger.foreign = true })
	d := newDisk()
	s, err := log.Open(w.ctx, "store", &log.Options{FS: d, Reserve: reserve, KeepEvery: -1})
	if err != nil {
		w.fail(server, "a new store: %v", err)
		return backup{disk: d}
	}
	for i := range 3 {
		n := 1 + w.rng.IntN(30)
		name := fmt.Sprintf("p%d", i)
		book := w.open(store.Anonymous, "orders", name, name+" of another store")
		p := store.Producer{Principal: store.Anonymous, Topic: "orders", Name: name}
		c, err := s.Claim(w.ctx, p, store.ClaimRequest{Attempt: 1})
		b := &store.Block{Topic: "orders", Codec: "json", Principal: p.Principal, Producer: p, Epoch: c.Epoch, First: 1}
		for j := range n {
			r := record{bytes: fmt.Appendf(nil, `{"other":%q,"n":%d}`, name, j+1), whole: true}
			book.sent[uint64(j+1)] = r
			b.Add(r.bytes)
			b.Note = binary.BigEndian.AppendUint32(nil, crc32.Checksum(r.bytes, castagnoli))
		}
		if err = errors.Join(err, s.Append(w.ctx, b)[0].Err); err != nil {
			w.fail(server, "a new store: %v", err)
		}
	}
	_ = s.Close()
	return backup{disk: d}
}

// heal ends all faults.
func (w *world) heal() {
	w.say("world", "no more faults")
	w.net.SetLink(func(_, _ string) memnet.Link { return memnet.Link{} })
	w.sleep(0)
	for _, m := range w.machines() {
		m.run.host.Hurry()
		m.run.disk.after(0, nil)
		if m.run.disk.broken.Load() {
			m.die(m.run, false)
			w.sleep(time.Millisecond)
		}
	}
	synctest.Wait()
	for _, c := range w.clientProducers {
		if d := c.process.disk; d != nil {
			d.after(0, nil)
		}
		w.again(c)
	}
}

// last returns the machine in which records end up.
func (w *world) last() *machine { all := w.machines(); return all[len(all)-1] }

func (w *world) machines() []*machine {
	if w.central == nil {
		return []*machine{w.machine}
	}
	return []*machine{w.machine, w.central}
}

// more gives those that are done something more to do, which shows them the consequences of
// what they did.
func (w *world) more() {
	synctest.Wait()
	for _, a := range w.actors {
		if a.producer == nil {
			continue
		}
		select {
		case <-a.done:
			if a.producer.stopped == nil {
				a.producer.count += 1 + w.rng.Uint64N(5)
				w.live(a)
			}
		default:
		}
	}
	for _, c := range w.clientProducers {
		w.do(func() {
			c.count += 1 + w.rng.Uint64N(5)
			c.finished = false
		})
	}
}

// settle waits until everyone is done. It returns which invariant broke meanwhile.
func (w *world) settle() error {
	const within = 3 * time.Minute
	for range int(within / time.Second) {
		if w.waits() == "" {
			return w.verdict()
		}
		w.sleep(time.Second)
	}
	if err := w.verdict(); err != nil {
		return err // whoever saw that may have stopped
	}
	return fmt.Errorf("%v after the last fault, %s", within, w.waits())
}

// waits says who is not done.
func (w *world) waits() string {
	for _, m := range w.machines() {
		if n := m.run.pending(); n > 0 {
			return fmt.Sprintf("%s has not passed on %d records", m.name, n)
		}
	}
	head, err := w.last().run.store.Head(w.ctx)
	if err != nil {
		return err.Error()
	}
	for _, a := range w.actors {
		if a.producer != nil {
			select {
			case <-a.done:
			default:
				return a.producer.writer + " is not done"
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clientProducers {
		if !c.finished && c.stopped == nil {
			return fmt.Sprintf("%s has sent %d of %d", c.name, c.last, c.count)
		}
	}
	for _, a := range w.actors {
		if r := a.reader; r != nil && r.stopped == nil && (r.at.Tag != head.Tag || r.at.Compare(head) < 0) {
			return fmt.Sprintf("%s has read to %v, of %v", r.name, r.at, head)
		}
	}
	return ""
}

// audits opens what is left of the stores, and compares it with what everyone knows. If
// everything was read, readers must have it.
func (w *world) audits(isRead bool) error {
	written, err := w.left(w.machine)
	if err != nil {
		return err
	}
	all := written
	if w.central != nil {
		if all, err = w.left(w.central); err != nil {
			return err
		}
		if written, err = w.passedOn(written, all); err != nil {
			return err
		}
	}
	errs := []error{w.audit(written)}
	for _, c := range w.clientProducers {
		errs = append(errs, c.audit(written))
	}
	for _, a := range w.actors {
		if a.reader != nil {
			errs = append(errs, a.reader.audit(all, isRead))
		}
	}
	return errors.Join(errs...)
}

// passedOn returns what a relay that has relayed everything would contain if it had not
// been trimmed: everything in the central store, and what was rejected before.
func (w *world) passedOn(near, central []stored) (all []stored, err error) {
	there, last := map[string]bool{}, map[string]uint64{}
	for _, s := range central {
		var r struct {
			W string
			N uint64
		}
		text := string(s.bytes)
		if err := json.Unmarshal(s.bytes, &r); err != nil || s.code != "" {
			return nil, fmt.Errorf("the relay passed on %q, code %q", text, s.code)
		}
		if there[text] {
			return nil, fmt.Errorf("the relay passed on twice, again to %v: %s", s.at, text)
		}
		there[text] = true
		s.principal, s.producer, s.number = store.Anonymous, s.at.String(), 0
		if producer, _, ok := strings.Cut(r.W, "#"); ok {
			if r.N <= last[r.W] {
				return nil, fmt.Errorf("the relay passed on %s behind number %d", text, last[r.W])
			}
			last[r.W] = r.N
			s.producer, s.number = producer, r.N
			w.do(func() {
				for _, b := range w.books {
					if b.writer == r.W {
						s.principal = b.principal
					}
				}
			})
		}
		all = append(all, s)
	}
	for _, s := range near {
		switch {
		case s.code != "":
			all = append(all, s)
		case strings.HasPrefix(s.key, "orders ") && !there[string(s.bytes)]:
			return nil, fmt.Errorf("the relay did not pass on what is at %v: %.80q", s.at, s.bytes)
		}
	}
	slices.SortStableFunc(all, func(a, b stored) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

// left opens what is left of a machine's store.
func (w *world) left(m *machine) ([]stored, error) {
	s, err := log.Open(w.ctx, "store", &log.Options{FS: m.disk, Reserve: reserve, KeepEvery: -1})
	if err != nil {
		return nil, err
	}
	all, err := inventory(w.ctx, s, m.trimmed)
	return all, errors.Join(err, s.Close(), isTidy(m.disk, "store"))
}

// isTidy returns an error if a store's directory contains files that nobody needs:
// unfinished ones, or an index without its segment.
func isTidy(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	var left []string
	for _, name := range names {
		segment, isIndex := strings.CutSuffix(name, ".idx")
		if strings.Contains(name, "tmp") || isIndex && !slices.Contains(names, segment+".seg") {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("files are left: %q", left))
	}
	return err
}
