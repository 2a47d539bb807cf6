package log_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dictwire/dictwire/internal/testrand"
)

var histories = flag.Int("model.histories", 20_000, "how many histories of the model to try")

// TestModel takes the model of the log through lives that end with a killed process or a
// loss of power, perhaps during an opening, with at most one damage in each history. All
// that was acknowledged is there, or its loss is reported; without damage, nothing is
// reported. No position and no generation is used twice.
func TestModel(t *testing.T) {
	n, counts := testrand.Many(*histories), map[string]int{}
	for seed := range testrand.From(testrand.Seed(t), n) {
		w := newModelWorld(seed, "")
		if err := w.live(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for k, v := range w.counts {
			counts[k] += v
		}
	}
	t.Logf("%d histories: %v", n, counts)
}

// TestModelMutants shows that TestModel can fail: it does without each of the rules.
func TestModelMutants(t *testing.T) {
	for _, rule := range modelRules {
		t.Run(string(rule), func(t *testing.T) {
			for seed := range testrand.From(1, 50_000) {
				if err := newModelWorld(seed, rule).live(); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("50,000 histories without this rule, and nothing is wrong")
		})
	}
}

// A modelWorld is a disk, and what the log on it has acknowledged and reported.
type modelWorld struct {
	rng     *rand.Rand
	disk    modelDisk
	without modelRule
	fuse    int // steps until a crash

	value, generation uint64                // the last ones
	salts             []int                 // of the segments, by salt
	past              []modelFrame          // written
	points            []*modelCheckpoint    // written
	given             map[uint64]uint64     // values that somebody may have seen, by position
	acked             map[uint64]modelFrame // by value
	last              map[uint64]bool       // values of the last group, and of the one that it overlapped
	set               [modelKeys]modelFrame // the last acknowledged one of each state
	deleted           modelState            // the last value that deletes it

	power    bool            // was lost since the last opening
	harm     string          // the damage
	hit      map[uint64]bool // values in what was damaged
	many     bool            // more than a cell was damaged
	promised uint64          // the last frame that was synced according to all that was left
	told     bool            // damage was reported
	noted    bool            // also by an opening that was finished
	accepted bool            // the log was opened although segments are missing
	counts   map[string]int
}

func newModelWorld(seed uint64, without modelRule) *modelWorld {
	return &modelWorld{
		rng: rand.New(rand.NewPCG(seed, 2)), disk: modelDisk{}, without: without, salts: []int{0},
		acked: map[uint64]modelFrame{}, given: map[uint64]uint64{}, last: map[uint64]bool{}, counts: map[string]int{},
	}
}

// errCrash ends a life, and errForgiven a history: after a loss of power, damage to what
// was written last can look like the end of the log.
var errCrash, errForgiven = errors.New("crash"), errors.New("forgiven")

type modelError struct{ error }

// step is a place for a crash.
func (w *modelWorld) step() {
	if w.fuse--; w.fuse == 0 {
		panic(modelError{errCrash})
	}
}

func (w *modelWorld) check(ok bool, format string, a ...any) {
	if !ok {
		panic(modelError{fmt.Errorf(format+"; harm: %q, power lost: %t", append(a, w.harm, w.power)...)})
	}
}

// do calls f until a step or a check panics.
func (*modelWorld) do(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(modelError)
			if !ok {
				panic(p)
			}
			err = fault.error
		}
	}()
	f()
	return nil
}

func (w *modelWorld) live() error {
	for range w.rng.IntN(5) + 2 {
		w.fuse = -1
		err := w.do(w.view)
		if w.fuse = w.rng.IntN([]int{12, 80}[w.rng.IntN(2)]) + 1; err == nil && w.rng.IntN(4) > 0 {
			err = w.do(w.run)
		}
		switch {
		case errors.Is(err, errForgiven):
			return nil
		case err != nil && !errors.Is(err, errCrash):
			return err
		}
		if w.rng.IntN(2) == 0 {
			w.disk.losePower(w.rng, w.past)
			w.power, w.promised, w.told = true, min(w.promised, w.promise()), w.noted
		}
		if w.harm == "" && w.rng.IntN(4) == 0 {
			w.damage()
		}
	}
	return nil
}

