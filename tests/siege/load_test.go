package siege_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

const (
	producers = 8
	readers   = 4

	// tick is how often a producer sends what is due.
	tick = 5 * time.Millisecond

	// poison means that one in so many records can't be read.
	poison = 50_021

	// window is the most records that a producer has in flight.
	window = 1024
)

// A load is the honest producers and readers, and what they observed.
type load struct {
	addr      string
	producers []*producer
	readers   []*reader
	running   sync.WaitGroup
	rejected  int
}

func newLoad(t *testing.T, addr string) *load {
	t.Helper()
	l := &load{addr: addr}
	for i := range producers {
		p := newProducer(i)
		l.producers = append(l.producers, p)
		l.running.Go(func() {
			if err := p.Run(func() string { return addr }); err != nil {
				t.Error(err)
			}
		})
	}
	for range readers {
		r := &reader{load: l, from: "earliest", last: make([]atomic.Uint64, producers)}
		l.readers = append(l.readers, r)
		l.running.Go(func() {
			if err := r.run(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// stop ends all producers and readers.
func (l *load) stop() {
	for _, p := range l.producers {
		p.Stop()
	}
	for _, r := range l.readers {
		r.stop()
	}
	l.running.Wait()
}

func (l *load) String() string {
	var records uint64
	again := int64(0)
	for _, p := range l.producers {
		acked, _ := p.State()
		records += acked
	}
	for _, r := range l.readers {
		again += r.again.Load()
	}
	return fmt.Sprintf("%d honest records are settled, each read once by %d readers, who came again %d times", records, readers, again)
}

// measure sends as fast as possible for d, and returns how many records per second were
// settled and read.
func (l *load) measure(t *testing.T, d time.Duration) float64 {
	t.Helper()
	begin := time.Now()
	before := l.sent()
	for _, p := range l.producers {
		p.set(schedule{start: begin, until: begin.Add(d), rate: fastest})
	}
	time.Sleep(d)
	l.settle(t)
	return float64(l.sent()-before) / time.Since(begin).Seconds()
}

// paced sends at a rate for d, and returns the latencies of the acks.
func (l *load) paced(t *testing.T, rate float64, d time.Duration) []time.Duration {
	t.Helper()
	begin := time.Now()
	for _, p := range l.producers {
		_, sent := p.State()
		p.set(schedule{start: begin, until: begin.Add(d), base: sent, rate: rate / producers})
	}
	time.Sleep(d)
	l.settle(t)
	var all []time.Duration
	for _, p := range l.producers {
		all = append(all, p.took()...)
	}
	return all
}

// sent returns how many records were sent in total.
func (l *load) sent() (n uint64) {
	for _, p := range l.producers {
		_, sent := p.State()
		n += sent
	}
	return n
}

// settle waits until everything due is sent, acked and read.
func (l *load) settle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !l.settled() {
		if time.Now().After(deadline) {
			t.Fatalf("%v later, not all records are acked and read:\n%s", patience, l.state())
		}
		time.Sleep(tick)
	}
}

func (l *load) settled() bool {
	for i, p := range l.producers {
		acked, sent := p.State()
		if acked < sent || !p.quiet() {
			return false
		}
		for p.code(sent) != "" { // readers do not get these
			sent--
		}
		for _, r := range l.readers {
			if r.last[i].Load() < sent {
				return false
			}
		}
	}
	return true
}

// state describes the progress of all peers.
func (l *load) state() string {
	var b []byte
	for i, p := range l.producers {
		acked, sent := p.State()
		b = fmt.Appendf(b, "%s: %d sent, %d acked, read", p.Name, sent, acked)
		for _, r := range l.readers {
			b = fmt.Appendf(b, " %d", r.last[i].Load())
		}
		b = append(b, '\n')
	}
	return string(b)
}

// finish waits for records in flight and ends all peers.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.settle(t)
	l.stop()
}

// verifyRejected compares the listed rejections with the rejected records that were sent.
// Those beyond the 16 MiB of an address are listed with their code alone, which the next
// number's row does not repeat.
func (l *load) verifyRejected(t *testing.T) {
	t.Helper()
	listed := map[string]int{}
	hostile, bare := 0, 0
	var before string // the code of the last row
	_, err := peer.ReadBack(l.addr, "_rejected", "earliest", `,"format":"json","lossy":true`, func(r peer.Record) error {
		var d struct {
			Producer, Code string
			Number         uint64
		}
		if err := json.Unmarshal(r.Bytes, &d); err != nil {
			return fmt.Errorf("%w: %s", err, r.Bytes)
		}
		if d.Producer == "" && r.Producer != "" {
			d.Producer, d.Number = r.Producer, r.Number
			d.Code = cmp.Or(d.Code, before)
			bare++
		}
		before = d.Code
		listed[fmt.Sprintf("%s %d %s", d.Producer, d.Number, d.Code)]++
		hostile++
		return nil
	})
	if err != nil {
		t.Errorf("reading the rejected records: %v", err)
		return
	}
	missing := 0
	for _, p := range l.producers {
		acked, _ := p.State()
		for n := uint64(1); n <= acked; n++ {
			if c := p.code(n); c != "" {
				l.rejected++
				if k := fmt.Sprintf("%s %d %s", p.Name, n, c); listed[k] != 1 {
					t.Errorf("the rejected record %s is listed %d times", k, listed[k])
					missing++
				}
			}
		}
	}
	t.Logf("rejected: %d honest records, of which %d are listed, beside %d of others; %d rows have the code alone", l.rejected, l.rejected-missing, hostile-l.rejected+missing, bare)
}

// fastest is a rate that only the window limits.
const fastest = -1

// A schedule says how many records are due.
type schedule struct {
	start, until time.Time
	base         uint64  // how many were sent before
	rate         float64 // records a second, or fastest
}

// due returns the number of the last record that is due.
func (s schedule) due(now time.Time) uint64 {
	switch {
	case s.rate == fastest && now.Before(s.until):
		return 1 << 62
	case s.rate == fastest:
		return 0
	case now.After(s.until):
		now = s.until
	}
	return s.base + uint64(s.rate*now.Sub(s.start).Seconds())
}

// A producer follows a schedule, over one connection after another.
type producer struct {
	peer.Producer
	id int

	mu       sync.Mutex
	schedule schedule
	ticked   int             // how many ticks of the schedule are acked
	taken    []time.Duration // from when each tick was due to its ack
}

func newProducer(id int) *producer {
	p := &producer{id: id}
	p.Producer = peer.Producer{
		Name: fmt.Sprintf("honest-%d.%x", id, rand.Uint64()), Topic: fmt.Sprintf("honest.%d", id%3), Durability: "fsync",
		Append: p.append, Code: p.code, Send: p.send, Acked: p.acked,
		Again: []string{"idle", "unavailable", "rate"},
	}
	return p
}

// set starts a schedule.
func (p *producer) set(s schedule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.schedule, p.ticked, p.taken = s, 0, nil
}

// quiet reports whether everything due was sent.
func (p *producer) quiet() bool {
	_, sent := p.State()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return !now.Before(p.schedule.until) && p.schedule.due(now) <= sent
}

// took returns the latencies of records, from when they were due to their acks.
func (p *producer) took() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// acked records the latency of those ticks whose records are acked up to n.
func (p *producer) acked(n uint64) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.schedule.rate > 0 {
		at := p.schedule.start.Add(time.Duration(p.ticked+1) * tick)
		if at.After(now) || at.After(p.schedule.until) || p.schedule.due(at) > n {
			return
		}
		p.ticked++
		p.taken = append(p.taken, now.Sub(at))
	}
}

// send sends what is due over one connection.
func (p *producer) send(_ *peer.Producer, s *peer.Session, next uint64) {
	t := time.NewTicker(tick)
	defer t.Stop()
	var burst []byte
	for {
		p.mu.Lock()
		now := p.schedule
		p.mu.Unlock()
		most := uint64(window)
		if now.rate != fastest {
			most = 60_000 // of the server's 65,536
		}
		room, ok := p.Room(next, most)
		if !ok {
			return
		}
		_, sent := p.State() // some of it was lost with a connection
		due := max(now.due(time.Now()), sent)
		end := min(next+min(room, 256), due+1)
		if end <= next {
			<-t.C
			continue
		}
		p.Sending(end - 1)
		burst = burst[:0]
		for ; next < end; next++ {
			burst = append(p.append(burst, next), '\n')
		}
		if _, err := s.Write(burst); err != nil {
			return
		}
	}
}

// code returns why record n can't be read.
func (p *producer) code(n uint64) string {
	if n == 5 || n > 0 && n%poison == 0 {
		return "malformed"
	}
	return ""
}

// text is the source of the records' texts.
var text = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 4096)
	for i := range b {
		b[i] = "etaoin shrdlu"[r.IntN(13)]
	}
	return b
}()

// append appends record n.
func (p *producer) append(b []byte, n uint64) []byte {
	b = append(b, `{"producer":`...)
	b = strconv.AppendInt(b, int64(p.id), 10)
	b = append(b, `,"n":`...)
	b = strconv.AppendUint(b, n, 10)
	if p.code(n) != "" {
		return append(b, `,"price":19,90}`...)
	}
	at := n * 31 % 3800
	b = append(b, `,"text":"`...)
	b = append(b, text[at:at+180+n%64]...)
	return append(b, `"}`...)
}

// A reader follows all honest topics, resuming where it was.
type reader struct {
	load  *load
	from  string
	last  []atomic.Uint64 // the last record of each producer
	again atomic.Int64    // how often a record was read again

	mu      sync.Mutex
	stopped bool
	session *peer.Session
}

func (r *reader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.session != nil {
		r.session.Close()
	}
}

// run reads until it is stopped.
func (r *reader) run() error {
	for ; ; r.again.Add(1) {
		var b *peer.BrokenError
		err := r.follow()
		r.mu.Lock()
		stopped := r.stopped
		r.mu.Unlock()
		if stopped {
			return nil
		}
		if errors.As(err, &b) {
			return fmt.Errorf("a reader: %w", b)
		}
		time.Sleep(tick)
	}
}