// damage spoils something, durably.
func (w *modelWorld) damage() {
	var files []int
	for _, n := range slices.Sorted(maps.Keys(w.disk)) {
		if w.disk.has(n) {
			files = append(files, n)
		}
	}
	if len(files) == 0 {
		return
	}
	n := files[w.rng.IntN(len(files))]
	if w.rng.IntN(4) == 0 {
		n = files[0] // the states, if there are any
	}
	f := w.disk[n]
	at := w.rng.IntN(len(f.now))
	was := slices.Clone(f.now[at : at+1])
	switch k := w.rng.IntN(4); {
	case n == stateFile && k < 3:
		w.harm = "states are old"
		w.disk.put(n, 0, w.points[w.rng.IntN(len(w.points))])
		f.safe = slices.Clone(f.now)
	case k == 0:
		w.harm, was = fmt.Sprintf("file %d is gone", n), f.now
		delete(w.disk, n)
		w.many = true
	case k == 1:
		w.many = true
		w.harm, was = fmt.Sprintf("file %d is cut at %d", n, at), f.now[at:]
		f.now, f.safe = slices.Clone(f.now[:at]), slices.Clone(f.safe[:min(at, len(f.safe))])
		if at == 0 {
			f.now, f.safe = []modelCell{nil}, []modelCell{nil}
		}
	default:
		w.harm = fmt.Sprintf("cell %d of file %d", at, n)
		w.disk.put(n, at, torn{})
		f.safe = append(f.safe, make([]modelCell, max(0, at+1-len(f.safe)))...)
		f.safe[at] = torn{}
	}
	w.hit = map[uint64]bool{}
	for _, c := range was {
		if f, ok := c.(modelFrame); ok {
			w.hit[f.value] = true
		}
	}
	w.promised = w.promise()
}

// view opens the log without changing it.
func (w *modelWorld) view() {
	var hidden []string
	for {
		r, err := w.survey(hidden, false)
		if err != nil || r.newest == nil {
			w.judge("view", nil, nil, err, modelState{})
			return
		}
		r.begin(true, false)
		state, more := r.replay(r.live)
		if len(more) == 0 {
			w.judge("view", r.live, r.told, nil, state)
			return
		}
		hidden = append(hidden, more...)
	}
}

// judge compares what can be read with what was acknowledged.
func (w *modelWorld) judge(what string, live []modelSegment, told []string, refused error, state modelState) {
	if w.harm == "" {
		w.check(refused == nil && len(told) == 0, "%s: false alarm: %v %q", what, refused, told)
	}
	if refused != nil {
		w.told = true
		w.counts["refused"]++
		return
	}
	there := w.readable(what, live)
	for pos, v := range there {
		w.given[pos] = v // a reader may see it
	}
	lost := false
	for v, a := range w.acked {
		if there[a.pos] == v {
			continue
		}
		lost = true
		if w.harm != "" && there[a.pos] == 0 && slices.ContainsFunc(live, func(g modelSegment) bool { return g.pos <= a.pos && a.pos < g.next }) {
			continue // a reader is told
		}
		w.forgive(a.seq)
		w.check(false, "%s: frame %d at %d is lost, there is %d; %+v", what, a.seq, a.pos, there[a.pos], live)
	}
	if lost {
		w.counts["lost"]++
	}
	if w.told && !w.accepted {
		w.check(len(told) > 0, "%s: damage is no longer told", what)
	}
	w.told = w.told || len(told) > 0
	if w.told || w.accepted {
		return
	}
	for key, set := range w.set {
		deleted := state[key] == 0 && (set.deletes() || w.deleted[key] > set.value)
		if state[key] < set.value && !deleted {
			w.forgive(set.seq)
			w.check(false, "%s: state %d is %d, and that was frame %d", what, key, state[key], set.value)
		}
	}
}

// readable returns the values that can be read, by position.
func (w *modelWorld) readable(what string, live []modelSegment) map[uint64]uint64 {
	there := map[uint64]uint64{}
	for _, g := range live {
		if g.lost {
			continue
		}
		all := w.frames(g)
		w.check(w.harm != "" || uint64(len(all)) == g.last+1-g.first, "%s: frames %d to %d of segment %d: only %d are there", what, g.first, g.last, g.number, len(all))
		for _, f := range all {
			there[f.pos] = f.value
		}
	}
	return there
}

// forgive ends the history if power was lost, and the damage hit only what was written
// last, or a part of a file together with all that said it was synced.
func (w *modelWorld) forgive(seq uint64) {
	last := len(w.hit) > 0
	for v := range w.hit {
		last = last && w.last[v]
	}
	if w.power && (last || w.many && seq > w.promised) {
		panic(modelError{errForgiven})
	}
}