// follow reads over one connection.
func (r *reader) follow() error {
	s, err := peer.Greet(r.load.addr, `{"dictwire":1,"subscribe":"honest.*","follow":true,"from":%q}`, r.from)
	if err != nil {
		return err
	}
	defer s.Close()
	r.mu.Lock()
	r.session = s
	stopped := r.stopped
	r.mu.Unlock()
	var records []byte
	for !stopped {
		s.SetDeadline(time.Now().Add(15 * time.Second)) // the server says something every 5 s
		m, err := s.Next()
		switch {
		case err != nil:
			return err
		case m.Code == "idle" || m.Code == "unavailable":
			return errors.New(m.Error)
		case m.Code != "":
			return peer.Fault("reading, and told %s: %s", m.Code, m.Error)
		case m.Next == nil:
			return peer.Fault("reading, and told what is no progress")
		}
		total := 0
		for _, n := range m.Lengths {
			total += n
		}
		records = slices.Grow(records[:0], total)[:total]
		if _, err := io.ReadFull(s.R, records); err != nil {
			return err
		}
		if err := r.see(m, records); err != nil {
			return err
		}
		if err := json.Unmarshal(m.Next, &r.from); err != nil {
			return err
		}
	}
	return nil
}

// see checks records.
func (r *reader) see(m peer.Message, records []byte) error {
	if len(m.Lengths) == 0 {
		return nil
	}
	i := slices.IndexFunc(r.load.producers, func(p *producer) bool { return p.Name == m.Producer })
	if i < 0 {
		return peer.Fault("a record of %q in %s", m.Producer, m.Topic)
	}
	p := r.load.producers[i]
	var want []byte
	for j, length := range m.Lengths {
		n := m.First + uint64(j)
		next := r.last[i].Load() + 1
		for p.code(next) != "" {
			next++
		}
		if n != next {
			return peer.Fault("%s: record %d where %d is due", p.Name, n, next)
		}
		want = p.append(want[:0], n)
		if !bytes.Equal(records[:length], want) {
			return peer.Fault("%s: record %d is %q", p.Name, n, records[:length])
		}
		records = records[length:]
		r.last[i].Store(n)
	}
	return nil
}

// latencies are the times from when records were due to their acks.
type latencies struct {
	samples           int
	p50, p99, longest time.Duration
}

func summarize(all []time.Duration) latencies {
	if len(all) == 0 {
		return latencies{}
	}
	slices.Sort(all)
	return latencies{len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

func (l latencies) String() string {
	return fmt.Sprintf("acks take %v (p50), %v (p99), %v at most", l.p50.Round(10*time.Microsecond), l.p99.Round(10*time.Microsecond), l.longest.Round(10*time.Microsecond))
}