// promise returns the last frame that was synced according to anything on the disk.
func (w *modelWorld) promise() (seq uint64) {
	for n := range w.disk {
		for at, c := range w.disk.cells(n) {
			switch c := c.(type) {
			case uint64:
				seq = max(seq, c)
			case modelFrame:
				if w.salts[c.salt] == n && c.at == at {
					seq = max(seq, c.synced)
				}
			case *modelHeader:
				seq = max(seq, c.synced)
			case *modelCheckpoint:
				seq = max(seq, c.applied)
			}
		}
	}
	return seq
}

// accept accepts what is lost.
func (w *modelWorld) accept(r modelRecovery) {
	w.accepted = true
	r.live = slices.Clone(r.live)
	r.begin(true, true)
	there := w.readable("", r.live)
	maps.DeleteFunc(w.acked, func(v uint64, a modelFrame) bool { return there[a.pos] != v })
}

// A modelLog is an open log.
type modelLog struct {
	*modelWorld

	header       *modelHeader
	live         []modelSegment // sealed
	active, next modelSegment
	at           int    // where the next frame goes
	seq, pos     uint64 // of the last frame, of the next one
	synced       uint64
	mark         modelCheckpoint
}

// run opens the log and uses it.
func (w *modelWorld) run() {
	var hidden []string
	for {
		r, err := w.survey(hidden, false)
		if err != nil {
			if r.newest == nil || w.rng.IntN(2) == 0 {
				panic(modelError{errForgiven}) // it stays closed
			}
			w.accept(*r)
		}
		l := r.start()
		all := append(slices.Clone(l.live), l.active)
		all[len(all)-1].last, all[len(all)-1].next = l.seq, l.pos
		state, more := r.replay(all)
		if len(more) > 0 && !w.accepted {
			hidden = append(hidden, more...)
			continue
		}
		w.judge("opening", all, r.told, nil, state)
		w.check(l.header.generation > w.generation, "generation %d comes after %d", l.header.generation, w.generation)
		w.noted, w.generation, w.power = w.told, l.header.generation, false
		l.mark.state, l.mark.applied = state, l.seq
		if w.accepted {
			l.checkpoint()
		}
		l.use()
		return
	}
}

// start writes what an opening writes.
func (r *modelRecovery) start() *modelLog {
	h, again := r.begin(false, r.accepted)
	w := r.modelWorld
	l := &modelLog{modelWorld: w, live: r.live, seq: h.base, pos: h.next, synced: h.base}
	if len(r.damages) > 0 {
		for _, g := range r.open {
			if f := r.disk[g.number]; f != nil {
				f.safe = slices.Clone(f.now)
			}
		}
	}
	l.header = h
	l.active = l.make(h)
	for _, f := range again {
		f.salt, f.at, f.synced = l.active.salt, l.at, l.synced
		r.disk.put(h.number, l.at, f)
		l.seq++
		l.at++
		l.step()
	}
	r.sync(h.number, r.disk.cells(h.number))
	l.step()
	l.makeNext()
	l.synced = l.seq
	l.slot()
	l.step()
	if len(r.damages) == 0 {
		for n := 1; n < h.number; n++ {
			if r.disk.has(n) && !slices.ContainsFunc(l.live, func(g modelSegment) bool { return g.number == n }) {
				r.disk[n].there = false
				l.step()
			}
		}
	}
	return l
}

func (w *modelWorld) sync(n int, until []modelCell) { w.disk[n].safe = slices.Clone(until) }

// make makes a segment, durably.
func (l *modelLog) make(h *modelHeader) modelSegment {
	h.salt, l.salts = len(l.salts), append(l.salts, h.number)
	l.disk.put(h.number, 0, h)
	l.step()
	l.sync(h.number, l.disk.cells(h.number))
	l.step()
	if l.without != ruleDirectory {
		l.disk.syncDir()
	}
	l.step()
	if l.at == 0 {
		l.at = 1
	}
	return modelSegment{number: h.number, salt: h.salt, first: h.base + 1, pos: h.pos}
}

func (l *modelLog) makeNext() {
	h := *l.header
	h.number, h.synced, h.pos, h.next, h.live = l.active.number+1, l.synced, l.pos, l.pos, append(slices.Clone(l.live), l.active)
	l.next = l.make(&h)
}

func (l *modelLog) slot() {
	l.disk.put(slotsFile, l.rng.IntN(2), l.synced)
}

func (l *modelLog) use() {
	for range l.rng.IntN(10) + 1 {
		switch l.rng.IntN(8) {
		case 0:
			l.checkpoint()
		case 1:
			l.free()
		case 2:
			if l.commit(modelFrame{closes: true}); l.rng.IntN(2) == 0 {
				l.checkpoint()
			}
			return
		default:
			l.commit(make([]modelFrame, l.rng.IntN(3)+1)...)
		}
	}
}

// commit writes and syncs a group of frames, perhaps while another one is written.
func (l *modelLog) commit(frames ...modelFrame) {
	if l.at > modelRoom {
		l.roll()
	}
	l.write(frames)
	one := slices.Clone(l.disk.cells(l.active.number))
	var more []modelFrame
	if !frames[0].closes && frames[0].frees == 0 && l.rng.IntN(2) == 0 {
		more = make([]modelFrame, l.rng.IntN(2)+1)
		l.write(more)
	}
	if l.without == ruleAck {
		l.ack(frames)
	}
	l.step()
	l.sync(l.active.number, one)
	l.settle(frames)
	l.last = map[uint64]bool{}
	l.ack(frames)
	if len(more) == 0 {
		return
	}
	if l.without == ruleNext {
		l.ack(more)
	}
	if l.rng.IntN(4) == 0 {
		l.checkpoint()
	}
	l.step()
	l.sync(l.active.number, l.disk.cells(l.active.number))
	l.settle(more)
	l.ack(more)
}

func (l *modelLog) write(frames []modelFrame) {
	for i := range frames {
		f := &frames[i]
		l.seq++
		l.value++
		f.salt, f.at, f.seq, f.synced, f.pos, f.value = l.active.salt, l.at, l.seq, l.synced, l.pos, l.value
		if l.without == rulePromise {
			f.synced = f.seq
		}
		if l.given[f.pos] > 0 {
			l.forgive(f.seq)
			l.check(false, "position %d was that of %d, and is given to %d", f.pos, l.given[f.pos], f.value)
		}
		if f.deletes() {
			l.deleted[f.key()] = f.value
		}
		l.past = append(l.past, *f)
		l.disk.put(l.active.number, l.at, *f)
		l.at++
		l.pos++
		if l.without == ruleSettled {
			l.apply(*f)
		}
		l.step()
	}
}

// settle notes that frames are durable.
func (l *modelLog) settle(frames []modelFrame) {
	l.step()
	for _, f := range frames {
		if l.without != ruleSettled {
			l.apply(f)
		}
		l.synced = f.seq
	}
	l.slot()
	l.step()
}

func (l *modelLog) apply(f modelFrame) {
	k := &l.mark
	k.state.apply(f)
	if k.before.number != l.active.number {
		k.before, k.frees = l.active, nil
	} else if k.own > 0 && l.without != ruleFrees {
		k.frees = append(slices.Clone(k.frees), k.own)
	}
	k.applied, k.before.last, k.before.next, k.at, k.own = f.seq, f.seq-1, f.pos, f.at, f.frees
}

func (l *modelLog) ack(frames []modelFrame) {
	for _, f := range frames {
		l.acked[f.value] = f
		l.given[f.pos] = f.value
		l.set[f.key()] = f
		l.last[f.value] = true
	}
	l.counts["acked"] += len(frames)
}

// roll seals the active segment.
func (l *modelLog) roll() {
	done := l.active
	done.last, done.next = l.seq, l.pos
	if l.without == ruleSuccessor && l.next.number == done.number {
		l.makeNext()
	}
	l.live = append(slices.Clone(l.live), done)
	l.active, l.at = l.next, 1
	l.active.first, l.active.pos = l.seq+1, l.pos
	if l.without != ruleSuccessor {
		l.makeNext()
	}
}

func (l *modelLog) checkpoint() {
	k := l.mark
	l.points = append(l.points, &k)
	l.disk.put(stateFile, 0, &k)
	l.step()
	l.sync(stateFile, l.disk.cells(stateFile))
	l.disk[stateFile].named = true
	l.step()
}

// free removes the oldest segment.
func (l *modelLog) free() {
	if len(l.live) == 0 || l.live[0].lost || uint64(len(l.frames(l.live[0]))) < l.live[0].last+1-l.live[0].first {
		return
	}
	g := l.live[0]
	l.checkpoint()
	f := modelFrame{frees: g.number, carry: l.mark.state}
	if l.without == ruleCarry {
		f.carry = modelState{}
	}
	maps.DeleteFunc(l.acked, func(_ uint64, a modelFrame) bool { return g.first <= a.seq && a.seq <= g.last })
	l.commit(f)
	l.live = l.live[1:]
	l.disk[g.number].there = false
	l.counts["freed"]++
	l.step()
}
